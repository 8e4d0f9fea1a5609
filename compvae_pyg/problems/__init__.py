"""Problems: ground truth, networks and courses of training."""

from compvae_pyg.problems.base import Problem, pack, packed_batch
from compvae_pyg.problems.dots import COLORS, Dots, render_dots
from compvae_pyg.problems.schedule import Curriculum, LearningRate, Schedule, Stage, Weights

__all__ = [
    "COLORS",
    "Curriculum",
    "Dots",
    "LearningRate",
    "Problem",
    "Schedule",
    "Stage",
    "Weights",
    "pack",
    "packed_batch",
    "render_dots",
]
