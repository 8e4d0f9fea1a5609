"""What operations on compositions make of a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from compvae_pyg.plots.style import BLUE, FRAME, TRUTH

__all__ = ["Operation", "draw_whole", "plot_operations"]


@dataclass(frozen=True)
class Operation:
    """A whole after an operation, by the ground truth and by the model.

    Attributes:
        title: What was done.
        truth: The true whole, an image ``[3, H, W]`` (ink: ``[1, H, W]``) or a curve ``[T]``.
        whole: The model's.
        pos: Positions of the parts in an image, ``[K, 2]``, if they are to be marked.
        colors: Their colours in RGB, ``[K, 3]``.
    """

    title: str
    truth: ArrayLike
    whole: ArrayLike
    pos: ArrayLike | None = None
    colors: ArrayLike | None = None


def draw_whole(
    axes: Axes,
    whole: ArrayLike,
    pos: ArrayLike | None = None,
    *,
    colors: ArrayLike | None = None,
    truth: ArrayLike | None = None,
) -> None:
    """Draw an image, ``[3, H, W]``, with its sites, or a curve, ``[T]``, over the true one.

    An image of one channel is drawn as black ink on white paper.
    """
    whole = np.asarray(whole)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.5)
    if whole.ndim == 1:
        if truth is not None:
            axes.plot(np.asarray(truth), color=TRUTH, linewidth=2.4)
        axes.plot(whole, color=BLUE, linewidth=0.9)
        axes.margins(x=0.0)
        return
    if whole.shape[0] == 1:
        whole = 1.0 - whole.repeat(3, axis=0)
    axes.imshow(
        np.clip(whole.transpose(1, 2, 0), 0.0, 1.0),
        # The first and the last pixels lie at -1 and 1.
        extent=_extent(whole.shape[2], whole.shape[1]),
        interpolation="nearest",
    )
    if pos is not None:
        x, y = np.asarray(pos).T
        fill = "white" if colors is None else np.asarray(colors)
        axes.scatter(x, y, s=26, color="white", linewidths=1.6, edgecolors="white")
        axes.scatter(x, y, s=26, c=fill, linewidths=0.8, edgecolors="black")


def plot_operations(
    operations: Sequence[Operation], series: Mapping[str, ArrayLike] | None = None
) -> Figure:
    """Draw a whole after each of several operations, and series of wholes that change step by step.

    Images of the ground truth stand above those of the model; curves of the model, thin, lie over
    those of the ground truth, broad.

    Args:
        operations: Operations, the first of which is to do nothing.
        series: Names of series and their wholes, ``[n, C, H, W]`` or ``[n, T]``, drawn below.

    Raises:
        ValueError: If there is no operation.

    Example:
        >>> nothing = Operation("observed", np.zeros(50), np.ones(50))
        >>> len(plot_operations([nothing, nothing], {"louder": np.ones((3, 50))}).axes)
        5
    """
    if not operations:
        raise ValueError("operations must not be empty (got none)")
    series = series or {}
    curves = np.ndim(operations[0].whole) == 1
    rows = 1 if curves else 2
    widths = [len(operations), *(len(np.asarray(wholes)) for wholes in series.values())]
    columns = max(widths)
    width, height = (1.7, 1.2) if curves else (1.05, 1.05)
    figure = Figure(
        figsize=(columns * width + 0.4, (rows + len(series)) * height + 0.5),
        # Lines need fewer points than pixels of images, and take more inches.
        dpi=130 if curves else 200,
        layout="constrained",
    )
    heights = [rows * height + 0.3, *[height] * len(series)]
    strips = figure.subfigures(1 + len(series), 1, squeeze=False, height_ratios=heights)
    above, *below = strips[:, 0]
    grid = above.subplots(rows, columns, squeeze=False, sharey=curves)
    for x, axes in enumerate(grid.T):
        if x >= len(operations):
            for one in axes:
                one.remove()
            continue
        shown = operations[x]
        axes[0].set_title(shown.title, fontsize=8)
        if curves:
            draw_whole(axes[0], shown.whole, truth=shown.truth)
        else:
            draw_whole(axes[0], shown.truth, shown.pos, colors=shown.colors)
            draw_whole(axes[1], shown.whole)
    grid[0, 0].set_ylabel("model over truth" if curves else "truth", fontsize=8)
    if not curves:
        grid[1, 0].set_ylabel("model", fontsize=8)
    for part, (name, wholes) in zip(below, series.items(), strict=True):
        line = part.subplots(1, columns, squeeze=False, sharey=curves)[0]
        line[0].set_ylabel(name, fontsize=8)
        for axes, whole in zip(line, np.asarray(wholes), strict=False):
            draw_whole(axes, whole)
        for axes in line[len(np.asarray(wholes)) :]:
            axes.remove()
    return figure


def _extent(width: int, height: int) -> tuple[float, float, float, float]:
    # A single pixel fills its axis.
    x, y = (1.0 + 1.0 / (n - 1) if n > 1 else 1.0 for n in (width, height))
    return -x, x, y, -y
