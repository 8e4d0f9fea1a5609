"""Images of the demo: sites are marked, and clicks become positions."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compvae_pyg.problems import COLORS

__all__ = ["SCALE", "draw_sites", "position_of"]

SCALE = 12  # screen pixels a pixel
_RADIUS = 7.0


def position_of(x: float, y: float, size: int = 32) -> tuple[float, float]:
    """Return the position in [-1, 1]² of a screen pixel; that of a pixel is its centre.

    Example:
        >>> position_of(5.5, 377.5)
        (-1.0, 1.0)
    """
    return (
        2.0 * ((x + 0.5) / SCALE - 0.5) / (size - 1) - 1.0,
        2.0 * ((y + 0.5) / SCALE - 0.5) / (size - 1) - 1.0,
    )


def draw_sites(
    image: Tensor, color: Tensor, pos: Tensor, selected: int | None = None
) -> NDArray[np.uint8]:
    """Enlarge an image and mark its sites.

    Args:
        image: An image in [0, 1], ``[3, size, size]``.
        color: Colour of each site, ``[N]``.
        pos: Position of each site, ``[N, 2]``.
        selected: A site that is marked more strongly.

    Returns:
        RGB, ``[12 size, 12 size, 3]``.
    """
    size = image.shape[-1]
    line = torch.tensor([position_of(x, x, size)[0] for x in range(SCALE * size)])
    out = image.repeat_interleave(SCALE, dim=1).repeat_interleave(SCALE, dim=2)
    palette = torch.tensor(list(COLORS.values()))
    unit = 2.0 / (size - 1) / SCALE  # width of a screen pixel
    for index, (x, y) in enumerate(pos.tolist()):
        distance = ((line - x).square() + (line - y).square().unsqueeze(1)).sqrt() / unit
        width = 5.0 if index == selected else 2.0
        # A white ring in a black one is seen on every colour.
        for radius, rgb in (
            (_RADIUS + 2.0 * width, torch.zeros(3)),
            (_RADIUS + width, torch.ones(3)),
            (_RADIUS, palette[color[index]]),
        ):
            out = torch.where(distance <= radius, rgb.view(3, 1, 1), out)
    return (255.0 * out).round().to(torch.uint8).permute(1, 2, 0).numpy()
