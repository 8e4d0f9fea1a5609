"""Whether images show the coloured sites that were asked for."""

import torch
from torch import Tensor

from compvae_pyg.models.checks import check_type
from compvae_pyg.nn.checks import check_real
from compvae_pyg.problems import COLORS

__all__ = ["site_accuracy", "sites_shown"]


def sites_shown(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    r"""Tell for each site whether the image has its colour at its position.

    .. math::
        \arg\min_c \lVert x(p_i) - c \rVert = c_i

    where :math:`p_i` is the pixel nearest the site and :math:`c` runs over
    :data:`~compvae_pyg.problems.COLORS`, in RGB.

    Args:
        images: Images, ``[S, 3, H, W]``, whose pixels span :math:`[-1, 1]^2`.
        color: Colour of each site as an index into ``COLORS``, ``[N]``.
        pos: Position of each site, ``[N, 2]``: x, to the right, and y, downwards. Outside the
            image the nearest pixel of its border counts.
        batch: Image of each site, ``[N]``.

    Returns:
        ``[N]``, Boolean.

    Raises:
        ValueError: If a shape does not fit the others.

    Example:
        >>> red = torch.zeros(1, 3, 32, 32)
        >>> red[:, 0] = 1.0
        >>> color, pos = torch.tensor([0, 1]), torch.zeros(2, 2)
        >>> sites_shown(red, color, pos, torch.tensor([0, 0]))
        tensor([ True, False])
    """
    check_real(images, "images")
    check_real(pos, "pos")
    for name, value in (("color", color), ("batch", batch)):
        check_type(value, name, Tensor)
        if value.dtype != torch.long:
            raise TypeError(f"{name} must hold 64-bit integers (got {value.dtype})")
    for name, value in (("color", color), ("pos", pos), ("batch", batch)):
        if value.device != images.device:
            raise ValueError(
                f"{name} must be on the device of images (got {value.device}, "
                f"expected {images.device})"
            )
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be [S, 3, H, W] (got {list(images.shape)})")
    if color.dim() != 1 or pos.shape != (color.shape[0], 2) or batch.shape != color.shape:
        raise ValueError(
            "color, pos and batch must be [N], [N, 2] and [N] "
            f"(got {list(color.shape)}, {list(pos.shape)} and {list(batch.shape)})"
        )
    if images.device.type == "cpu":  # where that costs no synchronisation
        _check_range(color, "color", len(COLORS))
        _check_range(batch, "batch", len(images))
        if not bool(torch.isfinite(pos).all()):
            raise ValueError("pos must be finite (got NaN or infinity)")
    last = torch.tensor([images.shape[3] - 1, images.shape[2] - 1], device=pos.device)
    pixel = torch.round((pos + 1.0) * 0.5 * last).long()
    column, row = pixel.clamp(min=0).minimum(last).unbind(dim=1)
    shown = images.permute(0, 2, 3, 1)[batch, row, column]
    palette = torch.tensor(list(COLORS.values()), dtype=images.dtype, device=images.device)
    distance = (shown.unsqueeze(1) - palette).square().sum(dim=-1)
    return distance.argmin(dim=1) == color


def _check_range(value: Tensor, name: str, count: int) -> None:
    outside = (value < 0) | (value >= count)
    if bool(outside.any()):
        at = int(outside.nonzero()[0])
        raise ValueError(f"{name} must lie in [0, {count}) (got {int(value[at])} at site {at})")


def site_accuracy(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    """Return the share of sites whose colour the images show at their positions, a scalar.

    Neighbours cover each other, so that images by the ground truth do not show all sites either:
    what a generated image can reach is the accuracy of a true one with the same sites.

    Arguments and errors are those of :func:`sites_shown`; without sites the result is ``nan``.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> data = Dots().sample(torch.ones(10, dtype=torch.long))
        >>> site_accuracy(data.whole, data.color, data.pos, data.batch)
        tensor(1.)
    """
    return sites_shown(images, color, pos, batch).to(images.dtype).mean()
