"""What the figures have in common: colours, sizes, small marks."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "FRAME",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "RULE",
    "SHADE",
    "TRUTH",
    "chart",
    "legend_above",
    "note",
    "open_frame",
]

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
GREEN, BLUE, ORANGE, PURPLE = "#009E73", "#0072B2", "#E69F00", "#CC79A7"
BLACK, GREY, FRAME = "#222222", "#777777", "#999999"
TRUTH, RULE, SHADE = "#bbbbbb", "#dddddd", "#eeeeee"


def chart(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def note(axes: Axes, x: float, y: float, text: str, align: str) -> None:
    """Write a remark at a place of the data."""
    axes.text(x, y, text, color=GREY, fontsize=7.5, ha=align, va="bottom")


def open_frame(axes: Axes) -> None:
    """Draw two of the four lines around a chart, and faint lines across it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def legend_above(figure: Figure, axes: Axes, ncols: int = 2) -> None:
    """Explain the lines of a chart above the figure that it is in."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, ncols=ncols, fontsize=9, loc="outside upper center"
    )
