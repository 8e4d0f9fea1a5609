"""CompVAE as a PyTorch Geometric plugin: a generative model of wholes made of parts.

The names below are imported when one of them is first used, so that programs can read their options
before torch is loaded.
"""

import importlib
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_PACKAGES = ("nn", "distributions", "models", "networks", "problems")


def __getattr__(name: str) -> Any:
    if name not in (*__all__, *_PACKAGES):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with warnings.catch_warnings():
        # PyTorch Geometric scripts classes of its own, of which newer releases of torch warn.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        importlib.import_module("torch_geometric.nn")
    for package in _PACKAGES:
        module = importlib.import_module(f"{__name__}.{package}")
        globals().update({each: vars(module)[each] for each in module.__all__ if each in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
