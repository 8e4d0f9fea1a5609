"""Rare curves beside ordinary ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, chart, open_frame
from compvae_pyg.simulation import RareEvent

__all__ = ["plot_rare_curves"]

_TAILS = (BLUE, BLACK, GREEN, PURPLE)


def plot_rare_curves(
    ordinary: ArrayLike,
    rare: ArrayLike,
    level: float,
    tails: Mapping[str, RareEvent] | None = None,
) -> Figure:
    r"""Draw curves beyond a level beside ordinary ones of the same parts.

    Args:
        ordinary: Curves drawn as they come, ``[n, T]``.
        rare: Curves whose score exceeds the level, ``[m, T]``.
        level: The level, in the unit of the curves.
        tails: Simulations by name, for a third panel with the probability of exceeding each of
            their levels; bars are 95 % confidence intervals of the last.

    Raises:
        ValueError: If the curves are not ``[n, T]`` and ``[m, T]``.

    Example:
        >>> plot_rare_curves(np.zeros((3, 50)), np.ones((2, 50)), level=0.9)
        <Figure size 1024x448 with 2 Axes>
    """
    ordinary, rare = np.asarray(ordinary), np.asarray(rare)
    if ordinary.ndim != 2 or rare.ndim != 2 or ordinary.shape[1] != rare.shape[1]:
        raise ValueError(
            "ordinary and rare must be [n, T] and [m, T] "
            f"(got {list(ordinary.shape)} and {list(rare.shape)})"
        )
    columns = 3 if tails else 2
    figure = chart(3.2 * columns, 2.8)
    panels = figure.subplots(1, columns, width_ratios=[1.0, 1.0, 0.9][:columns])
    low, high = (float(f(np.concatenate([ordinary, rare]))) for f in (np.min, np.max))
    margin = 0.05 * (max(high, level) - low)
    for axes, curves, color, title in (
        (panels[0], ordinary, BLUE, "ordinary"),
        (panels[1], rare, ORANGE, "beyond the level"),
    ):
        _draw_curves(axes, curves, color, level)
        axes.set(title=title, xlabel="sample", ylim=(low - margin, max(high, level) + margin))
    panels[0].set_ylabel("whole")
    panels[1].tick_params(labelleft=False)
    panels[0].annotate(
        "level",
        (1.0, level),
        (-2, 2),
        xycoords=panels[0].get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=GREY,
    )
    if tails:
        _draw_tails(panels[2], tails)
    return figure


def _draw_curves(axes: Axes, curves: NDArray[Any], color: str, level: float) -> None:
    axes.plot(curves.T, color=color, linewidth=1.0, alpha=0.75)
    axes.axhline(level, color=GREY, linewidth=0.9, linestyle="--")
    axes.set_xlim(0, curves.shape[1] - 1)
    open_frame(axes)


def _draw_tails(axes: Axes, tails: Mapping[str, RareEvent]) -> None:
    for number, (name, event) in enumerate(tails.items()):
        color = _TAILS[number % len(_TAILS)]
        threshold = [level.threshold for level in event.levels]
        probability = np.cumprod([level.probability for level in event.levels])
        axes.plot(threshold, probability, "o-", color=color, markersize=3.5, linewidth=1.2)
        bounds = np.abs(np.array(event.interval()) - event.probability)
        axes.errorbar(
            event.level,
            event.probability,
            yerr=bounds[:, None],
            fmt="o",
            color=color,
            markersize=3.5,
            capsize=2.5,
            label=name,
        )
    axes.set(yscale="log", xlabel="level", title="probability of exceeding it")
    axes.legend(frameon=False, fontsize=8)
    open_frame(axes)
