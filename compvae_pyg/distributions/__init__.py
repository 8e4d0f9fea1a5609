"""Probability distributions of packed sets."""

from compvae_pyg.distributions.sum_controlled_normal import Coupling, SumControlledNormal

__all__ = ["Coupling", "SumControlledNormal"]
