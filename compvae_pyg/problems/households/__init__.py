"""Homes and their shared day: data, networks, measures and figures."""

from compvae_pyg.problems.households.citylearn import read_citylearn
from compvae_pyg.problems.households.meters import read_meters
from compvae_pyg.problems.households.pool import Pool
from compvae_pyg.problems.households.problem import Households
from compvae_pyg.problems.households.simulated import SimulatedPool, heat_pumps

__all__ = [
    "Households",
    "Pool",
    "SimulatedPool",
    "heat_pumps",
    "read_citylearn",
    "read_meters",
]
