"""Which part of a whole carries how much of the information about it."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from compvae_pyg.models import Attribution
from compvae_pyg.plots.operations import draw_whole
from compvae_pyg.plots.style import GREY

__all__ = ["plot_attribution"]


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
    which stands above them.

    Args:
        wholes: Images, ``[S, 3, H, W]`` in [0, 1], or curves, ``[S, T]``.
        attribution: What :meth:`~compvae_pyg.CompVAE.attribute` tells of them.
        labels: What each part is called, ``[N]``.
        colors: Colours of the parts' bars in RGB, ``[N, 3]``.
        pos: Positions of the parts in their images, ``[N, 2]``, if they are to be marked.

    Raises:
        ValueError: If a shape does not fit the others, or there is no whole.

    Example:
        >>> import torch
        >>> shares = Attribution(torch.ones(3), torch.ones(2), torch.tensor([0, 0, 1]))
        >>> len(plot_attribution(np.zeros((2, 50)), shares, ["a", "b", "c"]).axes)
        4
    """
    wholes = np.asarray(wholes)
    nats, common = np.asarray(attribution.parts), np.asarray(attribution.common)
    batch = np.asarray(attribution.batch)
    if wholes.ndim not in (2, 4) or len(wholes) != len(common) or len(wholes) == 0:
        raise ValueError(
            f"wholes must be [{len(common)}, 3, H, W] or [{len(common)}, T], at least one "
            f"(got {list(wholes.shape)})"
        )
    if len(labels) != len(nats):
        raise ValueError(f"labels must be [{len(nats)}] (got {len(labels)})")
    shades = np.full((len(nats), 3), 0.35) if colors is None else np.asarray(colors)
    if shades.shape != (len(nats), 3):
        raise ValueError(f"colors must be [{len(nats)}, 3] (got {list(shades.shape)})")
    if pos is not None:
        pos = np.asarray(pos)
        if pos.shape != (len(nats), 2):
            raise ValueError(f"pos must be [{len(nats)}, 2] (got {list(pos.shape)})")
    bits, common = nats / math.log(2.0), common / math.log(2.0)
    most = max(bits.max(initial=0.0), common.max())
    largest = int(np.bincount(batch, minlength=len(wholes)).max())
    figure = Figure(
        figsize=(1.9 * len(wholes) + 0.3, 2.1 + 0.2 * (largest + 1)), dpi=200, layout="constrained"
    )
    grid = figure.subplots(2, len(wholes), squeeze=False, height_ratios=[1.6, 0.2 * (largest + 1)])
    for s, (above, below) in enumerate(grid.T):
        mine = batch == s
        sites = None if pos is None else pos[mine]
        draw_whole(above, wholes[s], sites, colors=shades[mine])
        above.set_title(f"{bits[mine].sum() + common[s]:.0f} bits", fontsize=9)
        place = np.arange(mine.sum() + 1)
        # Rounding may leave a divergence just below zero.
        values = np.append(bits[mine], common[s]).clip(min=0.0)
        names = [*(label for label, own in zip(labels, mine, strict=True) if own), "in common"]
        bars = below.barh(
            place,
            values,
            color=[*shades[mine], "#cccccc"],
            edgecolor=GREY,
            linewidth=0.6,
            height=0.7,
        )
        below.bar_label(bars, fmt=" %.0f", fontsize=7, color=GREY)
        below.set_yticks(place, names, fontsize=7.5)
        below.set(xlim=(0.0, 1.2 * most), ylim=(largest + 0.6, -0.6), xticks=[])
        below.spines[["top", "right", "bottom"]].set_visible(False)
        below.tick_params(length=0)
    return figure
