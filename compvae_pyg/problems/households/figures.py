"""Homes and their shared day, in pictures (extra ``plots``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from compvae_pyg.evaluation import EnsembleRow
from compvae_pyg.models import CompVAE
from compvae_pyg.plots import style
from compvae_pyg.problems.households.problem import Households
from compvae_pyg.problems.repeatable import isolated

__all__ = ["draw_figures", "plot_bands", "plot_diversity", "plot_peaks"]

_LOOKS: dict[str, dict[str, Any]] = {
    "true": {"color": style.BLACK, "linewidth": 1.6},
    "generated": {"color": style.PURPLE, "linewidth": 1.6},
    "independent": {"color": style.BLUE, "linewidth": 1.2, "linestyle": "--"},
    "independent generated": {"color": style.ORANGE, "linewidth": 1.2, "linestyle": ":"},
    "gaussian": {"color": style.GREEN, "linewidth": 1.2, "linestyle": "-."},
}


def draw_figures(model: CompVAE, problem: Households, seed: int) -> dict[str, Figure]:
    """Draw bands of curves and the peaks of 50 homes on days that are held out.

    Example:
        >>> import torch
        >>> from compvae_pyg.networks import Categorical
        >>> from compvae_pyg.problems.households import Pool
        >>> load, home = torch.rand(5, 4, 24), {"home": torch.arange(5)}
        >>> homes = Households(Pool("mine", load, home, {"home": Categorical(5)}), "hidden")
        >>> sorted(draw_figures(homes.build("small"), homes, seed=0))
        ['bands', 'peaks']
    """
    held_out = problem.held_out()
    assert isinstance(held_out, Households)
    kinds = held_out.kinds(6)
    most = min(50, held_out.pool.most_parts)
    samples: dict[str, tuple[Tensor, Tensor]] = {}
    with isolated(model, seed):
        for name, of in kinds.items():
            data = held_out.ensembles(1, 1000, of=of)
            samples[name] = data.whole, model.generate(held_out.pack(data), observation_noise=True)
        data = held_out.ensembles(most, 1000)
        apart = held_out.ensembles(most, 500, own_days=True).whole
        wholes = {
            "true": data.whole,
            "generated": model.generate(held_out.pack(data), observation_noise=True),
            "independent": apart.view(500, most, -1).sum(1),
        }
    samples[f"{most} homes"] = wholes["true"], wholes["generated"]
    return {
        "bands": plot_bands(samples, held_out.pool.step_hours),
        "peaks": plot_peaks(wholes, most),
    }


def plot_bands(samples: Mapping[str, tuple[Tensor, Tensor]], step_hours: float) -> Figure:
    """Draw 5, 50 and 95 % of true and generated curves, ``[S, T]`` both, of each kind.

    Example:
        >>> load = np.random.default_rng(0).random((20, 48))
        >>> len(plot_bands({"a home": (load, load), "50 homes": (load, load)}, 0.5).axes)
        2
    """
    columns = min(3, len(samples))
    rows = -(-len(samples) // columns)
    figure = style.chart(2.9 * columns, 2.1 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, pair) in zip(grid.flat, samples.items(), strict=False):
        for kind, curves in zip(("true", "generated"), pair, strict=True):
            low, middle, high = np.quantile(np.asarray(curves), (0.05, 0.5, 0.95), axis=0)
            hours = step_hours * (np.arange(len(middle)) + 0.5)
            look = _LOOKS[kind]
            axes.fill_between(hours, low, high, color=look["color"], alpha=0.15, linewidth=0)
            axes.plot(hours, middle, label=f"{kind}: median and 5–95 %", **look)
            for edge in (low, high):
                axes.plot(hours, edge, color=look["color"], linewidth=0.6)
        axes.set_title(name, fontsize=9)
        axes.set_xlim(0, 24)
        axes.set_xticks((0, 6, 12, 18, 24))
        axes.set_ylim(bottom=0)
        style.open_frame(axes)
    for axes in grid.flat[len(samples) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("kW")
    for axes in grid.flat[max(0, len(samples) - columns) : len(samples)]:
        axes.set_xlabel("hour of the day")
    style.legend_above(figure, grid[0, 0])
    return figure


def plot_diversity(rows: Sequence[EnsembleRow]) -> Figure:
    """Draw what many homes on one day have in common, by their number: true, generated, simpler.

    Example:
        >>> rows = [EnsembleRow("true", size, 100, *12 * [1.0]) for size in (1, 4)]
        >>> len(plot_diversity(rows).axes)
        3
    """
    figure = style.chart(8.6, 2.7)
    panels: Any = figure.subplots(1, 3)
    by_name = {
        name: [row for row in rows if row.sample == name]
        for name in _LOOKS
        if any(row.sample == name for row in rows)
    }
    for name, some in by_name.items():
        size = [row.num_parts for row in some]
        panels[0].plot(size, [r.energy_variance_ratio for r in some], label=name, **_LOOKS[name])
        panels[1].plot(size, [r.same_day_r for r in some], **_LOOKS[name])
        panels[2].plot(size, [row.admd for row in some], **_LOOKS[name])
    titles = ("variance of daily energy / true", "same-day correlation r", "mean peak, kW a home")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_xscale("log")
        axes.set_xlabel("number of homes K")
        axes.set_title(title, fontsize=9)
        axes.set_ylim(bottom=0)
        style.open_frame(axes)
    style.legend_above(figure, panels[0], ncols=5)
    return figure


def plot_peaks(wholes: Mapping[str, Tensor], num_parts: int) -> Figure:
    """Draw the load-duration curve of so many homes, and how likely a day's peak is exceeded.

    Example:
        >>> load = np.random.default_rng(0).random((20, 48))
        >>> len(plot_peaks({"true": load, "generated": load}, 50).axes)
        2
    """
    figure = style.chart(7.2, 2.8)
    panels: Any = figure.subplots(1, 2)
    for name, curves in wholes.items():
        load = np.asarray(curves)
        _exceeded(panels[0], load.ravel(), name, linear=True)
        _exceeded(panels[1], load.max(axis=1), name)
    panels[0].set_xlabel("share of the time")
    panels[0].set_ylabel("kW")
    panels[0].set_title(f"load of {num_parts} homes", fontsize=9)
    panels[1].set_xlabel("share of the days")
    panels[1].set_title("highest load of a day", fontsize=9)
    panels[1].set_xscale("log")
    for axes in panels:
        style.open_frame(axes)
    style.legend_above(figure, panels[0], ncols=len(wholes))
    return figure


def _exceeded(axes: Axes, values: np.ndarray, name: str, linear: bool = False) -> None:
    falling = np.sort(values)[::-1]
    share = (np.arange(len(falling)) + (0.0 if linear else 1.0)) / len(falling)
    axes.plot(share, falling, label=name, **_LOOKS[name])
