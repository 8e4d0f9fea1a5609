"""Images of coloured sites side by side (paper, Fig. 3 and 8), from results (extra ``plots``)."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.models import CompVAE
from compvae_pyg.plots.style import FRAME, array, draw_image, draw_sites
from compvae_pyg.problems.dots.data import COLORS
from compvae_pyg.problems.dots.problem import Dots
from compvae_pyg.problems.dots.samples import (
    Recomposition,
    Reconstructions,
    recompose_dots,
    reconstruct_dots,
)

__all__ = ["draw_figures", "plot_data", "plot_recomposition", "plot_reconstructions"]

# At this resolution, a pixel of an image of 32 is four pixels wide.
_TILE_INCHES, _DPI = 0.64, 200
_GAP, _WIDE_GAP, _MARGIN = 0.08, 0.24, 0.06


def draw_figures(model: CompVAE, problem: Dots, seed: int) -> dict[str, Figure]:
    """Draw all of them, from samples of a model.

    Example:
        >>> sorted(draw_figures(Dots().build("small"), Dots(), seed=0))
        ['data', 'recomposition', 'reconstructions']
    """
    sizes = torch.arange(1, 5).repeat_interleave(8)
    data = problem.sample(sizes, torch.Generator().manual_seed(seed))
    return {
        "data": plot_data(data.whole, sizes, data.pos, data.color),
        "recomposition": plot_recomposition(recompose_dots(model, problem, seed=seed)),
        "reconstructions": plot_reconstructions(reconstruct_dots(model, problem, seed=seed)),
    }


def plot_data(
    images: ArrayLike,
    num_parts: ArrayLike,
    pos: ArrayLike | None = None,
    color: ArrayLike | None = None,
) -> Figure:
    """Draw examples of wholes, one row for each number of sites (paper, Fig. 3).

    Images are ``[S, 3, H, W]`` in [0, 1], ``num_parts`` is ``[S]``; positions of the sites, packed,
    ``[N, 2]``, are marked, in their colours by number, ``[N]``.

    Raises:
        ValueError: If an array is not of this shape.

    Example:
        >>> figure = plot_data(np.zeros((3, 3, 32, 32)), [1, 1, 2], np.zeros((4, 2)))
        >>> figure.get_size_inches().round(1)
        array([1.9, 1.5])
    """
    images = array(images, "images", "S", 3, "H", "W")
    num_parts = array(num_parts, "num_parts", len(images))
    if pos is not None:
        number = int(num_parts.sum())
        pos, bounds = array(pos, "pos", number, 2), np.cumsum(num_parts)[:-1]
        fill = np.ones((number, 3))
        if color is not None:
            fill = np.asarray(list(COLORS.values()))[array(color, "color", number)]
        sites, fills = np.split(pos, bounds), np.split(fill, bounds)
    labels, rows, columns = _rows_by_size(num_parts)
    mosaic = _Mosaic(labels, columns, left=0.45)
    for y, row in enumerate(rows):
        for x, at in enumerate(row):
            mosaic.tile(x, y, images[at])
            if pos is not None:
                mosaic.mark(x, y, sites[at], fills[at], 16.0)
    return mosaic.figure


def plot_recomposition(recomposition: Recomposition) -> Figure:
    """Draw a whole as its parts are added one by one (paper, Fig. 8).

    Above, the part that each column adds: its colour at its position. Then the ground truth of all
    parts so far, and what the model generates from them, one draw a row.

    Example:
        >>> model, how = Dots().build("small"), {"num_parts": 2, "num_samples": 1}
        >>> type(plot_recomposition(recompose_dots(model, Dots(), **how))).__name__
        'Figure'
    """
    color, pos, truth, generated = map(np.asarray, vars(recomposition).values())
    palette = np.asarray(list(COLORS.values()))
    num_samples, num_parts = generated.shape[:2]
    labels = ["part added", "ground truth", *(f"sample {n + 1}" for n in range(num_samples))]
    mosaic = _Mosaic(labels, num_parts, left=0.95, top=0.2, row_breaks=(1, 2))
    for x in range(num_parts):
        mosaic.heading(x, f"$K={x + 1}$")
        mosaic.tile(x, 0, np.full((3, 1, 1), 0.85))
        mosaic.mark(x, 0, pos[x : x + 1], palette[color[x : x + 1]], 55.0)
        for y, image in enumerate([truth[x], *generated[:, x]], start=1):
            mosaic.tile(x, y, image)
    return mosaic.figure


def plot_reconstructions(reconstructions: Reconstructions) -> Figure:
    """Draw images beside their reconstructions, one row for each number of sites.

    Example:
        >>> model, how = Dots().build("small"), {"num_parts": [2], "num_examples": 1}
        >>> type(plot_reconstructions(reconstruct_dots(model, Dots(), **how))).__name__
        'Figure'
    """
    num_parts, *pair = map(np.asarray, vars(reconstructions).values())
    labels, rows, pairs = _rows_by_size(num_parts)
    breaks = range(2, 2 * pairs, 2)
    mosaic = _Mosaic(labels, 2 * pairs, left=0.5, top=0.2, column_breaks=breaks)
    for x, name in enumerate(["whole", "recon."] * pairs):
        mosaic.heading(x, name)
    for y, row in enumerate(rows):
        for x in range(2 * len(row)):
            mosaic.tile(x, y, pair[x % 2][row[x // 2]])
    return mosaic.figure


def _rows_by_size(num_parts: NDArray[Any]) -> tuple[list[str], list[NDArray[Any]], int]:
    """Return labels of rows, the indices of the images of each, and the length of the longest."""
    sizes = np.unique(num_parts)
    rows = [np.flatnonzero(num_parts == size) for size in sizes]
    return [f"$K={size}$" for size in sizes], rows, max(map(len, rows))


class _Mosaic:
    """Images of one size in rows and columns, in units of a tile from the top left corner.

    ``left`` and ``top`` are inches for labels; rows and columns at breaks are set apart.
    """

    def __init__(
        self,
        row_labels: Sequence[str],
        num_columns: int,
        left: float,
        top: float = 0.0,
        row_breaks: Collection[int] = (),
        column_breaks: Collection[int] = (),
    ) -> None:
        self.x, width = _places(num_columns, column_breaks)
        self.y, height = _places(len(row_labels), row_breaks)
        inches = np.array([width, height]) * _TILE_INCHES
        whole = inches + np.array([left, top]) + 2.0 * _MARGIN
        self.figure = Figure(figsize=tuple(whole), dpi=_DPI)
        corner = np.array([left, 0.0]) + _MARGIN
        self.axes = self.figure.add_axes((*(corner / whole), *(inches / whole)))
        self.axes.set(xlim=(0.0, width), ylim=(height, 0.0), autoscale_on=False)
        self.axes.set_axis_off()
        for y, text in zip(self.y, row_labels, strict=True):
            self.axes.text(-0.12, y + 0.5, text, ha="right", va="center", fontsize=9)

    def heading(self, column: int, text: str) -> None:
        self.axes.text(self.x[column] + 0.5, -0.06, text, ha="center", va="bottom", fontsize=8)

    def tile(self, column: int, row: int, image: NDArray[Any]) -> None:
        x, y = self.x[column], self.y[row]
        draw_image(self.axes, image, (x, x + 1.0, y + 1.0, y), aspect="auto")
        # White images would melt into the page.
        look: dict[str, Any] = {"fill": False, "edgecolor": FRAME, "linewidth": 0.5}
        self.axes.add_patch(Rectangle((x, y), 1.0, 1.0, clip_on=False, **look))

    def mark(self, column: int, row: int, pos: NDArray[Any], fill: Any, area: float) -> None:
        """Mark positions, ``[N, 2]`` in [-1, 1]."""
        corner = np.array([self.x[column], self.y[row]])
        draw_sites(self.axes, corner + (pos + 1.0) / 2.0, fill, area, 1.8)


def _places(count: int, breaks: Collection[int]) -> tuple[NDArray[Any], float]:
    gaps = [_WIDE_GAP if index in breaks else _GAP for index in range(1, count)]
    places = np.concatenate([[0.0], np.cumsum(1.0 + np.asarray(gaps))])
    return places, float(places[-1]) + 1.0
