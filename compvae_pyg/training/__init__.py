"""Training with Lightning (extra ``train``)."""

from compvae_pyg.checkpoint_io import AtomicCheckpointIO
from compvae_pyg.config import TrainConfig
from compvae_pyg.data.curriculum import Curriculum
from compvae_pyg.data.generated import GeneratedData, GeneratedDataset
from compvae_pyg.data.stored import StoredData, split_wholes
from compvae_pyg.data.stored_problem import StoredWholes
from compvae_pyg.models.staged_elbo import staged_elbo
from compvae_pyg.optim import LearningRate, NonFiniteGuard, TrainingDivergedError
from compvae_pyg.progress_bar import Progress
from compvae_pyg.training.checkpoint import LastCheckpoint
from compvae_pyg.training.module import CompVAEModule
from compvae_pyg.training.objective import objective
from compvae_pyg.training.progress import MetricsFile
from compvae_pyg.training.schedule import Coefficients, Schedule, Stage
from compvae_pyg.training.train import train

__all__ = [
    "AtomicCheckpointIO",
    "Coefficients",
    "CompVAEModule",
    "Curriculum",
    "GeneratedData",
    "GeneratedDataset",
    "LastCheckpoint",
    "LearningRate",
    "MetricsFile",
    "NonFiniteGuard",
    "Progress",
    "Schedule",
    "Stage",
    "StoredData",
    "StoredWholes",
    "TrainConfig",
    "TrainingDivergedError",
    "objective",
    "split_wholes",
    "staged_elbo",
    "train",
]
