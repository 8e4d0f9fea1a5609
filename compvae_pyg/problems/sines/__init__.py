"""The sines: curves made of sine waves, with networks, measures and figures."""

from compvae_pyg.problems.sines.data import render_sines
from compvae_pyg.problems.sines.measures import Spectrum, spectrum
from compvae_pyg.problems.sines.problem import Sines
from compvae_pyg.problems.sines.samples import (
    SinesNonlinearity,
    SinesRecomposition,
    SinesVariety,
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
)

__all__ = [
    "Sines",
    "SinesNonlinearity",
    "SinesRecomposition",
    "SinesVariety",
    "Spectrum",
    "recompose_sines",
    "render_sines",
    "sines_nonlinearity",
    "sines_variety",
    "spectrum",
]
