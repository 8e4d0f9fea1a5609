"""The losses of a training, read from its file and drawn (paper, Fig. 4 and 7)."""

import csv
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compvae_pyg.plots import style

__all__ = ["plot_losses", "read_metrics"]

Metrics: TypeAlias = Mapping[str, NDArray[Any]]

_COLUMNS = ("step", "stage", "kl_w_nats", "kl_z_nats", "reconstruction_nats", "elbo_nats")
_LEAST_NATS = 0.01  # below which a divergence is as good as nothing


def read_metrics(path: str | PathLike[str]) -> dict[str, NDArray[Any]]:
    r"""Read ``metrics.csv`` by the columns that its first line names and all rows must have.

    Columns of numbers are 64-bit floats, with ``nan`` where a field is empty; others hold strings.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a row has more or fewer columns than the first line.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w") as file:
        ...     print("step,rmse\n1,0.5\n2,", file=file, flush=True)
        ...     read_metrics(file.name)["rmse"]
        array([0.5, nan])
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"{path} must have {len(header)} columns (got {len(row)} in line {number})"
            )
    return {name: _column([row[at] for row in rows]) for at, name in enumerate(header)}


def _column(values: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return np.array(values)


def plot_losses(metrics: Metrics) -> Figure:
    r"""Draw the terms of the ELBO during training (paper, Fig. 4 and 7).

    Above, the losses :math:`-\log p(x \mid z, \tilde w)` and :math:`-\mathrm{ELBO}`, in nats;
    below, the information in the latents, in bits, on a log scale. A latent that a stage holds at
    its prior's mean costs nothing and is not drawn; one that never costs 0.01 nats is only in the
    legend. Stages are shaded and named. Columns are ``step``, ``stage``, and ``kl_w``, ``kl_z``,
    ``reconstruction`` and ``elbo`` with the ending ``_nats``.

    Raises:
        ValueError: If a column is missing, or there is no row.

    Example:
        >>> metrics = dict.fromkeys(_COLUMNS, np.array([2.0, 3.0]))
        >>> plot_losses({**metrics, "stage": np.array(["whole", "whole"])})
        <Figure size 1024x832 with 2 Axes>
    """
    missing = [name for name in _COLUMNS if name not in metrics]
    if missing:
        raise ValueError(f"metrics must have the columns {_COLUMNS} (got none of {missing})")
    step, stage, kl_w, kl_z, reconstruction, elbo = (metrics[name] for name in _COLUMNS)
    if len(step) == 0:
        raise ValueError("metrics must have at least one row (got 0)")
    figure, marker = style.chart(6.4, 5.2), "." if len(step) == 1 else ""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1.0])
    for values, color, dashes, label in (
        (-elbo, style.BLACK, "--", r"loss, $-$ELBO"),
        (reconstruction, style.ORANGE, "-", r"reconstruction, $-\log p(x|z,\tilde{w})$"),
    ):
        above.plot(step, values, dashes, marker=marker, color=color, linewidth=1.3, label=label)
    above.set(ylabel="nats per whole")
    lowest = math.inf
    for values, color, label in (
        (kl_w, style.GREEN, r"latents of the parts, $\mathrm{KL}_w$"),
        (kl_z, style.BLUE, r"latent of the whole, $\mathrm{KL}_z$"),
    ):
        # A sampled divergence may fall below zero.
        shown = np.where(values > 0.0, values, np.nan) / math.log(2.0)
        least = values[values >= _LEAST_NATS].min(initial=math.inf)
        lowest = min(lowest, least)
        if least == math.inf:
            label += f", below {_LEAST_NATS:g} nats"
        below.plot(step, shown, marker=marker, color=color, linewidth=1.3, label=label)
    below.set(yscale="log", xlabel="training step", ylabel="bits per whole")
    if lowest < math.inf:
        below.set_ylim(bottom=max(below.get_ylim()[0], 0.6 * lowest / math.log(2.0)))
    for axes in (above, below):
        _show_stages(axes, step, stage, named=axes is above)
        style.open_frame(axes)
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def _show_stages(axes: Axes, step: NDArray[Any], stage: NDArray[Any], named: bool) -> None:
    starts = [0, *(np.flatnonzero(stage[1:] != stage[:-1]) + 1)]
    bounds = [0.0, *(float(step[at - 1]) for at in starts[1:]), float(step[-1])]
    for number, at in enumerate(starts):
        first, last = bounds[number : number + 2]
        if number % 2 == 0:
            axes.axvspan(first, last, color=style.SHADE, linewidth=0.0, zorder=0)
        middle, coords = (first + last) / 2.0, axes.get_xaxis_transform()
        text = str(stage[at]) if named else ""
        style.note(axes, (middle, 1.0), text, coords, (0, 3), ha="center", fontsize=8.5)
    axes.set_xlim(0.0, bounds[-1])
