"""What operations on compositions make of a whole, and what its parts carry."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from compvae_pyg.models import Attribution
from compvae_pyg.plots.style import BLUE, FRAME, GREY, TRUTH, array, draw_image, draw_sites

__all__ = ["Operation", "draw_whole", "plot_attribution", "plot_operations"]


@dataclass(frozen=True)
class Operation:
    """A whole after an operation: the ground truth and the model's.

    Either is an image ``[3, H, W]`` (ink: ``[1, H, W]``) or a curve ``[T]``. Positions of parts in
    an image, ``[K, 2]``, are marked, in their colours in RGB, ``[K, 3]``.

    Example:
        >>> Operation("observed", truth=np.zeros(50), whole=np.ones(50)).title
        'observed'
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
    """Draw an :class:`Operation`'s image, ink in black on white, or curve over the ground truth."""
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
    # The centres of the first and the last pixels lie at -1 and 1; a single one fills its axis.
    y, x = (1.0 + 1.0 / (n - 1) if n > 1 else 1.0 for n in whole.shape[1:])
    draw_image(axes, whole, (-x, x, y, -y))
    if pos is not None:
        fill = "white" if colors is None else np.asarray(colors)
        draw_sites(axes, np.asarray(pos), fill, 26.0, 1.6)


def plot_operations(
    operations: Sequence[Operation], series: Mapping[str, ArrayLike] | None = None
) -> Figure:
    """Draw a whole after each of several operations, and series of wholes.

    Images of the ground truth stand above those of the model; curves of the model, thin, lie over
    those of the ground truth, broad. The first of the operations, at least one, is to do nothing.
    Below, under headings of their own, are series by name, wholes ``[n, C, H, W]`` or ``[n, T]``,
    numbered from 1.

    Raises:
        ValueError: If there is no operation.

    Example:
        >>> nothing = Operation("observed", np.zeros(50), np.ones(50))
        >>> len(plot_operations([nothing, nothing], {"louder": np.ones((3, 50))}).axes)
        5
    """
    if not operations:
        raise ValueError("operations must not be empty (got none)")
    wholes = {name: np.asarray(values) for name, values in (series or {}).items()}
    curves = np.ndim(operations[0].whole) == 1
    rows = 1 if curves else 2
    columns = max([len(operations), *map(len, wholes.values())])
    width, height = (1.7, 1.2) if curves else (1.05, 1.05)
    size = (columns * width + 0.4, (rows + len(wholes)) * height + 0.5)
    # Lines need fewer points than pixels of images, and take more inches.
    size = (size[0], size[1] + 0.45 * len(wholes))
    figure = Figure(figsize=size, dpi=130 if curves else 200, layout="constrained")
    heights = [rows * height + 0.3, *[height + 0.45] * len(wholes)]
    above, *below = figure.subfigures(1 + len(wholes), 1, squeeze=False, height_ratios=heights).flat
    grid = above.subplots(rows, columns, squeeze=False, sharey=curves)
    for shown, axes in zip(operations, grid.T, strict=False):
        axes[0].set_title(shown.title, fontsize=8)
        if curves:
            draw_whole(axes[0], shown.whole, truth=shown.truth)
        else:
            draw_whole(axes[0], shown.truth, shown.pos, colors=shown.colors)
            draw_whole(axes[1], shown.whole)
    labels = ["model over ground truth"] if curves else ["ground truth", "model"]
    for axes, label in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(label, fontsize=8)
    unused = [*grid[:, len(operations) :].flat]
    for part, (name, values) in zip(below, wholes.items(), strict=True):
        line = part.subplots(1, columns, squeeze=False, sharey=curves)[0]
        # A heading of its own: the titles above are those of the operations alone.
        part.suptitle(name, fontsize=8.5, fontweight="bold")
        line[0].set_ylabel("model", fontsize=8)
        for number, (axes, whole) in enumerate(zip(line, values, strict=False), start=1):
            draw_whole(axes, whole)
            axes.set_title(str(number), fontsize=7, color=GREY)
        unused.extend(line[len(values) :])
    for axes in unused:
        axes.remove()
    return figure


def plot_attribution(
    wholes: ArrayLike,
    attribution: Attribution,
    labels: Sequence[str],
    *,
    colors: ArrayLike | None = None,
    pos: ArrayLike | None = None,
) -> Figure:
    """Draw wholes, and below each the information in the latents of its parts, in bits.

    The last bar is what the parts carry only together. All bars of a whole add up to its ``kl_w``,
    which stands above them. Wholes are images, ``[S, 3, H, W]`` in [0, 1], or curves, ``[S, T]``,
    and ``attribution`` is the result of :func:`~compvae_pyg.models.attribute`. Each part, ``[N]``,
    has its name, the colour of its bar in RGB, and its position, ``[N, 2]``, to be marked.

    Raises:
        ValueError: If there is no whole, or a shape does not fit the others.

    Example:
        >>> import torch
        >>> shares = Attribution(torch.ones(3), torch.ones(2), torch.tensor([0, 0, 1]))
        >>> len(plot_attribution(np.zeros((2, 50)), shares, ["a", "b", "c"]).axes)
        4
    """
    bits, common = (np.asarray(x) / math.log(2.0) for x in (attribution.parts, attribution.common))
    batch, num_parts, num_wholes = np.asarray(attribution.batch), len(bits), len(common)
    if num_wholes == 0:
        raise ValueError("attribution must be of at least one whole (got none)")
    event = ("T",) if np.ndim(wholes) == 2 else ("C", "H", "W")
    wholes = array(wholes, "wholes", num_wholes, *event)
    names = array(labels, "labels", num_parts)
    shades = np.full((num_parts, 3), 0.35) if colors is None else colors
    shades = array(shades, "colors", num_parts, 3)
    sites = None if pos is None else array(pos, "pos", num_parts, 2)
    most = max(bits.max(initial=0.0), common.max())
    largest = int(np.bincount(batch, minlength=num_wholes).max())
    bars_height = 0.2 * (largest + 1)
    size = (1.9 * num_wholes + 0.3, 2.1 + bars_height)
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    grid = figure.subplots(2, num_wholes, squeeze=False, height_ratios=[1.6, bars_height])
    for s, (above, below) in enumerate(grid.T):
        mine = batch == s
        draw_whole(above, wholes[s], None if sites is None else sites[mine], colors=shades[mine])
        above.set_title(f"{bits[mine].sum() + common[s]:.0f} bits", fontsize=9)
        places = np.arange(mine.sum() + 1)
        # Rounding may leave a divergence just below zero.
        widths = np.append(bits[mine], common[s]).clip(min=0.0)
        look = {"color": [*shades[mine], "#cccccc"], "edgecolor": GREY, "linewidth": 0.6}
        bars = below.barh(places, widths, height=0.7, **look)
        below.bar_label(bars, fmt=" %.0f", fontsize=7, color=GREY)
        below.set_yticks(places, [*names[mine], "in common"], fontsize=7.5)
        below.set(xlim=(0.0, 1.2 * most), ylim=(largest + 0.6, -0.6), xticks=[])
        below.spines[["top", "right", "bottom"]].set_visible(False)
        below.tick_params(length=0)
    return figure
