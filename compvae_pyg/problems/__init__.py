"""Problems: ground truth and networks."""

from compvae_pyg.problems.base import Problem, packed_batch
from compvae_pyg.problems.dots import COLORS, Dots, render_dots
from compvae_pyg.problems.patches import cut_patches, place_patches
from compvae_pyg.problems.placed import build_placed
from compvae_pyg.problems.sines import Sines, render_sines

__all__ = [
    "COLORS",
    "Dots",
    "Problem",
    "Sines",
    "build_placed",
    "cut_patches",
    "packed_batch",
    "place_patches",
    "render_dots",
    "render_sines",
]
