"""Images made of coloured sites (paper, section 4.2 and B.2)."""

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_count, check_feature, check_places

__all__ = ["COLORS", "render_dots"]

COLORS = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}


def palette(like: Tensor) -> Tensor:
    """Return :data:`COLORS`, ``[5, 3]``, of a tensor's type and on its device, without a wait."""
    return torch.tensor(list(COLORS.values()), dtype=like.dtype).to(like.device, non_blocking=True)


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
    total = of_color.sum(dim=1, keepdim=True)
    image = (palette(pos).T @ of_color / total.clamp(min=1.0)).clamp(0.0, 1.0) ** (1.0 / 2.4)
    return image.view(batch_size, 3, size, size)
