"""Curves of sine waves (paper, Fig. 2, 5, 6 and 10), from results (extra ``plots``)."""

import numpy as np
from matplotlib.figure import Figure

from compvae_pyg.models import CompVAE
from compvae_pyg.plots import style
from compvae_pyg.problems.sines.problem import Sines
from compvae_pyg.problems.sines.samples import (
    SinesNonlinearity,
    SinesRecomposition,
    SinesVariety,
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
)

__all__ = [
    "draw_figures",
    "plot_nonlinearity",
    "plot_sines_recomposition",
    "plot_sum",
    "plot_variety",
]


def draw_figures(model: CompVAE, problem: Sines, seed: int) -> dict[str, Figure]:
    """Draw all of them, from samples of a model.

    Example:
        >>> sorted(draw_figures(Sines().build("small"), Sines(), seed=0))
        ['nonlinearity', 'recomposition', 'sum', 'variety']
    """
    # Low frequencies, whose curves can be distinguished by eye.
    four = recompose_sines(model, problem, category=(0, 1, 2, 4), seed=seed)
    return {
        "sum": plot_sum(four),
        "variety": plot_variety(sines_variety(model, problem, seed=seed)),
        "recomposition": plot_sines_recomposition(recompose_sines(model, problem, seed=seed)),
        "nonlinearity": plot_nonlinearity(sines_nonlinearity(problem, seed=seed)),
    }


def plot_sum(recomposition: SinesRecomposition) -> Figure:
    """Draw a whole against the sum of its parts, true and inferred (paper, Fig. 2).

    Raises:
        ValueError: If curves are not of shapes that fit.

    Example:
        >>> model = Sines().build("small")
        >>> len(plot_sum(recompose_sines(model, Sines(), category=[0, 2])).axes)
        2
    """
    _check_recomposition(recomposition)
    figure = style.chart(7.2, 2.8)
    grid = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, title, wholes, parts in (
        (grid[0], "ground truth", recomposition.true_wholes, recomposition.true_parts),
        (grid[1], "model, from inferred latents", recomposition.wholes, recomposition.parts),
    ):
        total = np.asarray(parts).sum(axis=0)
        axes.plot(total, color=style.GREEN, linewidth=1.3, label="sum of parts")
        axes.plot(np.asarray(wholes)[-1], color=style.PURPLE, linewidth=1.8, label="whole")
        style.time_axis(axes, wholes.shape[1], "$t$", title)
    grid[0].set_ylabel("$x(t)$")
    style.legend_above(figure, grid[0])
    return figure


def plot_variety(variety: SinesVariety) -> Figure:
    """Draw many curves of one wave of each category, true and generated (paper, Fig. 5).

    Raises:
        ValueError: If curves are not of shapes that fit.

    Example:
        >>> type(plot_variety(sines_variety(Sines().build("small"), Sines()))).__name__
        'Figure'
    """
    category = np.asarray(variety.category)
    truth = style.array(variety.truth, "truth", len(category), "num_draws", "T")
    generated = style.array(variety.generated, "generated", *truth.shape)
    figure = style.chart(2.5 * len(category), 3.4)
    grid = figure.subplots(2, len(category), sharex=True, sharey=True, squeeze=False)
    for row, name, wholes, color, label in (
        (grid[0], "ground truth", truth, style.GREY, ""),
        (grid[1], "generated", generated, style.BLUE, "$t$"),
    ):
        row[0].set_ylabel(name)
        for axes, curves in zip(row, wholes, strict=True):
            axes.plot(curves.T, color=color, linewidth=0.8, alpha=0.45)
            style.time_axis(axes, truth.shape[2], label)
    for axes, number in zip(grid[0], category, strict=True):
        axes.set_title(rf"one wave, $\ell={number + 1}$", fontsize=9.5)
    return figure


def plot_sines_recomposition(recomposition: SinesRecomposition) -> Figure:
    """Draw a curve's waves alone, added one by one, and left out one by one (paper, Fig. 6).

    The model's curves come from what it inferred from all waves, the lowest of the second column.

    Raises:
        ValueError: If curves are not of shapes that fit.

    Example:
        >>> model = Sines().build("small")
        >>> len(plot_sines_recomposition(recompose_sines(model, Sines(), category=[0, 2])).axes)
        6
    """
    num_parts = _check_recomposition(recomposition)
    figure = style.chart(7.2, 0.6 + 0.82 * num_parts)
    grid = figure.subplots(num_parts, 3, sharex=True, squeeze=False)
    for column, title, *pair in (
        (grid[:, 0], "this part alone", recomposition.true_parts, recomposition.parts),
        (grid[:, 1], "this part and those above", recomposition.true_wholes, recomposition.wholes),
        (grid[:, 2], "all parts but this one", recomposition.true_without, recomposition.without),
    ):
        truth, model = map(np.asarray, pair)
        limit = 1.08 * max(np.abs(truth).max(), np.abs(model).max())
        for axes, true, decoded in zip(column, truth, model, strict=True):
            axes.plot(true, label="ground truth", color=style.TRUTH, linewidth=2.6)
            axes.plot(decoded, label="model", color=style.BLUE, linewidth=1.0)
            axes.set_ylim(-limit, limit)
            axes.tick_params(labelsize=7.5)
            style.time_axis(axes, truth.shape[1])
        column[0].set_title(title, fontsize=9.5)
        column[-1].set_xlabel("$t$")
    for axes, number in zip(grid[:, 0], np.asarray(recomposition.category), strict=True):
        axes.set_ylabel(rf"$\ell={number + 1}$", rotation=0, ha="right", va="center")
    style.note(grid[-1, 1], (1.0, 1.0), "what the model observes", "axes fraction", ha="right")
    style.legend_above(figure, grid[0, 0])
    return figure


def plot_nonlinearity(result: SinesNonlinearity) -> Figure:
    """Draw ground-truth curves of the same waves that saturate more and more (paper, Fig. 10).

    Raises:
        ValueError: If curves are not of shapes that fit.

    Example:
        >>> type(plot_nonlinearity(sines_nonlinearity(Sines()))).__name__
        'Figure'
    """
    count = len(result.nonlinearity)
    whole = style.array(result.whole, "whole", count, "T")
    linear = style.array(result.linear, "linear", *whole.shape)
    figure = style.chart(2.4 * count, 2.6)
    row = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    for axes, value, curve, sum_ in zip(row, result.nonlinearity, whole, linear, strict=True):
        axes.plot(sum_, color=style.GREEN, linewidth=1.2, label="linear aggregation")
        axes.plot(curve, color=style.PURPLE, linewidth=1.6, label="whole")
        axes.set_ylim(-1.15 * result.num_parts, 1.15 * result.num_parts)
        style.time_axis(axes, whole.shape[1], "$t$", f"$C={value:g}$")
    row[0].set_ylabel("$x(t)$")
    style.legend_above(figure, row[0])
    return figure


def _check_recomposition(recomposition: SinesRecomposition) -> int:
    num_parts, length = len(recomposition.category), np.shape(recomposition.true_wholes)[-1]
    for name, curves in vars(recomposition).items():
        style.array(curves, name, num_parts, *(() if name == "category" else (length,)))
    return num_parts
