"""Curves: of sine waves (paper, Fig. 2, 5, 6 and 10), and rare ones; of one shape each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from compvae_pyg.evaluation import SinesNonlinearity, SinesRecomposition, SinesVariety
from compvae_pyg.plots import style
from compvae_pyg.simulation import RareEvent

__all__ = [
    "plot_nonlinearity",
    "plot_rare_curves",
    "plot_sines_recomposition",
    "plot_sum",
    "plot_variety",
]

_TAILS = (style.BLUE, style.BLACK, style.GREEN, style.PURPLE)


def plot_sum(recomposition: SinesRecomposition) -> Figure:
    """Draw a whole against the sum of its parts, true and inferred (paper, Fig. 2)."""
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
    """Draw many curves of one wave of each category, true and generated (paper, Fig. 5)."""
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
    """Draw ground-truth curves of the same waves that saturate more and more (paper, Fig. 10)."""
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


def plot_rare_curves(
    ordinary: ArrayLike, rare: ArrayLike, level: float, tails: Mapping[str, RareEvent] | None = None
) -> Figure:
    """Draw curves beyond a level, ``[m, T]``, beside ordinary ones of the same parts, ``[n, T]``.

    For simulations by name, ``tails``, a third panel has the probability of exceeding each of their
    levels; bars are 95 % confidence intervals of the last.

    Example:
        >>> plot_rare_curves(np.zeros((3, 50)), np.ones((2, 50)), level=0.9)
        <Figure size 1024x448 with 2 Axes>
    """
    ordinary = style.array(ordinary, "ordinary", "n", "T")
    rare = style.array(rare, "rare", "m", ordinary.shape[1])
    columns = 3 if tails else 2
    figure = style.chart(3.2 * columns, 2.8)
    panels = figure.subplots(1, columns, width_ratios=[1.0, 1.0, 0.9][:columns])
    everything = np.concatenate([ordinary, rare])
    low, high = everything.min(), max(everything.max(), level)
    margin = 0.05 * (high - low)
    for axes, curves, color, title in (
        (panels[0], ordinary, style.BLUE, "ordinary"),
        (panels[1], rare, style.ORANGE, "beyond the level"),
    ):
        axes.plot(curves.T, color=color, linewidth=1.0, alpha=0.75)
        axes.axhline(level, color=style.GREY, linewidth=0.9, linestyle="--")
        style.time_axis(axes, curves.shape[1], "sample")
        axes.set(title=title, ylim=(low - margin, high + margin))
    panels[0].set_ylabel("whole")
    panels[1].tick_params(labelleft=False)
    at_right = panels[0].get_yaxis_transform()
    style.note(panels[0], (1.0, level), "level", at_right, (-2, 2), ha="right", fontsize=8)
    if tails:
        _draw_tails(panels[2], tails)
    return figure


def _draw_tails(axes: Axes, tails: Mapping[str, RareEvent]) -> None:
    for number, (name, event) in enumerate(tails.items()):
        look: dict[str, Any] = {"color": _TAILS[number % len(_TAILS)], "markersize": 3.5}
        threshold = [level.threshold for level in event.levels]
        probability = np.cumprod([level.probability for level in event.levels])
        axes.plot(threshold, probability, "o-", linewidth=1.2, **look)
        bounds = np.abs(np.array(event.interval()) - event.probability)[:, None]
        at = event.level, event.probability
        axes.errorbar(*at, yerr=bounds, fmt="o", capsize=2.5, label=name, **look)
    axes.set(yscale="log", xlabel="level", title="probability of exceeding it")
    axes.legend(frameon=False, fontsize=8)
    style.open_frame(axes)
