"""The course of a training (paper, Fig. 4 and 7)."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from compvae_pyg.plots.metrics import Metrics
from compvae_pyg.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RULE,
    SHADE,
    chart,
    legend_above,
)

__all__ = ["plot_losses"]

_LEAST_NATS = 0.01  # below which a divergence is as good as nothing


def plot_losses(metrics: Metrics) -> Figure:
    r"""Draw the terms of the bound over the course of training, on a log scale (paper, Fig. 7).

    Where densities exceed 1, the losses :math:`-\log p(x \mid z, \tilde w)` and
    :math:`-\mathrm{ELBO}` fall below zero: both are then raised by one constant, which the legend
    tells. A latent that a stage holds at its prior's mean costs nothing and is not drawn; one that
    never costs 0.01 nats is only told. Stages are shaded and named.

    Args:
        metrics: Columns ``step``, ``stage``, ``kl_w_nats``, ``kl_z_nats``,
            ``reconstruction_nats`` and ``elbo_nats``, as :func:`read_metrics` returns them.

    Raises:
        ValueError: If a column is missing, or there is no row.

    Example:
        >>> names = ["step", "kl_w_nats", "kl_z_nats", "reconstruction_nats", "elbo_nats"]
        >>> stage, values = np.array(["whole", "whole"]), np.array([2.0, 3.0])
        >>> plot_losses({"stage": stage, **dict.fromkeys(names, values)})
        <Figure size 1024x672 with 2 Axes>
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
    lowest = math.inf
    figure = chart(6.4, 4.2)
    axes = figure.subplots()
    for values, color, style, label in (
        (total + shift, BLACK, "--", rf"all three, $-$ELBO{shifted}"),
        (
            reconstruction + shift,
            ORANGE,
            "-",
            rf"reconstruction, $-\log p(x|z,\tilde{{w}})${shifted}",
        ),
        (metrics["kl_w_nats"], GREEN, "-", "$w_i$: latents of the parts"),
        (metrics["kl_z_nats"], BLUE, "-", "$z$: latent of the whole"),
    ):
        # A sampled divergence may fall below zero.
        shown = np.where(values > 0.0, values, np.nan)
        told = values[values >= _LEAST_NATS]
        lowest = min(lowest, told.min(initial=math.inf))
        if len(told) == 0:
            label += f", below {_LEAST_NATS:g} nats"
        axes.plot(step, shown, style, marker=marker, color=color, linewidth=1.3, label=label)
    axes.set_yscale("log")
    if lowest < math.inf:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.6 * lowest))
    axes.set(xlabel="training step", ylabel="loss, nats per whole")
    _show_stages(axes, step, stage)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    legend_above(figure, axes)
    bits = axes.twinx()
    bits.set_yscale("log")
    bits.set_ylim(*(nats / math.log(2.0) for nats in axes.get_ylim()))
    bits.set_ylabel("bits per whole")
    return figure


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
            axes.axvspan(first, last, color=SHADE, linewidth=0.0, zorder=0)
        axes.annotate(
            name,
            ((first + last) / 2.0, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=GREY,
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
