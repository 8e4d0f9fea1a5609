"""Problems: sources of wholes with their parts, each with its networks, measures and figures."""

from compvae_pyg.problems.base import (
    Problem,
    Quantity,
    Removal,
    packed_batch,
    problem_of,
)
from compvae_pyg.problems.digits import Digits
from compvae_pyg.problems.dots import COLORS, Dots, render_dots
from compvae_pyg.problems.households import Households
from compvae_pyg.problems.sines import Sines, render_sines

__all__ = [
    "COLORS",
    "Digits",
    "Dots",
    "Households",
    "Problem",
    "Quantity",
    "Removal",
    "Sines",
    "packed_batch",
    "problem_of",
    "render_dots",
    "render_sines",
]
