"""Probability distributions of packed sets."""

from compvae_pyg.distributions.aggregate_posterior import code_distance, code_variance
from compvae_pyg.distributions.normal import LogVarianceNormal, NormalNetwork, floor_log_variance
from compvae_pyg.distributions.observations import (
    CurveLogNormal,
    Family,
    from_noise,
    observation,
)
from compvae_pyg.distributions.sum_controlled_normal import (
    Coupling,
    ResidualSumControlledNormal,
    SumControlledNormal,
)

__all__ = [
    "Coupling",
    "CurveLogNormal",
    "Family",
    "LogVarianceNormal",
    "NormalNetwork",
    "ResidualSumControlledNormal",
    "SumControlledNormal",
    "code_distance",
    "code_variance",
    "floor_log_variance",
    "from_noise",
    "observation",
]
