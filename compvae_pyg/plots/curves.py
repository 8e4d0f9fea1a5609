"""Curves of sine waves (paper, Fig. 2, 5, 6 and 10)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compvae_pyg.evaluation import SinesNonlinearity, SinesRecomposition, SinesVariety
from compvae_pyg.plots.style import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    TRUTH,
    chart,
    legend_above,
    open_frame,
)

__all__ = ["plot_nonlinearity", "plot_sines_recomposition", "plot_sum", "plot_variety"]

# Model over truth: a thin line on a broad one.
_TRUTH = {"color": TRUTH, "linewidth": 2.6}
_MODEL = {"color": BLUE, "linewidth": 1.0}


def plot_sum(recomposition: SinesRecomposition) -> Figure:
    """Draw a whole against the sum of its parts (paper, Fig. 2).

    Beside the truth the same by the model, from the latents that it inferred of the whole: decoded
    together, and decoded alone and then added.

    Raises:
        ValueError: If curves are not of one shape.
    """
    _check_recomposition(recomposition)
    figure = chart(7.2, 2.8)
    truth, model = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, title, wholes, parts in (
        (truth, "truth", recomposition.true_wholes, recomposition.true_parts),
        (model, "model, from inferred latents", recomposition.wholes, recomposition.parts),
    ):
        axes.plot(np.asarray(parts).sum(axis=0), color=GREEN, linewidth=1.3, label="sum of parts")
        axes.plot(np.asarray(wholes)[-1], color=PURPLE, linewidth=1.8, label="whole")
        axes.set_title(title, fontsize=9.5)
        _time_axis(axes, np.asarray(wholes).shape[1])
    truth.set_ylabel("$x(t)$")
    legend_above(figure, truth)
    return figure


def plot_variety(variety: SinesVariety) -> Figure:
    """Draw many curves of one wave of the same category, true and generated (paper, Fig. 5).

    Raises:
        ValueError: If curves are not of one shape.
    """
    category = np.asarray(variety.category)
    truth, generated = np.asarray(variety.truth), np.asarray(variety.generated)
    if truth.ndim != 3 or len(truth) != len(category) or truth.shape != generated.shape:
        raise ValueError(
            f"truth and generated must be [{len(category)}, num_draws, T] "
            f"(got {list(truth.shape)} and {list(generated.shape)})"
        )
    figure = chart(2.5 * len(category), 3.4)
    grid = figure.subplots(2, len(category), sharex=True, sharey=True, squeeze=False)
    for row, name, curves, color in ((0, "truth", truth, GREY), (1, "generated", generated, BLUE)):
        grid[row, 0].set_ylabel(name)
        for axes, some in zip(grid[row], curves, strict=True):
            axes.plot(some.T, color=color, linewidth=0.8, alpha=0.45)
            _time_axis(axes, truth.shape[2], label=row == 1)
    for axes, number in zip(grid[0], category, strict=True):
        axes.set_title(rf"one wave, $\ell={number + 1}$", fontsize=9.5)
    return figure


def plot_sines_recomposition(recomposition: SinesRecomposition) -> Figure:
    """Draw a curve's waves alone, added one by one, and left out one by one (paper, Fig. 6).

    Broad grey lines are the truth, thin blue ones what the model decodes from the latents that it
    inferred from the curve of all waves: the lowest of the second column.

    Raises:
        ValueError: If curves are not of one shape.
    """
    num_parts = _check_recomposition(recomposition)
    category = np.asarray(recomposition.category)
    figure = chart(7.2, 0.6 + 0.82 * num_parts)
    grid = figure.subplots(num_parts, 3, sharex=True, squeeze=False)
    columns = (
        ("this part alone", recomposition.true_parts, recomposition.parts),
        ("this part and those above", recomposition.true_wholes, recomposition.wholes),
        ("all parts but this one", recomposition.true_without, recomposition.without),
    )
    for column, (title, *pair) in enumerate(columns):
        truth, model = map(np.asarray, pair)
        limit = 1.08 * max(np.abs(truth).max(), np.abs(model).max())
        for axes, true, decoded in zip(grid[:, column], truth, model, strict=True):
            axes.plot(true, label="truth", **_TRUTH)
            axes.plot(decoded, label="model", **_MODEL)
            axes.set_ylim(-limit, limit)
            axes.tick_params(labelsize=7.5)
            _time_axis(axes, truth.shape[1], label=False)
        grid[0, column].set_title(title, fontsize=9.5)
        grid[-1, column].set_xlabel("$t$")
    for axes, number in zip(grid[:, 0], category, strict=True):
        axes.set_ylabel(rf"$\ell={number + 1}$", rotation=0, ha="right", va="center")
    grid[-1, 1].annotate(
        "what the model observes",
        (1.0, 1.0),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=GREY,
    )
    legend_above(figure, grid[0, 0])
    return figure


def plot_nonlinearity(result: SinesNonlinearity) -> Figure:
    """Draw true curves of the same waves that saturate more and more (paper, Fig. 10).

    Raises:
        ValueError: If curves are not of one shape.
    """
    whole, linear = np.asarray(result.whole), np.asarray(result.linear)
    count = len(result.nonlinearity)
    if whole.ndim != 2 or len(whole) != count or whole.shape != linear.shape:
        raise ValueError(
            f"whole and linear must be [{count}, T] "
            f"(got {list(whole.shape)} and {list(linear.shape)})"
        )
    figure = chart(2.4 * count, 2.6)
    row = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    for axes, value, curve, sum_ in zip(row, result.nonlinearity, whole, linear, strict=True):
        axes.plot(sum_, color=GREEN, linewidth=1.2, label="linear aggregation")
        axes.plot(curve, color=PURPLE, linewidth=1.6, label="whole")
        axes.set_title(f"$C={value:g}$", fontsize=9.5)
        axes.set_ylim(-1.15 * result.num_parts, 1.15 * result.num_parts)
        _time_axis(axes, whole.shape[1])
    row[0].set_ylabel("$x(t)$")
    legend_above(figure, row[0])
    return figure


def _check_recomposition(recomposition: SinesRecomposition) -> int:
    """Return the number of parts."""
    num_parts = len(recomposition.category)
    curves = {name: value for name, value in vars(recomposition).items() if name != "category"}
    shapes = {name: list(np.shape(value)) for name, value in curves.items()}
    length = shapes["true_wholes"][-1]
    for name, shape in shapes.items():
        if shape != [num_parts, length]:
            raise ValueError(f"{name} must be [{num_parts}, {length}] (got {shape})")
    return num_parts


def _time_axis(axes: Axes, num_samples: int, *, label: bool = True) -> None:
    axes.set_xlim(0, num_samples - 1)
    open_frame(axes)
    if label:
        axes.set_xlabel("$t$")
