"""How likely rare wholes are, and what they look like."""

from compvae_pyg.simulation.rare_wholes import RareWholes, rare_wholes
from compvae_pyg.simulation.subset_simulation import Level, RareEvent, subset_simulation
from compvae_pyg.simulation.whole_from_noise import WholeFromNoise

__all__ = ["Level", "RareEvent", "RareWholes", "WholeFromNoise", "rare_wholes", "subset_simulation"]
