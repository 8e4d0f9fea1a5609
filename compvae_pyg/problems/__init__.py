"""Problems: ground truth, networks and courses of training."""

from compvae_pyg.problems.base import Problem, packed_batch
from compvae_pyg.problems.dots import COLORS, Dots, render_dots
from compvae_pyg.problems.patches import cut_patches, place_patches
from compvae_pyg.problems.placed import build_placed
from compvae_pyg.problems.schedule import Curriculum, Inferred, LearningRate, Schedule, Stage, Weights
from compvae_pyg.problems.sines import Sines, render_sines

__all__ = [
    "COLORS",
    "Curriculum",
    "Dots",
    "Inferred",
    "LearningRate",
    "Problem",
    "Schedule",
    "Sines",
    "Stage",
    "Weights",
    "build_placed",
    "cut_patches",
    "packed_batch",
    "place_patches",
    "render_dots",
    "render_sines",
]
