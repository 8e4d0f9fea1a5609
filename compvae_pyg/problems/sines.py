"""The one-dimensional problem: sums of sine waves, saturated (paper, section 4.2 and A.1)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import (
    check_categories,
    check_count,
    check_feature,
    check_methods,
    check_number,
)
from compvae_pyg.problems import sines_networks, sines_paper_networks  # noqa: F401 - it registers
from compvae_pyg.problems.base import Problem, drawing_device, packed_batch

__all__ = ["Sines", "render_sines"]


def render_sines(
    category: Tensor,
    amplitude: Tensor,
    phase: Tensor,
    batch: Tensor,
    batch_size: int,
    *,
    nonlinearity: float = 3.0,
    period: float = 100.0,
    num_categories: int = 10,
    num_samples: int = 200,
) -> Tensor:
    r"""Draw curves that are made of sine waves, each by the number :math:`K` of its own waves.

    .. math::
        x(t) = K \tanh\Bigl( \frac{C}{K} \sum_{i=1}^K
            a_i \cos\bigl( 2 \pi \ell_i t / T_0 + \kappa_i \bigr) \Bigr), \qquad t = 0, 1, 2, \dots

    (paper, section 4.2, whose sum starts at 0 by a slip).

    Args:
        category: Category of each wave, ``[N]``, in ``[0, num_categories)``: the frequency is
            :math:`\ell = \text{category} + 1`.
        amplitude: Amplitude :math:`a` of each wave, ``[N]``.
        phase: Phase :math:`\kappa` of each wave, in radians, ``[N]``.
        batch: Curve of each wave, ``[N]``, sorted.
        batch_size: Number of curves :math:`S`.
        nonlinearity: :math:`C`.
        period: Period :math:`T_0` of the lowest frequency, in samples.
        num_categories: Number of frequencies.
        num_samples: Number of samples of a curve.

    Returns:
        Curves ``[S, num_samples]`` in :math:`[-K, K]`; one without waves is zero.

    Raises:
        TypeError: If ``category`` does not hold 64-bit integers.
        ValueError: If a category is out of range; looked at on the CPU.

    Example:
        >>> waves = torch.tensor([0, 0]), torch.tensor([1.0, 1.0]), torch.tensor([0.0, math.pi])
        >>> x = render_sines(*waves, torch.tensor([0, 1]), 2)
        >>> x[:, [0, 50]]
        tensor([[ 0.9951, -0.9951],
                [-0.9951,  0.9951]])
    """
    check_count(num_categories, "num_categories")
    check_count(num_samples, "num_samples")
    check_number(nonlinearity, "nonlinearity", positive=True)
    check_number(period, "period", positive=True)
    check_categories({"category": category}, num_categories)
    check_feature(amplitude, "amplitude", category)
    check_feature(phase, "phase", category)
    parts = PackedParts(category, batch, batch_size)
    angle = torch.outer(
        torch.arange(1, num_categories + 1, dtype=torch.float64, device=phase.device),
        torch.arange(num_samples, dtype=torch.float64, device=phase.device),
    ).mul_(2.0 * math.pi / period)
    basis = torch.cat([torch.cos(angle), torch.sin(angle)]).to(amplitude.dtype)
    # cos(a + b) = cos(a) cos(b) - sin(a) sin(b): the waves of one frequency add up to one wave.
    own = torch.stack([amplitude * torch.cos(phase), -amplitude * torch.sin(phase)], dim=-1)
    row = batch * num_categories + category
    of_frequency = scatter(own, row, 0, batch_size * num_categories, reduce="sum")
    total = of_frequency.view(batch_size, num_categories, 2).mT.flatten(1) @ basis
    count = parts.sizes(amplitude.dtype).unsqueeze(-1)
    return count * torch.tanh(nonlinearity / count.clamp(min=1.0) * total)


@check_methods
@dataclass(frozen=True)
class Sines(Problem):
    r"""Curves made of :math:`K` sine waves whose amplitudes and phases are not told.

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
    networks = ("small", "paper")
    max_parts = 16
    # One wave alone shows its amplitude and its phase, and the categories alone say little about a
    # curve: the numbers of parts rise from 1, and the latents of the parts are cheap at first.
    training: ClassVar[dict[str, Any]] = {
        "num_steps": 6_000,
        "batch_size": 512,
        "initial_rate": 3e-3,
        "shares": (0.0, 0.85, 0.15),
        "beta_w": 0.05,
        "anneal": 3 / 17,
        "rise": 0.4,
    }

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

    def build(self, networks: str, **options: Any) -> CompVAE:
        """Build networks by name, untrained, with options of theirs.

        ``"small"`` suits a laptop's CPU; ``"paper"`` is appendix A.1 to the layer, for a GPU.
        """
        return super().build(networks, num_categories=self.num_categories, **options)
