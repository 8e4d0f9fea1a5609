"""How good a model is."""

from compvae_pyg.evaluation.codes import CodesRow, evaluate_codes
from compvae_pyg.evaluation.ensembles import EnsembleRow, evaluate_ensembles, nearest_distances
from compvae_pyg.evaluation.evaluate import evaluate
from compvae_pyg.evaluation.recovery import RecoveryRow, evaluate_recovery
from compvae_pyg.evaluation.removal import evaluate_removal
from compvae_pyg.evaluation.rows import (
    EvaluationRow,
    ResultRow,
    format_legend,
    format_table,
    read_evaluation,
    write_evaluation,
)
from compvae_pyg.evaluation.two_sample import (
    classifier_accuracy,
    energy_distance,
    maximum_mean_discrepancy,
)
from compvae_pyg.problems.estimate import Estimate, mean_square

__all__ = [
    "CodesRow",
    "EnsembleRow",
    "Estimate",
    "EvaluationRow",
    "RecoveryRow",
    "ResultRow",
    "classifier_accuracy",
    "energy_distance",
    "evaluate",
    "evaluate_codes",
    "evaluate_ensembles",
    "evaluate_recovery",
    "evaluate_removal",
    "format_legend",
    "format_table",
    "maximum_mean_discrepancy",
    "mean_square",
    "nearest_distances",
    "read_evaluation",
    "write_evaluation",
]
