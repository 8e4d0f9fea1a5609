"""The one-dimensional problem of the paper, with its networks, measures and figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import check_count, check_methods, check_number
from compvae_pyg.problems.base import Problem, Removal, Value, drawing_device, packed_batch
from compvae_pyg.problems.sines.data import render_sines
from compvae_pyg.problems.sines.measures import (
    QUANTITIES,
    Spectrum,
    compare_spectra,
    measure_spectrum,
    spectrum,
)
from compvae_pyg.problems.sines.networks import build_sines_small
from compvae_pyg.problems.sines.paper_networks import build_sines_narrow, build_sines_paper

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Sines"]


@check_methods
@dataclass(frozen=True)
class Sines(Problem):
    r"""Curves made of :math:`K` sine waves whose amplitudes and phases are not given.

    A part is a category, numbered from 0, that stands for a frequency; its amplitude and its phase,
    both Gaussian, are its intrinsic variety. A whole is the curve, ``[200]``, see
    :func:`render_sines`. The parameters are those of the paper; the program that its authors
    published has ``num_categories=9`` and ``phase_std=0.8``.

    Attributes:
        nonlinearity: :math:`C`, how much a curve saturates.
        period: Period :math:`T_0` of the lowest frequency, in samples.
        num_categories: Number of frequencies.
        amplitude_mean: Mean of the amplitudes.
        amplitude_std: Standard deviation of the amplitudes.
        phase_std: Standard deviation of the phases, in radians; their mean is 0.

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> sines = Sines()
        >>> data = sines.sample(torch.tensor([1, 4]), torch.Generator().manual_seed(0))
        >>> data.whole.shape, data.category.shape
        (torch.Size([2, 200]), torch.Size([5]))
    """

    nonlinearity: float = 3.0
    period: float = 100.0
    num_categories: int = 10
    amplitude_mean: float = 1.0
    amplitude_std: float = 0.3
    phase_std: float = 0.5 * math.pi

    name = "sines"
    part_fields = ("category",)
    intrinsic_fields = ("amplitude", "phase")
    num_samples = 200
    event_shape = (num_samples,)
    presets: ClassVar = {
        "small": build_sines_small,
        "narrow": build_sines_narrow,
        "paper": build_sines_paper,
    }
    max_parts = 16
    quantities: ClassVar = QUANTITIES
    evaluated_parts = (1, 2, 4, 8, 16, 24, 30, 48, 64)
    num_draws = 250
    _purpose_of_sets = ""  # as the committed results were drawn
    # One wave alone shows its amplitude and its phase: the numbers of parts rise from 1, and few
    # stay frequent. Latents are cheap at first; then much noise, which falls, lets their codes
    # unfold to fill the prior, coarse differences first.
    training: ClassVar[dict[str, Any]] = {
        "num_steps": 6_000,
        "batch_size": 256,
        "initial_rate": 4e-3,
        "rise": 0.3,
        "log_uniform": True,
        "stages": (
            {
                "name": "cheap",
                "share": 0.1,
                "inferred": "parts",
                "beta_w": (0.05, 1.0),
                "noise": (13.0, 13.0),
                "code_matching": (750.0, 1500.0),
            },
            {
                "name": "match",
                "share": 0.26,
                "inferred": "parts",
                "noise": (13.0, 13.0),
                "code_matching": (1500.0, 2250.0),
                "fit_prior": 0.02,
            },
            {
                "name": "refine",
                "share": 0.42,
                "inferred": "parts",
                "noise": (13.0, 1.0),
                "code_matching": (2250.0, 6000.0),
                "fit_prior": 0.02,
            },
            {
                "name": "whole",
                "share": 0.22,
                "beta_z": (10.0, 1.0),
                "anneal": 0.3,
                "code_matching": (6000.0, 6000.0),
                "fit_prior": 0.005,
            },
        ),
    }

    # The wide layers of the paper need a lower rate, and have no codes to match.
    _wide: ClassVar = {
        "num_steps": 20_000,
        "batch_size": 64,
        "initial_rate": 3e-4,
        "rise": 0.5,
        "log_uniform": True,
        "stages": (
            {"name": "parts", "share": 0.7, "inferred": "parts", "beta_w": (0.05, 1.0)},
            {"name": "whole", "share": 0.3, "beta_z": (10.0, 1.0)},
        ),
    }
    training_of_presets: ClassVar = {"narrow": _wide, "paper": _wide}

    def __post_init__(self) -> None:
        check_count(self.num_categories, "num_categories")
        for name in ("nonlinearity", "period", "amplitude_mean", "amplitude_std", "phase_std"):
            check_number(getattr(self, name), name)
        for name in ("nonlinearity", "period"):
            check_number(getattr(self, name), name, positive=True)
        for name in ("amplitude_std", "phase_std"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must not be negative (got {getattr(self, name)})")

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw one curve for each number of waves in ``num_parts``, ``[S]``."""
        device = drawing_device(num_parts, generator)
        batch, _ = pack(num_parts, device)
        category = torch.randint(
            self.num_categories, (batch.shape[0],), generator=generator, device=device
        )
        amplitude, phase = self.features(batch.shape[0], generator, device)
        whole = self.render(category, amplitude, phase, batch, num_parts.shape[0])
        fields = {"category": category, "amplitude": amplitude, "phase": phase}
        return packed_batch(fields, whole, num_parts)

    def draw(
        self,
        category: Tensor,
        batch: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw curves of given waves, with amplitudes and phases of their own.

        Args:
            category: Category of each wave, ``[N]``.
            batch: Curve of each wave, ``[N]``, sorted.
            batch_size: Number of curves :math:`S`.
            generator: Source of the amplitudes and phases, on any device; by default the global
                one.

        Returns:
            Curves ``[S, 200]``.

        Example:
            >>> curves = Sines().draw(torch.tensor([2, 2]), torch.tensor([0, 1]), 2)
            >>> torch.equal(curves[0], curves[1])
            False
        """
        amplitude, phase = self.features(category.shape[0], generator, category.device)
        return self.render(category, amplitude, phase, batch, batch_size)

    def features(
        self,
        num_parts: int,
        generator: torch.Generator | None = None,
        device: torch.device | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw the intrinsic features of waves: amplitudes and phases, ``[N]`` each.

        Args:
            num_parts: Number :math:`N` of waves.
            generator: Source of the randomness, on any device; by default the global one.
            device: Where the features are to lie; by default that of the generator.

        Example:
            >>> amplitude, phase = Sines(amplitude_std=0.0).features(2)
            >>> amplitude
            tensor([1., 1.])
        """
        source = device if generator is None else generator.device
        noise = torch.randn(2, num_parts, generator=generator, device=source)
        amplitude, phase = noise.to(device or noise.device)
        return self.amplitude_mean + self.amplitude_std * amplitude, self.phase_std * phase

    def render(
        self, category: Tensor, amplitude: Tensor, phase: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        """Draw curves of given waves by :func:`render_sines`, with this problem's parameters."""
        return render_sines(
            category,
            amplitude,
            phase,
            batch,
            batch_size,
            nonlinearity=self.nonlinearity,
            period=self.period,
            num_categories=self.num_categories,
            num_samples=self.num_samples,
        )

    def sample_parts(self, num_parts: Tensor, generator: torch.Generator) -> PackedParts:
        """Draw waves alone, one set for each number in ``num_parts``, ``[S]``."""
        batch, _ = pack(num_parts)
        category = torch.randint(self.num_categories, batch.shape, generator=generator)
        return PackedParts({"category": category}, batch, len(num_parts))

    def build(self, preset: str, **options: Any) -> CompVAE:
        """Build the networks of a preset, untrained, with options of theirs.

        ``"small"`` suits a laptop's CPU; ``"paper"`` is appendix A.1 to the layer, for a GPU;
        ``"narrow"`` has the layers of ``"paper"`` at 1/8 of their width.
        """
        return super().build(preset, num_categories=self.num_categories, **options)

    def spectrum(self, whole: Tensor, num_parts: Tensor) -> Spectrum:
        """Find the waves of curves, ``[S, T]``, by :func:`spectrum`, with these parameters.

        Amplitudes reach up to four standard deviations above their mean: more occurs once in 30,000
        waves.
        """
        return spectrum(
            whole,
            num_parts,
            num_categories=self.num_categories,
            nonlinearity=self.nonlinearity,
            period=self.period,
            reach=self.amplitude_mean + 4.0 * self.amplitude_std,
        )

    def measure(self, whole: Tensor, parts: PackedParts) -> dict[str, Value]:
        """Measure the :meth:`spectrum` of curves.

        ``amplitude`` and ``amplitude_std`` are mean and standard deviation of the categories that a
        curve has exactly once; ``leak``, the mean amplitude of those that it does not have;
        ``outside``, the share of the energy outside the frequencies; ``clipped``, that of the
        samples that were clipped for all this. Where no curve has a category exactly once, or all
        have all, the estimates of that are ``nan``.
        """
        return measure_spectrum(self.spectrum(whole, _count(parts)), parts)

    def measure_removal(self, removal: Removal) -> dict[str, Value]:
        """Measure spectra before and after the removal of a wave.

        Curves with another wave of the removed frequency do not count at it. ``alone_rmse`` is the
        ``removal_rmse`` of the other curves; ``amplitude`` and ``amplitude_left``, the mean
        amplitude of the removed frequency, before and after; ``leak``, before, that of the
        frequencies that a curve does not have; ``others_error`` and ``others_removal_error``, the
        root mean squared difference in the coefficient to the observed whole, at the other
        frequencies of the waves that stay, before and after.
        """
        before, after = _count(removal.parts), _count(removal.rest)
        pairs = (removal.whole, before), (removal.kept, before), (removal.removed, after)
        spectra = [self.spectrum(*pair) for pair in pairs]
        return compare_spectra(spectra, removal)

    def figures(self, model: CompVAE, *, seed: int = 0) -> dict[str, Figure]:
        """Return the paper's figures of curves (extra ``plots``)."""
        from compvae_pyg.problems.sines.figures import draw_figures

        return draw_figures(model, self, seed)

    def add_demo(self, gr: Any, app: Any, model: CompVAE) -> None:
        """Add a tab to the page of the demo (extra ``demo``)."""
        from compvae_pyg.problems.sines.demo import add_tab

        add_tab(gr, app, model)


def _count(parts: PackedParts) -> Tensor:
    return parts.sizes().long()
