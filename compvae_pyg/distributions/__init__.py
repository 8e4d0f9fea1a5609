"""Probability distributions of packed sets."""

from compvae_pyg.distributions.log_variance_normal import LogVarianceNormal
from compvae_pyg.distributions.sum_controlled_normal import Coupling, SumControlledNormal

__all__ = ["Coupling", "LogVarianceNormal", "SumControlledNormal"]
