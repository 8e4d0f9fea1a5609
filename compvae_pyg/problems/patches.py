"""Patches of images, each at a place of its own: drawn there, and cut out again."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cut_patches", "place_patches"]


def place_patches(patches: Tensor, pos: Tensor, size: Sequence[int], extent: float) -> Tensor:
    r"""Draw each patch at its place on an empty image of its own, with linear interpolation.

    Args:
        patches: Patches, ``[N, C, h, w]``.
        pos: Their centres, ``[N, 2]`` (x to the right, y downwards), where the image, from edge to
            edge, is :math:`[-1, 1]^2`.
        size: Height and width of the images, in pixels.
        extent: Width and height of a patch, in those of an image.

    Returns:
        Images ``[N, C, *size]``.

    Example:
        >>> patch = torch.ones(1, 1, 2, 2)
        >>> place_patches(patch, torch.tensor([[0.5, -0.5]]), (4, 4), extent=0.5)[0, 0]
        tensor([[0., 0., 1., 1.],
                [0., 0., 1., 1.],
                [0., 0., 0., 0.],
                [0., 0., 0., 0.]])
    """
    return _sample(patches, 1.0 / extent, -pos / extent, size)


def cut_patches(
    images: Tensor, pos: Tensor, batch: Tensor, size: Sequence[int], extent: float
) -> Tensor:
    r"""Cut the surroundings of each part out of its image, with linear interpolation.

    It undoes :func:`place_patches`, to the precision of the interpolation.

    Args:
        images: Images, ``[S, C, H, W]``; beyond their edges they are zero.
        pos: Centres of the patches, ``[N, 2]``, in the images' :math:`[-1, 1]^2`.
        batch: Image of each patch, ``[N]``.
        size: Height and width of the patches, in pixels.
        extent: Width and height of a patch, in those of an image.

    Returns:
        Patches ``[N, C, *size]``.

    Example:
        >>> patch = torch.rand(1, 1, 8, 8)
        >>> pos = torch.tensor([[0.25, -0.5]])
        >>> image = place_patches(patch, pos, (24, 24), extent=8 / 24)
        >>> cut = cut_patches(image, pos, torch.tensor([0]), (8, 8), extent=8 / 24)
        >>> torch.allclose(cut, patch, atol=1e-4)
        True
    """
    return _sample(images.index_select(0, batch), extent, pos, size)


def _sample(images: Tensor, zoom: float, shift: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate each image at ``zoom * point + shift``, for the points of a grid in [-1, 1]²."""
    # affine_grid's points, which it does not make where there is no image.
    rows, columns = (
        (2.0 * torch.arange(n, dtype=shift.dtype, device=shift.device) + 1.0) / n - 1.0
        for n in size
    )
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = zoom * points + shift.view(-1, 1, 1, 2)
    return F.grid_sample(images, grid, align_corners=False)
