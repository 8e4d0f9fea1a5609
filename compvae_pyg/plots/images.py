"""Images of coloured sites side by side: examples, recompositions, reconstructions."""

from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.evaluation import Recomposition, Reconstructions
from compvae_pyg.plots.style import FRAME, array, draw_image, draw_sites
from compvae_pyg.problems import COLORS

__all__ = ["plot_data", "plot_recomposition", "plot_reconstructions"]

# At this resolution, a pixel of an image of 32 is four pixels wide.
_TILE_INCHES, _DPI = 0.64, 200
_GAP, _WIDE_GAP, _MARGIN = 0.08, 0.24, 0.06


def plot_data(images: ArrayLike, num_parts: ArrayLike, pos: ArrayLike | None = None) -> Figure:
    """Draw examples of wholes, one row for each number of sites (paper, Fig. 3).

    Args:
        images: Images, ``[S, 3, H, W]`` in [0, 1].
        num_parts: Number of sites of each image, ``[S]``.
        pos: Positions of the sites, packed, ``[N, 2]``, if they are to be marked.

    Raises:
        ValueError: If a shape does not fit the others.

    Example:
        >>> figure = plot_data(np.zeros((3, 3, 32, 32)), [1, 1, 2], np.zeros((4, 2)))
        >>> figure.get_size_inches().round(1)
        array([1.9, 1.5])
    """
    images = array(images, "images", "S", 3, "H", "W")
    num_parts = array(num_parts, "num_parts", len(images))
    rows = _by_size(num_parts)
    mosaic = _Mosaic(len(rows), max(map(len, rows.values())), left=0.45)
    if pos is not None:
        pos = array(pos, "pos", int(num_parts.sum()), 2)
        sites = np.split(pos, np.cumsum(num_parts)[:-1])
    for y, (size, row) in enumerate(rows.items()):
        mosaic.row_label(y, f"$K={size}$")
        for x, at in enumerate(row):
            mosaic.tile(x, y, images[at])
            if pos is not None:
                mosaic.mark(x, y, sites[at], "white", 10.0)
    return mosaic.figure


def plot_recomposition(recomposition: Recomposition) -> Figure:
    """Draw a whole as its parts are added one by one (paper, Fig. 8).

    Above, the part that each column adds: its colour at its position. Then the ground truth of all
    parts so far, and what the model generates from them, one draw a row.
    """
    color, pos, truth, generated = map(np.asarray, vars(recomposition).values())
    palette = np.asarray(list(COLORS.values()))
    num_samples, num_parts = generated.shape[:2]
    mosaic = _Mosaic(2 + num_samples, num_parts, left=0.95, row_breaks=(1, 2))
    labels = ["part added", "ground truth", *(f"sample {n + 1}" for n in range(num_samples))]
    for y, label in enumerate(labels):
        mosaic.row_label(y, label)
    for x in range(num_parts):
        mosaic.tile(x, 0, np.full((3, 1, 1), 0.85))
        mosaic.mark(x, 0, pos[x : x + 1], palette[color[x]], 55.0)
        for y, image in enumerate([truth[x], *generated[:, x]], start=1):
            mosaic.tile(x, y, image)
    return mosaic.figure


def plot_reconstructions(reconstructions: Reconstructions) -> Figure:
    """Draw images beside their reconstructions, one row for each number of sites."""
    num_parts, *pair = map(np.asarray, vars(reconstructions).values())
    rows = _by_size(num_parts)
    columns = 2 * max(map(len, rows.values()))
    mosaic = _Mosaic(len(rows), columns, left=0.5, top=0.2, column_breaks=range(2, columns, 2))
    for x in range(columns):
        mosaic.column_label(x, ("whole", "recon.")[x % 2])
    for y, (size, row) in enumerate(rows.items()):
        mosaic.row_label(y, f"$K={size}$")
        for x in range(2 * len(row)):
            mosaic.tile(x, y, pair[x % 2][row[x // 2]])
    return mosaic.figure


def _by_size(num_parts: NDArray[Any]) -> dict[int, NDArray[Any]]:
    return {int(size): np.flatnonzero(num_parts == size) for size in np.unique(num_parts)}


class _Mosaic:
    """Images of one size in rows and columns, in units of a tile from the top left corner.

    ``left`` and ``top`` are inches for labels; rows and columns at breaks are set apart.
    """

    def __init__(
        self,
        num_rows: int,
        num_columns: int,
        left: float,
        top: float = 0.0,
        row_breaks: Collection[int] = (),
        column_breaks: Collection[int] = (),
    ) -> None:
        self.x, width = _places(num_columns, column_breaks)
        self.y, height = _places(num_rows, row_breaks)
        inches = np.array([width, height]) * _TILE_INCHES
        whole = inches + np.array([left, top]) + 2.0 * _MARGIN
        self.figure = Figure(figsize=tuple(whole), dpi=_DPI)
        corner = np.array([left, 0.0]) + _MARGIN
        self.axes = self.figure.add_axes((*(corner / whole), *(inches / whole)))
        self.axes.set(xlim=(0.0, width), ylim=(height, 0.0), autoscale_on=False)
        self.axes.set_axis_off()

    def tile(self, column: int, row: int, image: NDArray[Any]) -> None:
        x, y = self.x[column], self.y[row]
        draw_image(self.axes, image, (x, x + 1.0, y + 1.0, y), aspect="auto")
        # White images would melt into the page.
        frame = Rectangle((x, y), 1.0, 1.0, fill=False, edgecolor=FRAME, linewidth=0.5)
        frame.set_clip_on(False)
        self.axes.add_patch(frame)

    def mark(self, column: int, row: int, pos: NDArray[Any], fill: Any, area: float) -> None:
        """Mark positions, ``[N, 2]`` in [-1, 1]."""
        corner = np.array([self.x[column], self.y[row]])
        draw_sites(self.axes, corner + (pos + 1.0) / 2.0, [fill] * len(pos), area, 1.8)

    def row_label(self, row: int, text: str) -> None:
        self.axes.text(-0.12, self.y[row] + 0.5, text, ha="right", va="center", fontsize=9)

    def column_label(self, column: int, text: str) -> None:
        self.axes.text(self.x[column] + 0.5, -0.06, text, ha="center", va="bottom", fontsize=8)


def _places(count: int, breaks: Collection[int]) -> tuple[NDArray[Any], float]:
    gaps = [_WIDE_GAP if index in breaks else _GAP for index in range(1, count)]
    places = np.concatenate([[0.0], np.cumsum(1.0 + np.asarray(gaps))])
    return places, float(places[-1]) + 1.0
