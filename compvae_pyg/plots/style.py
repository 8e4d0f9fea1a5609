"""What the figures have in common: colours, sizes, axes, marks, checked arrays."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.nn.checks import check_shape

# The palette of Okabe and Ito, which colour-blind readers can distinguish.
GREEN, BLUE, ORANGE, PURPLE = "#009E73", "#0072B2", "#E69F00", "#CC79A7"
BLACK, GREY, FRAME = "#222222", "#777777", "#999999"
TRUTH, RULE, SHADE = "#bbbbbb", "#dddddd", "#eeeeee"


def array(value: ArrayLike, name: str, *shape: int | str) -> NDArray[Any]:
    """Return an array of this shape, in which a letter stands for any size, or raise."""
    found = np.asarray(value)
    check_shape(torch.empty(found.shape, device="meta"), name, shape)
    return found


def chart(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def note(
    axes: Axes, at: Any, text: str, coords: Any = "data", offset: Any = (0, 0), **look: Any
) -> None:
    """Write a remark at a place, an offset in points away from it."""
    look = {"color": GREY, "fontsize": 7.5, "va": "bottom", **look}
    axes.annotate(text, at, offset, xycoords=coords, textcoords="offset points", **look)


def open_frame(axes: Axes) -> None:
    """Draw two of the four lines around a chart, and faint lines across it."""
    axes.spines[["top", "right"]].set_visible(False)
    rules(axes)


def rules(axes: Axes) -> None:
    """Draw faint lines across a chart."""
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def time_axis(axes: Axes, num_samples: int, label: str = "", title: str = "") -> None:
    """Let the axis of time end with the samples."""
    axes.set_xlim(0, num_samples - 1)
    axes.set_xlabel(label)
    if title:
        axes.set_title(title, fontsize=9.5)
    open_frame(axes)


def legend_above(figure: Figure, axes: Axes, ncols: int = 2) -> None:
    """Explain the lines of a chart above the figure that it is in."""
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "loc": "outside upper center"}
    figure.legend(*axes.get_legend_handles_labels(), ncols=ncols, **look)


def draw_image(
    axes: Axes, image: NDArray[Any], extent: tuple[float, float, float, float], **options: Any
) -> None:
    """Draw an image, ``[3, H, W]``, clipped to [0, 1]."""
    shown = np.clip(image.transpose(1, 2, 0), 0.0, 1.0)
    axes.imshow(shown, extent=extent, interpolation="nearest", **options)


def draw_sites(axes: Axes, pos: NDArray[Any], fill: Any, area: float, halo: float) -> None:
    """Draw dots at positions, ``[N, 2]``, with an outline for any background."""
    x, y = pos.T
    axes.scatter(x, y, s=area, color="white", edgecolors="white", linewidths=halo)
    axes.scatter(x, y, s=area, color=fill, edgecolors="black", linewidths=0.8)
