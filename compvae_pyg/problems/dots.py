"""The two-dimensional problem: images made of coloured sites (paper, section 4.2 and B.2)."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import check_count, check_feature, check_methods, check_places
from compvae_pyg.problems import dots_networks, dots_paper_networks  # noqa: F401 - they register
from compvae_pyg.problems.base import Problem, drawing_device, packed_batch

__all__ = ["COLORS", "Dots", "render_dots"]

COLORS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}


def render_dots(
    color: Tensor,
    pos: Tensor,
    intensity: Tensor,
    batch: Tensor,
    batch_size: int,
    size: int = 32,
) -> Tensor:
    r"""Draw images of coloured sites.

    .. math::
        x(p) = \Bigl( \sum_i \operatorname{softmax}_i\bigl(-a_i \lVert p - s_i \rVert^2\bigr)\, c_i
            \Bigr)^{1/2.4}

    with the softmax over the sites of an image (paper, B.2).

    Args:
        color: Colour of each site as an index into :data:`COLORS`, ``[N]``.
        pos: Position :math:`s` of each site, ``[N, 2]`` (x to the right, y downwards); the pixels
            span :math:`[-1, 1]^2`.
        intensity: Intensity :math:`a > 0` of each site, ``[N]``.
        batch: Image of each site, ``[N]``, sorted.
        batch_size: Number of images :math:`S`.
        size: Pixels along each side.

    Returns:
        Images ``[S, 3, size, size]`` in [0, 1]; an image without sites is black.

    Raises:
        TypeError: If ``color`` does not hold 64-bit integers, or ``pos`` no real numbers.
        ValueError: If a shape, a colour or a position is out of range; values are looked at on the
            CPU.

    Example:
        >>> one = render_dots(torch.tensor([0]), torch.zeros(1, 2), torch.tensor([7.0]),
        ...                   torch.tensor([0]), 1)
        >>> one[0, :, 5, 5]
        tensor([1., 0., 0.])
    """
    check_places({"color": color, "pos": pos}, len(COLORS), "color")
    check_feature(intensity, "intensity", color)
    PackedParts(color, batch, batch_size)
    check_count(size, "size")
    line = torch.linspace(-1.0, 1.0, size, dtype=pos.dtype, device=pos.device)
    offset = (line - pos.unsqueeze(-1)).square() * intensity.view(-1, 1, 1)
    # Along x and along y the squared distances add, [N, size] each.
    logits = -(offset[:, 1].unsqueeze(-1) + offset[:, 0].unsqueeze(-2)).flatten(1)
    highest = scatter(logits, batch, 0, batch_size, reduce="max")
    weight = torch.exp(logits - highest.index_select(0, batch))
    # Sites of one colour are added up before they are mixed with others.
    row = batch * len(COLORS) + color
    of_color = scatter(weight, row, 0, batch_size * len(COLORS), reduce="sum").view(
        batch_size, len(COLORS), -1
    )
    palette = torch.tensor(list(COLORS.values()), dtype=pos.dtype, device=pos.device)
    total = of_color.sum(dim=1, keepdim=True)
    image = (palette.T @ of_color / total.clamp(min=1.0)).clamp(0.0, 1.0) ** (1.0 / 2.4)
    return image.view(batch_size, 3, size, size)


@check_methods
class Dots(Problem):
    r"""Images of :math:`K` coloured sites whose intensity is not told.

    A part is a colour (one of five) and a position in :math:`[-0.9, 0.9]^2`; its intensity, uniform
    in [5, 10], is its intrinsic variety. A whole is the image, ``[3, 32, 32]``.

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
    networks = ("small", "paper")
    training: ClassVar[dict[str, Any]] = {
        "num_steps": 5_500,
        "batch_size": 192,
        "initial_rate": 1.8e-3,
    }
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

    def build(self, networks: str, **options: Any) -> CompVAE:
        """Build networks by name, untrained, with options of theirs.

        ``"small"`` suits a laptop's CPU; ``"paper"`` is appendix A.2 to the layer, for a GPU.
        """
        return super().build(networks, **options)
