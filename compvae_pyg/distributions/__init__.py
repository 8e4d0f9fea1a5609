"""Probability distributions of packed sets."""

from compvae_pyg.distributions.normal import LogVarianceNormal, NormalNetwork, floor_log_variance
from compvae_pyg.distributions.sum_controlled_normal import (
    Coupling,
    ResidualSumControlledNormal,
    SumControlledNormal,
)

__all__ = [
    "Coupling",
    "LogVarianceNormal",
    "NormalNetwork",
    "ResidualSumControlledNormal",
    "SumControlledNormal",
    "floor_log_variance",
]
