"""The paper's figures, from results (extra ``plots``).

Each function takes what a training or an evaluation left, never a model, and returns a
:class:`matplotlib.figure.Figure` to be saved with its ``savefig``. No global state is touched, so
that neither a display nor a backend is needed.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.evaluation import DotsRow, Recomposition, Reconstructions
from compvae_pyg.problems import COLORS

__all__ = [
    "plot_accuracy",
    "plot_data",
    "plot_losses",
    "plot_recomposition",
    "plot_reconstructions",
    "read_metrics",
]

Metrics: TypeAlias = Mapping[str, NDArray[Any]]

# The colours of the paper's figure 7 in the palette of Okabe and Ito, which colour-blind readers
# can tell apart.
_GREEN, _BLUE, _ORANGE, _BLACK = "#009E73", "#0072B2", "#E69F00", "#222222"
_GREY = "#777777"
_FRAME = "#999999"
_DPI = 200
_LEAST_NATS = 0.01  # below which a divergence is as good as nothing
# At this resolution, a pixel of an image of 32 is four pixels wide.
_TILE_INCHES = 0.64


def read_metrics(path: str | PathLike[str]) -> dict[str, NDArray[Any]]:
    r"""Read ``metrics.csv`` by column.

    Columns of numbers are 64-bit floats, with ``nan`` where a field is empty; others hold text.

    Raises:
        ValueError: If a row does not have the columns that the first line names.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "metrics.csv"
        ...     _ = path.write_text("step,stage,rmse\n1,labels,0.5\n2,parts,\n")
        ...     metrics = read_metrics(path)
        >>> metrics["rmse"], metrics["stage"]
        (array([0.5, nan]), array(['labels', 'parts'], dtype='<U6'))
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"{path} must have {len(header)} columns (got {len(row)} in line {number})"
            )
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {name: _column(values) for name, values in zip(header, columns, strict=True)}


def plot_losses(metrics: Metrics) -> Figure:
    r"""Draw the terms of the bound over the course of training, on a log scale (paper, Fig. 7).

    Where densities exceed 1, the losses :math:`-\log p(x \mid z, \tilde w)` and
    :math:`-\mathrm{ELBO}` fall below zero: both are then raised by one constant, which the legend
    tells. A latent that a stage holds at its prior's mean costs nothing and is not drawn. Stages
    are shaded and named.

    Args:
        metrics: Columns ``step``, ``stage``, ``kl_w_nats``, ``kl_z_nats``,
            ``reconstruction_nats`` and ``elbo_nats``, as :func:`read_metrics` returns them.

    Raises:
        ValueError: If a column is missing, or there is no row.

    Example:
        >>> names = ["step", "kl_w_nats", "kl_z_nats", "reconstruction_nats", "elbo_nats"]
        >>> stage, values = np.array(["whole", "whole"]), np.array([2.0, 3.0])
        >>> plot_losses({"stage": stage, **dict.fromkeys(names, values)})
        <Figure size 1280x840 with 2 Axes>
    """
    needed = ["step", "stage", "kl_w_nats", "kl_z_nats", "reconstruction_nats", "elbo_nats"]
    missing = [name for name in needed if name not in metrics]
    if missing:
        raise ValueError(f"metrics must have the columns {needed} (got none of {missing})")
    step, stage = metrics["step"], metrics["stage"]
    if len(step) == 0:
        raise ValueError("metrics must have at least one row (got 0)")
    reconstruction, total = metrics["reconstruction_nats"], -metrics["elbo_nats"]
    shift = _shift_above_zero(np.concatenate([reconstruction, total]))
    shifted = f" + {shift:,.0f} nats" if shift else ""
    marker = "." if len(step) == 1 else ""
    figure = _chart(6.4, 4.2)
    axes = figure.subplots()
    for values, color, style, label in (
        (total + shift, _BLACK, "--", rf"all three, $-$ELBO{shifted}"),
        (
            reconstruction + shift,
            _ORANGE,
            "-",
            rf"reconstruction, $-\log p(x|z,\tilde{{w}})${shifted}",
        ),
        (metrics["kl_w_nats"], _GREEN, "-", "$w_i$: latents of the parts"),
        (metrics["kl_z_nats"], _BLUE, "-", "$z$: latent of the whole"),
    ):
        # A sampled divergence may fall below zero.
        shown = np.where(values > 0.0, values, np.nan)
        axes.plot(step, shown, style, marker=marker, color=color, linewidth=1.3, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], _LEAST_NATS))
    axes.set(xlabel="training step", ylabel="loss, nats per whole")
    _show_stages(axes, step, stage)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, fontsize=8.5, ncols=2, loc="outside upper center")
    bits = axes.twinx()
    bits.set_yscale("log")
    bits.set_ylim(*(nats / math.log(2.0) for nats in axes.get_ylim()))
    bits.set_ylabel("bits per whole")
    return figure


def plot_accuracy(rows: Sequence[DotsRow], *, trained_to: int | None = None) -> Figure:
    """Draw the site accuracy of generated and of true images against the number of sites.

    Bars are 95 % confidence intervals.

    Args:
        rows: Rows of :func:`~compvae_pyg.evaluation.evaluate_dots`.
        trained_to: Largest number of sites in training, if it is to be marked.

    Raises:
        ValueError: If there is no row.
    """
    if not rows:
        raise ValueError("rows must not be empty (got none)")
    figure = _chart(4.8, 3.4)
    axes = figure.subplots()
    num_parts = [row.num_parts for row in rows]
    for estimates, color, style, label in (
        ([row.true_accuracy for row in rows], _GREY, "s--", "ground truth, same sites"),
        ([row.generated_accuracy for row in rows], _BLUE, "o-", "generated by the model"),
    ):
        axes.errorbar(
            num_parts,
            [estimate.mean for estimate in estimates],
            yerr=[1.96 * np.nan_to_num(estimate.standard_error) for estimate in estimates],
            fmt=style,
            color=color,
            label=label,
            linewidth=1.4,
            markersize=4.5,
            capsize=2.5,
        )
    last = max(num_parts) + 0.5
    if trained_to is not None and last > trained_to + 1.0:
        axes.axvspan(trained_to + 0.5, last, color="#eeeeee", linewidth=0.0, zorder=0)
        _note(axes, (trained_to + 0.5 + last) / 2.0, 0.02, "more sites than in training", "center")
    axes.axhline(1.0 / len(COLORS), color=_GREY, linewidth=0.8, linestyle=":")
    _note(axes, last - 0.15, 1.0 / len(COLORS) + 0.01, "chance", "right")
    axes.set(xlim=(0.5, last), ylim=(0.0, 1.03), xticks=num_parts)
    axes.set_xlabel("number of sites $K$")
    axes.set_ylabel("sites that show their colour")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


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
    images, num_parts = np.asarray(images), np.asarray(num_parts)
    if images.ndim != 4 or images.shape[1] != 3 or num_parts.shape != images.shape[:1]:
        raise ValueError(
            "images and num_parts must be [S, 3, H, W] and [S] "
            f"(got {list(images.shape)} and {list(num_parts.shape)})"
        )
    sites: list[NDArray[Any]] | None = None
    if pos is not None:
        pos = np.asarray(pos)
        if pos.shape != (num_parts.sum(), 2):
            raise ValueError(f"pos must be [{num_parts.sum()}, 2] (got {list(pos.shape)})")
        sites = np.split(pos, np.cumsum(num_parts)[:-1])
    rows = _by_size(num_parts)
    mosaic = _Mosaic(len(rows), max(len(row) for row in rows.values()), left=0.45)
    for y, (size, row) in enumerate(rows.items()):
        mosaic.row_label(y, f"$K={size}$")
        for x, at in enumerate(row):
            mosaic.tile(x, y, images[at])
            if sites is not None:
                mosaic.mark(x, y, sites[at])
    return mosaic.figure


def plot_recomposition(recomposition: Recomposition) -> Figure:
    """Draw a whole as its parts are added one by one (paper, Fig. 8).

    Above, the part that each column adds: its colour at its position. Then the true image of all
    parts so far, and what the model generates from them, one draw a row.
    """
    color, pos = np.asarray(recomposition.color), np.asarray(recomposition.pos)
    truth, generated = np.asarray(recomposition.truth), np.asarray(recomposition.generated)
    palette = np.asarray(list(COLORS.values()))
    num_samples, num_parts = generated.shape[:2]
    mosaic = _Mosaic(2 + num_samples, num_parts, left=0.85, row_breaks=(1, 2))
    mosaic.row_label(0, "part added")
    mosaic.row_label(1, "truth")
    for sample in range(num_samples):
        mosaic.row_label(2 + sample, f"sample {sample + 1}")
    blank = np.full((3, 1, 1), 0.85)
    for x in range(num_parts):
        mosaic.tile(x, 0, blank)
        mosaic.mark(x, 0, pos[x : x + 1], fill=palette[color[x]], area=55.0)
        mosaic.tile(x, 1, truth[x])
        for sample in range(num_samples):
            mosaic.tile(x, 2 + sample, generated[sample, x])
    return mosaic.figure


def plot_reconstructions(reconstructions: Reconstructions) -> Figure:
    """Draw images beside their reconstructions, one row for each number of sites."""
    whole = np.asarray(reconstructions.whole)
    reconstruction = np.asarray(reconstructions.reconstruction)
    rows = _by_size(np.asarray(reconstructions.num_parts))
    columns = 2 * max(len(row) for row in rows.values())
    mosaic = _Mosaic(
        len(rows), columns, left=0.5, top=0.2, column_breaks=tuple(range(2, columns, 2))
    )
    for x in range(0, columns, 2):
        mosaic.column_label(x, "whole")
        mosaic.column_label(x + 1, "recon.")
    for y, (size, row) in enumerate(rows.items()):
        mosaic.row_label(y, f"$K={size}$")
        for x, at in enumerate(row):
            mosaic.tile(2 * x, y, whole[at])
            mosaic.tile(2 * x + 1, y, reconstruction[at])
    return mosaic.figure


class _Mosaic:
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
        frame = Rectangle((x, y), 1.0, 1.0, fill=False, edgecolor=_FRAME, linewidth=0.5)
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


def _by_size(num_parts: NDArray[Any]) -> dict[int, NDArray[Any]]:
    return {int(size): np.flatnonzero(num_parts == size) for size in np.unique(num_parts)}


def _column(values: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return np.array(values)


def _chart(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _stages(step: NDArray[Any], stage: NDArray[Any]) -> list[tuple[str, float, float]]:
    """Return the name, the first and the last step of each stage."""
    starts = [0, *(np.flatnonzero(stage[1:] != stage[:-1]) + 1)]
    bounds = [0.0, *(float(step[at - 1]) for at in starts[1:]), float(step[-1])]
    return [
        (str(stage[at]), first, last)
        for at, first, last in zip(starts, bounds[:-1], bounds[1:], strict=True)
    ]


def _show_stages(axes: Axes, step: NDArray[Any], stage: NDArray[Any]) -> None:
    for number, (name, first, last) in enumerate(_stages(step, stage)):
        if number % 2 == 0:
            axes.axvspan(first, last, color="#f0f0f0", linewidth=0.0, zorder=0)
        axes.annotate(
            name,
            ((first + last) / 2.0, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=_GREY,
        )
    axes.set_xlim(0.0, float(step[-1]))


def _shift_above_zero(values: NDArray[Any]) -> float:
    """Return a round constant that makes values positive, 0 if they are."""
    values = values[np.isfinite(values)]
    lowest = values.min(initial=math.inf)
    if lowest > 0.0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(max(-lowest, 10.0))) / 10.0
    return unit * (math.floor(-lowest / unit) + 2.0)


def _note(axes: Axes, x: float, y: float, text: str, align: str) -> None:
    axes.text(x, y, text, color=_GREY, fontsize=7.5, ha=align, va="bottom")
