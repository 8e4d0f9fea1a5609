"""Rare curves, of any problem, beside ordinary ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from compvae_pyg.plots import style
from compvae_pyg.simulation import RareEvent

__all__ = ["plot_rare_curves"]

_TAILS = (style.BLUE, style.BLACK, style.GREEN, style.PURPLE)


def plot_rare_curves(
    ordinary: ArrayLike, rare: ArrayLike, level: float, tails: Mapping[str, RareEvent] | None = None
) -> Figure:
    """Draw curves beyond a level, ``[m, T]``, beside ordinary ones of the same parts, ``[n, T]``.

    For simulations by name, ``tails``, a third panel has the probability of exceeding each of their
    levels; bars are 95 % confidence intervals of the last.

    Raises:
        ValueError: If curves are not of these shapes.

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
