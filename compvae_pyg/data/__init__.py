"""Stored wholes, and batches that are filled up to a number of parts."""

from compvae_pyg.data.parquet import ParquetWholes
from compvae_pyg.data.part_budget_sampler import PartBudgetSampler

__all__ = ["ParquetWholes", "PartBudgetSampler"]
