"""How good a model is."""

from compvae_pyg.evaluation.dots import DotsRow, evaluate_dots
from compvae_pyg.evaluation.dots_samples import (
    Recomposition,
    Reconstructions,
    recompose_dots,
    reconstruct_dots,
)
from compvae_pyg.evaluation.elbo import (
    ElboRow,
    MeasuredRow,
    evaluate_elbo,
    mean_square,
    measure_wholes,
)
from compvae_pyg.evaluation.energy import SampledRow, energy_distance
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.recovery import RecoveryRow, evaluate_recovery
from compvae_pyg.evaluation.removal import (
    DotsRemovalRow,
    RemovalRow,
    SinesRemovalRow,
    evaluate_removal,
)
from compvae_pyg.evaluation.report import format_table, read_evaluation, write_evaluation
from compvae_pyg.evaluation.sines import SinesRow, evaluate_sines
from compvae_pyg.evaluation.sines_samples import (
    SinesNonlinearity,
    SinesRecomposition,
    SinesVariety,
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
)
from compvae_pyg.evaluation.site_accuracy import site_accuracy, sites_shown
from compvae_pyg.evaluation.spectrum import Spectrum, spectrum

__all__ = [
    "DotsRemovalRow",
    "DotsRow",
    "ElboRow",
    "Estimate",
    "MeasuredRow",
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
    "energy_distance",
    "evaluate_dots",
    "evaluate_elbo",
    "evaluate_recovery",
    "evaluate_removal",
    "evaluate_sines",
    "format_table",
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
