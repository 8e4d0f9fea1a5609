"""Networks ready to use, which learn all that they know of their data."""

from compvae_pyg.networks.normalization import DataUnits, Normalization, fit_normalization

__all__ = ["DataUnits", "Normalization", "fit_normalization"]
