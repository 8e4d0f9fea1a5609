"""Images side by side."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.plots.style import FRAME

__all__ = ["Mosaic"]

# At this resolution, a pixel of an image of 32 is four pixels wide.
_TILE_INCHES, _DPI = 0.64, 200


class Mosaic:
    """Images of one size in rows and columns, in units of a tile from the top left corner.

    Args:
        num_rows: Number of rows.
        num_columns: Number of columns.
        left: Inches for the labels of the rows.
        top: Inches for the labels of the columns.
        row_breaks: Rows that are set apart from those above.
        column_breaks: Columns that are set apart from those before.
    """

    gap = 0.08
    wide_gap = 0.24
    margin = 0.06

    def __init__(
        self,
        num_rows: int,
        num_columns: int,
        *,
        left: float,
        top: float = 0.0,
        row_breaks: tuple[int, ...] = (),
        column_breaks: tuple[int, ...] = (),
    ) -> None:
        self.x, width = self._places(num_columns, column_breaks)
        self.y, height = self._places(num_rows, row_breaks)
        inches = np.array([width, height]) * _TILE_INCHES
        whole = inches + np.array([left, top]) + 2.0 * self.margin
        self.figure = Figure(figsize=tuple(whole), dpi=_DPI)
        corner = np.array([left, 0.0]) + self.margin
        self.axes = self.figure.add_axes((*(corner / whole), *(inches / whole)))
        self.axes.set(xlim=(0.0, width), ylim=(height, 0.0), autoscale_on=False)
        self.axes.set_axis_off()

    def tile(self, column: int, row: int, image: NDArray[Any]) -> None:
        """Draw an image, ``[3, H, W]``, clipped to [0, 1]."""
        x, y = self.x[column], self.y[row]
        self.axes.imshow(
            np.clip(image.transpose(1, 2, 0), 0.0, 1.0),
            extent=(x, x + 1.0, y + 1.0, y),
            aspect="auto",
            interpolation="nearest",
        )
        # White images would melt into the page.
        frame = Rectangle((x, y), 1.0, 1.0, fill=False, edgecolor=FRAME, linewidth=0.5)
        frame.set_clip_on(False)
        self.axes.add_patch(frame)

    def mark(
        self,
        column: int,
        row: int,
        pos: NDArray[Any],
        fill: ArrayLike = (1.0, 1.0, 1.0),
        area: float = 10.0,
    ) -> None:
        """Mark positions, ``[N, 2]`` in [-1, 1], by dots with an outline for any background."""
        x = self.x[column] + (pos[:, 0] + 1.0) / 2.0
        y = self.y[row] + (pos[:, 1] + 1.0) / 2.0
        self.axes.scatter(x, y, s=area, color="white", edgecolors="white", linewidths=1.8)
        self.axes.scatter(x, y, s=area, color=[fill] * len(pos), edgecolors="black", linewidths=0.8)

    def row_label(self, row: int, text: str) -> None:
        """Write to the left of a row."""
        self.axes.text(-0.12, self.y[row] + 0.5, text, ha="right", va="center", fontsize=9)

    def column_label(self, column: int, text: str) -> None:
        """Write above a column."""
        self.axes.text(self.x[column] + 0.5, -0.06, text, ha="center", va="bottom", fontsize=8)

    def _places(self, count: int, breaks: tuple[int, ...]) -> tuple[NDArray[Any], float]:
        gaps = [self.wide_gap if index in breaks else self.gap for index in range(1, count)]
        places = np.concatenate([[0.0], np.cumsum(1.0 + np.asarray(gaps))])
        return places, float(places[-1]) + 1.0
