"""Images of the demo: sites are marked, and clicks become positions."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compvae_pyg.problems.dots.data import COLORS

__all__ = ["SCALE", "draw_frame", "draw_sites", "position_of"]

SCALE = 12  # screen pixels a pixel
_RADIUS, _RING = 7.0, 2.0
_FRAME = 153  # grey


def position_of(x: float, y: float, size: int = 32) -> tuple[float, float]:
    """Return the position in [-1, 1]² of a screen pixel; that of a pixel is its centre.

    Example:
        >>> position_of(5.5, 377.5)
        (-1.0, 1.0)
    """
    half = 0.5 * (size - 1)
    return ((x + 0.5) / SCALE - 0.5) / half - 1.0, ((y + 0.5) / SCALE - 0.5) / half - 1.0


def draw_frame(image: NDArray[np.uint8]) -> None:
    """Draw a frame into the border of a picture ``[H, W, 3]``, so that white ones have an end.

    Example:
        >>> image = np.full((3, 3, 3), 255, dtype=np.uint8)
        >>> draw_frame(image)
        >>> image[..., 0].tolist()
        [[153, 153, 153], [153, 255, 153], [153, 153, 153]]
    """
    image[[0, -1]] = _FRAME
    image[:, [0, -1]] = _FRAME


def draw_sites(image: Tensor, color: Tensor, pos: Tensor) -> NDArray[np.uint8]:
    """Enlarge an image ``[3, size, size]`` to ``[12 size, 12 size, 3]`` and mark its N sites."""
    size = image.shape[-1]
    small = (255.0 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()
    out = small.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    draw_frame(out)
    down, right = np.ogrid[: SCALE * size, : SCALE * size]
    palette = (255.0 * np.array(list(COLORS.values()))).astype(np.uint8)
    centers = SCALE * (0.5 * (pos.numpy() + 1.0) * (size - 1) + 0.5) - 0.5
    reach = _RADIUS + 2.0 * _RING
    for index, (x, y) in enumerate(centers):
        rows, columns = (slice(max(0, int(c - reach)), int(c + reach) + 2) for c in (y, x))
        around = out[rows, columns]  # a view
        distance = np.hypot(right[:, columns] - x, down[rows] - y)
        # A white ring in a black one is seen on every colour.
        around[distance <= reach] = 0
        around[distance <= _RADIUS + _RING] = 255
        around[distance <= _RADIUS] = palette[color[index]]
    return out
