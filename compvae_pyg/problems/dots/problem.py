"""The two-dimensional problem of the paper, with its networks, measures and figures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import check_methods
from compvae_pyg.problems.base import Problem, Removal, Value, drawing_device, packed_batch
from compvae_pyg.problems.dots.data import COLORS, render_dots
from compvae_pyg.problems.dots.measures import QUANTITIES, accuracy_per_image, glitches
from compvae_pyg.problems.dots.networks import build_dots_small
from compvae_pyg.problems.dots.paper_networks import build_dots_narrow, build_dots_paper
from compvae_pyg.problems.estimate import Estimate, mean_square

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Dots"]


@check_methods
class Dots(Problem):
    r"""Images of :math:`K` coloured sites whose intensity is not given.

    A part is a colour (one of five) and a position in :math:`[-0.9, 0.9]^2`; its intensity, uniform
    in [5, 10], is its intrinsic variety. A whole is the image, ``[3, 32, 32]``.

    Raises:
        TypeError, ValueError: By all methods, if an argument is of another type or does not fit the
            others.

    Example:
        >>> dots = Dots()
        >>> data = dots.sample(torch.tensor([1, 4]), torch.Generator().manual_seed(0))
        >>> data.whole.shape, data.color.shape, data.pos.shape
        (torch.Size([2, 3, 32, 32]), torch.Size([5]), torch.Size([5, 2]))
    """

    name = "dots"
    part_fields = ("color", "pos")
    intrinsic_fields = ("intensity",)
    event_shape = (3, 32, 32)
    presets: ClassVar = {
        "small": build_dots_small,
        "narrow": build_dots_narrow,
        "paper": build_dots_paper,
    }
    training: ClassVar[dict[str, Any]] = {
        "num_steps": 1_200,
        "batch_size": 64,
        "initial_rate": 3e-3,
        "stages": (
            {"name": "labels", "share": 0.08, "inferred": "none", "loss": "squared_error"},
            {
                "name": "parts",
                "share": 0.42,
                "inferred": "parts",
                "loss": "squared_error",
                "beta_w": (0.05, 0.02),
            },
            {
                "name": "whole",
                "share": 0.5,
                "beta_z": (10.0, 1.0),
                "noise": (3.0, 1.0),
                "anneal": 0.6,
            },
        ),
    }
    # At the rate of the small networks, the wide layers of the paper diverge or forget the labels.
    _wide: ClassVar = {**training, "num_steps": 20_000, "initial_rate": 3e-4}
    training_of_presets: ClassVar = {"narrow": _wide, "paper": _wide}
    quantities: ClassVar = QUANTITIES
    value_range = (0.0, 1.0)
    border = 0.9
    intensity_range = (5.0, 10.0)

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw one image for each number of sites in ``num_parts``, ``[S]``."""
        device = drawing_device(num_parts, generator)
        batch, _ = pack(num_parts, device)
        count = batch.shape[0]
        color = torch.randint(len(COLORS), (count,), generator=generator, device=device)
        uniform = torch.rand(count, 3, generator=generator, device=device)
        pos = (2.0 * uniform[:, :2] - 1.0) * self.border
        low, high = self.intensity_range
        intensity = low + (high - low) * uniform[:, 2]
        whole = render_dots(color, pos, intensity, batch, num_parts.shape[0])
        fields = {"color": color, "pos": pos, "intensity": intensity}
        return packed_batch(fields, whole, num_parts)

    def draw(
        self,
        color: Tensor,
        pos: Tensor,
        batch: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw images of given sites, with intensities of their own.

        Args:
            color: Colour of each site as an index into :data:`COLORS`, ``[N]``.
            pos: Position of each site, ``[N, 2]``.
            batch: Image of each site, ``[N]``, sorted.
            batch_size: Number of images :math:`S`.
            generator: Source of the intensities, on any device; by default the global one.

        Returns:
            Images ``[S, 3, 32, 32]``.

        Example:
            >>> dots = Dots()
            >>> data = dots.sample(torch.tensor([2, 3]))
            >>> dots.draw(data.color, data.pos, data.batch, data.num_graphs).shape
            torch.Size([2, 3, 32, 32])
        """
        low, high = self.intensity_range
        device = pos.device if generator is None else generator.device
        uniform = torch.rand(pos.shape[0], generator=generator, device=device)
        intensity = (low + (high - low) * uniform).to(pos.device)
        return self.render(color, pos, intensity, batch, batch_size)

    def render(
        self, color: Tensor, pos: Tensor, intensity: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        """Draw images of given sites by :func:`render_dots`."""
        return render_dots(color, pos, intensity, batch, batch_size)

    def build(self, preset: str, **options: Any) -> CompVAE:
        """Build the networks of a preset, untrained, with options of theirs.

        ``"small"`` suits a laptop's CPU; ``"paper"`` is appendix A.2 to the layer, for a GPU;
        ``"narrow"`` has the layers of ``"paper"`` at 1/8 of their width.
        """
        return super().build(preset, **options)

    def measure(self, whole: Tensor, parts: PackedParts) -> dict[str, Value]:
        """Return the :func:`site_accuracy` of each image as ``accuracy``."""
        return {"accuracy": accuracy_per_image(whole, parts)}

    def compare(self, whole: Tensor, truth: Tensor, parts: PackedParts) -> dict[str, Value]:
        """Return ``rmse``, the root mean squared difference to a true image, and ``glitches``.

        These are the share of pixels (paper, section 5.2) that are black, all channels below 1/4,
        where the ground truth has one above 1/2, or white, all above 3/4, where it has one below
        1/2. The oracle compares two true images, which differ in their intensities.
        """
        square = mean_square(whole - truth)
        return {"rmse": partial(Estimate.root_mean, square), "glitches": glitches(whole, truth)}

    def measure_removal(self, removal: Removal) -> dict[str, Value]:
        """Return the accuracy of the sites that stay, true and left, and the ratio of the two."""
        images = removal.truth, removal.removed
        true, left = (accuracy_per_image(each, removal.rest) for each in images)
        ratio = partial(Estimate.ratio, left, true)
        return {"true_accuracy": true, "removal_accuracy": left, "accuracy_ratio": ratio}

    def figures(self, model: CompVAE, *, seed: int = 0) -> dict[str, Figure]:
        """Return examples of the data, a recomposition, and reconstructions (extra ``plots``)."""
        from compvae_pyg.problems.dots.figures import draw_figures

        return draw_figures(model, self, seed)

    def add_demo(self, gr: Any, app: Any, model: CompVAE) -> None:
        """Add a tab to the page of the demo (extra ``demo``)."""
        from compvae_pyg.problems.dots.demo import add_tab

        add_tab(gr, app, model)
