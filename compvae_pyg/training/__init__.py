"""Training with Lightning (extra ``train``)."""

from compvae_pyg.training.checkpoint import LastCheckpoint, check_same_run
from compvae_pyg.training.data import GeneratedData, GeneratedDataset
from compvae_pyg.training.guard import NonFiniteGuard, TrainingDivergedError
from compvae_pyg.training.memory import keep_freed_memory
from compvae_pyg.training.metrics import RunningMetrics
from compvae_pyg.training.metrics_file import MetricsFile
from compvae_pyg.training.module import CompVAEModule
from compvae_pyg.training.objective import objective
from compvae_pyg.training.progress import Progress
from compvae_pyg.training.random_state import RandomState
from compvae_pyg.training.train import train

__all__ = [
    "CompVAEModule",
    "GeneratedData",
    "GeneratedDataset",
    "LastCheckpoint",
    "MetricsFile",
    "NonFiniteGuard",
    "Progress",
    "RandomState",
    "RunningMetrics",
    "TrainingDivergedError",
    "check_same_run",
    "keep_freed_memory",
    "objective",
    "train",
]
