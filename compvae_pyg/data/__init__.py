"""Batches of sets: filled up to a number of parts, or brought to one shape."""

from compvae_pyg.data.ghost import Ghosted, with_ghost
from compvae_pyg.data.part_budget_sampler import PartBudgetSampler

__all__ = ["Ghosted", "PartBudgetSampler", "with_ghost"]
