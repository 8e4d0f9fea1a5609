"""Images of coloured sites: examples, recompositions, reconstructions."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from compvae_pyg.evaluation import Recomposition, Reconstructions
from compvae_pyg.plots.mosaic import Mosaic
from compvae_pyg.problems import COLORS

__all__ = ["plot_data", "plot_recomposition", "plot_reconstructions"]


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
    mosaic = Mosaic(len(rows), max(len(row) for row in rows.values()), left=0.45)
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
    mosaic = Mosaic(2 + num_samples, num_parts, left=0.85, row_breaks=(1, 2))
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
    mosaic = Mosaic(
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


def _by_size(num_parts: NDArray[Any]) -> dict[int, NDArray[Any]]:
    return {int(size): np.flatnonzero(num_parts == size) for size in np.unique(num_parts)}
