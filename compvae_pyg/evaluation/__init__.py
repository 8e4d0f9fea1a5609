"""How good a model is."""

from compvae_pyg.evaluation.codes import CodesRow, evaluate_codes
from compvae_pyg.evaluation.dots import (
    DotsRow,
    Recomposition,
    Reconstructions,
    evaluate_dots,
    recompose_dots,
    reconstruct_dots,
    site_accuracy,
    sites_shown,
)
from compvae_pyg.evaluation.elbo import (
    CustomRow,
    ElboRow,
    evaluate_elbo,
    mean_square,
    measure_wholes,
)
from compvae_pyg.evaluation.energy import SampledRow
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.recovery import RecoveryRow, evaluate_recovery
from compvae_pyg.evaluation.removal import (
    DotsRemovalRow,
    RemovalRow,
    SinesRemovalRow,
    evaluate_removal,
)
from compvae_pyg.evaluation.rows import (
    EvaluationRow,
    format_table,
    read_evaluation,
    write_evaluation,
)
from compvae_pyg.evaluation.sines import (
    SinesNonlinearity,
    SinesRecomposition,
    SinesRow,
    SinesVariety,
    Spectrum,
    evaluate_sines,
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
    spectrum,
)
from compvae_pyg.evaluation.two_sample import (
    classifier_accuracy,
    energy_distance,
    maximum_mean_discrepancy,
)

__all__ = [
    "CodesRow",
    "CustomRow",
    "DotsRemovalRow",
    "DotsRow",
    "ElboRow",
    "Estimate",
    "EvaluationRow",
    "Recomposition",
    "Reconstructions",
    "RecoveryRow",
    "RemovalRow",
    "SampledRow",
    "SinesNonlinearity",
    "SinesRecomposition",
    "SinesRemovalRow",
    "SinesRow",
    "SinesVariety",
    "Spectrum",
    "classifier_accuracy",
    "energy_distance",
    "evaluate_codes",
    "evaluate_dots",
    "evaluate_elbo",
    "evaluate_recovery",
    "evaluate_removal",
    "evaluate_sines",
    "format_table",
    "maximum_mean_discrepancy",
    "mean_square",
    "measure_wholes",
    "read_evaluation",
    "recompose_dots",
    "recompose_sines",
    "reconstruct_dots",
    "sines_nonlinearity",
    "sines_variety",
    "site_accuracy",
    "sites_shown",
    "spectrum",
    "write_evaluation",
]
