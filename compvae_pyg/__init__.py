"""CompVAE as a PyTorch Geometric plugin: a generative model of wholes made of parts."""

import warnings
from importlib.metadata import PackageNotFoundError, version

with warnings.catch_warnings():
    # PyTorch Geometric scripts classes of its own on import, of which newer releases of torch warn.
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
    import torch_geometric.nn  # noqa: F401

from compvae_pyg.distributions import NormalNetwork, SumControlledNormal
from compvae_pyg.models import (
    Composition,
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    Elbo,
    Posterior,
    Ranking,
    rank_parts,
)
from compvae_pyg.nn import GraphBlock, PackedParts, Residual
from compvae_pyg.problems import Dots, Problem, Sines

try:
    __version__ = version("compvae-pyg")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "CompVAE",
    "CompVAEEncoder",
    "CompVAEGenerator",
    "Composition",
    "Dots",
    "Elbo",
    "GraphBlock",
    "NormalNetwork",
    "PackedParts",
    "Posterior",
    "Problem",
    "Ranking",
    "Residual",
    "Sines",
    "SumControlledNormal",
    "__version__",
    "rank_parts",
]
