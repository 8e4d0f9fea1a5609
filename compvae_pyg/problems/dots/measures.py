"""How well images show the sites that they are to be made of."""

import torch
from torch import Tensor

from compvae_pyg.nn import PackedParts, checks
from compvae_pyg.problems.base import Quantity
from compvae_pyg.problems.dots.data import COLORS, palette

__all__ = ["QUANTITIES", "accuracy_per_image", "glitches", "site_accuracy", "sites_shown"]

_BLACK, _MIDDLE, _WHITE = 0.25, 0.5, 0.75
QUANTITIES = {
    "accuracy": Quantity(
        "site accuracy (ground truth)",
        title="sites that show their colour",
        ratio="the same, relative to the ground truth",
        chance=1.0 / len(COLORS),
        meaning="share of sites whose nearest pixel is closest to their colour",
    ),
    "rmse": Quantity(
        "rmse (oracle)",
        title="rmse to a ground-truth image",
        meaning="root mean squared difference to a true image of the same sites",
    ),
    "glitches": Quantity(
        "glitches (oracle)",
        ".2%",
        "share of glitches",
        meaning="share of pixels that are black or white by mistake",
    ),
}


def glitches(images: Tensor, truth: Tensor) -> Tensor:
    """Return the share of pixels of each image that are black or white by mistake, ``[S]``."""
    black = (images < _BLACK).all(dim=1) & (truth > _MIDDLE).any(dim=1)
    white = (images > _WHITE).all(dim=1) & (truth < _MIDDLE).any(dim=1)
    return (black | white).flatten(1).double().mean(dim=1)


def sites_shown(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    r"""Return for each site whether the image has its colour at its position, ``[N]``, Boolean.

    .. math::
        \arg\min_c \lVert x(p_i) - c \rVert = c_i

    where :math:`p_i` is the pixel nearest the site, if need be on the image's border, and :math:`c`
    runs over :data:`~compvae_pyg.problems.dots.COLORS`, in RGB.

    Args:
        images: Images, ``[S, 3, H, W]``, whose pixels span :math:`[-1, 1]^2`.
        color: Colour of each site as an index into ``COLORS``, ``[N]``.
        pos: Position of each site, ``[N, 2]``: x, to the right, and y, downwards.
        batch: Image of each site, ``[N]``, in any order.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes or devices do not fit, or a colour or an image is not there.

    Example:
        >>> red = torch.zeros(1, 3, 32, 32)
        >>> red[:, 0] = 1.0
        >>> sites_shown(red, torch.tensor([0, 1]), torch.zeros(2, 2), torch.tensor([0, 0]))
        tensor([ True, False])
    """
    checks.check_real(images, "images")
    checks.check_shape(images, "images", ("S", 3, "H", "W"))
    checks.check_places({"color": color, "pos": pos}, len(COLORS), "color")
    checks.check_categories({"batch": batch}, len(images), "batch")
    checks.check_shape(batch, "batch", color.shape)
    checks.check_device(color, "color", images.device, "images")
    checks.check_device(batch, "batch", images.device, "images")
    last = torch.tensor([images.shape[3] - 1, images.shape[2] - 1], device=pos.device)
    pixel = torch.round((pos + 1.0) * 0.5 * last).long()
    column, row = pixel.clamp(min=0).minimum(last).unbind(dim=1)
    shown = images.permute(0, 2, 3, 1)[batch, row, column]
    distance = (shown.unsqueeze(1) - palette(images)).square().sum(dim=-1)
    return distance.argmin(dim=1) == color


def site_accuracy(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    """Return the share of sites whose colour the images show, see :func:`sites_shown`, a scalar.

    Neighbours cover each other: what a generated image can reach is the accuracy of a ground-truth
    image of the same sites. Without sites the result is ``nan``.

    Raises:
        TypeError, ValueError: As :func:`sites_shown`.

    Example:
        >>> from compvae_pyg import Dots
        >>> data = Dots().sample(torch.ones(10, dtype=torch.long))
        >>> site_accuracy(data.whole, data.color, data.pos, data.batch)
        tensor(1.)
    """
    return sites_shown(images, color, pos, batch).to(images.dtype).mean()


def accuracy_per_image(images: Tensor, sites: PackedParts) -> Tensor:
    """Return the :func:`site_accuracy` of each image, ``[S]``."""
    shown = sites_shown(images, sites["color"], sites["pos"], sites.batch)
    return sites.sum(shown.to(images.dtype)) / sites.sizes(images.dtype)
