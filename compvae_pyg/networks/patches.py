"""Patches of images, each at a place of its own: pasted there, and cropped again."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_counts, check_device, check_number, check_real, check_shape

__all__ = ["cut_patches", "place_patches"]


def place_patches(patches: Tensor, pos: Tensor, size: Sequence[int], extent: float) -> Tensor:
    r"""Paste each patch at its place on an empty image of its own, with linear interpolation.

    Args:
        patches: Patches, ``[N, C, h, w]``.
        pos: Their centres, ``[N, 2]`` (x to the right, y downwards), in the images'
            :math:`[-1, 1]^2` from edge to edge.
        size: Height and width of the images, in pixels.
        extent: Width and height of a patch, in those of an image.

    Returns:
        Images ``[N, C, *size]``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a shape does not fit the others, or a number is not positive.

    Example:
        >>> patch = torch.ones(1, 1, 2, 2)
        >>> place_patches(patch, torch.tensor([[0.5, -0.5]]), (4, 4), extent=0.5)[0, 0]
        tensor([[0., 0., 1., 1.],
                [0., 0., 1., 1.],
                [0., 0., 0., 0.],
                [0., 0., 0., 0.]])
    """
    _check("patches", patches, pos, size, extent)
    check_shape(patches, "patches", (pos.shape[0], "C", "h", "w"))
    return _sample(patches, 1.0 / extent, -pos / extent, size)


def cut_patches(
    images: Tensor, pos: Tensor, batch: Tensor, size: Sequence[int], extent: float
) -> Tensor:
    r"""Crop the surroundings of each part from its image: the reverse of :func:`place_patches`.

    Args:
        images: Images, ``[S, C, H, W]``; beyond their edges they are zero.
        pos, extent: Places of the patches, as there.
        batch: Image of each patch, ``[N]``, sorted.
        size: Height and width of the patches, in pixels.

    Returns:
        Patches ``[N, C, *size]``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: As :func:`place_patches`, or if ``batch`` is not sorted.

    Example:
        >>> patch, pos = torch.rand(1, 1, 8, 8), torch.tensor([[0.25, -0.5]])
        >>> image = place_patches(patch, pos, (24, 24), extent=8 / 24)
        >>> cut = cut_patches(image, pos, torch.tensor([0]), (8, 8), extent=8 / 24)
        >>> torch.allclose(cut, patch, atol=1e-4)
        True
    """
    _check("images", images, pos, size, extent)
    check_shape(images, "images", ("S", "C", "H", "W"))
    return _sample(PackedParts(pos, batch, images.shape[0]).broadcast(images), extent, pos, size)


def _check(name: str, images: Tensor, pos: Tensor, size: Sequence[int], extent: float) -> None:
    check_real(images, name)
    check_real(pos, "pos")
    check_shape(pos, "pos", ("N", 2))
    check_device(images, name, pos.device, "pos")
    check_counts(size, "size")
    if len(size) != 2:
        raise ValueError(f"size must be a height and a width (got {len(size)} numbers)")
    check_number(extent, "extent", positive=True)


def _sample(images: Tensor, zoom: float, shift: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate each image at ``zoom * point + shift``, for the points of a grid in [-1, 1]²."""
    # affine_grid makes the same points, but not where there is no image.
    rows, columns = (
        (2.0 * torch.arange(n, dtype=shift.dtype, device=shift.device) + 1.0) / n - 1.0
        for n in size
    )
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = zoom * points + shift.view(-1, 1, 1, 2)
    return F.grid_sample(images, grid, align_corners=False)
