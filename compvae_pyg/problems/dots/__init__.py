"""The dots: images made of coloured sites, with networks, measures and figures."""

from compvae_pyg.problems.dots.data import COLORS, render_dots
from compvae_pyg.problems.dots.measures import site_accuracy, sites_shown
from compvae_pyg.problems.dots.problem import Dots
from compvae_pyg.problems.dots.samples import (
    Recomposition,
    Reconstructions,
    recompose_dots,
    reconstruct_dots,
)

__all__ = [
    "COLORS",
    "Dots",
    "Recomposition",
    "Reconstructions",
    "recompose_dots",
    "reconstruct_dots",
    "render_dots",
    "site_accuracy",
    "sites_shown",
]
