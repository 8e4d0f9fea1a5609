"""Problems: ground truth and networks."""

from compvae_pyg.problems.base import Problem, packed_batch
from compvae_pyg.problems.dots import COLORS, Dots, render_dots
from compvae_pyg.problems.sines import Sines, render_sines

__all__ = [
    "COLORS",
    "Dots",
    "Problem",
    "Sines",
    "packed_batch",
    "render_dots",
    "render_sines",
]
