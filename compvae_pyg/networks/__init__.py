"""Networks ready to use, which learn all that they know of their data."""

from compvae_pyg.networks.category_curves import build_category_curves
from compvae_pyg.networks.category_normal import CategoryNormal
from compvae_pyg.networks.curves import build_curves
from compvae_pyg.networks.fields import Categorical, Continuous, FieldEmbedding
from compvae_pyg.networks.images import build_images
from compvae_pyg.networks.loads import build_loads
from compvae_pyg.networks.normalization import (
    Conditions,
    DataUnits,
    Normalization,
    fit_normalization,
)
from compvae_pyg.networks.patches import cut_patches, place_patches

__all__ = [
    "Categorical",
    "CategoryNormal",
    "Conditions",
    "Continuous",
    "DataUnits",
    "FieldEmbedding",
    "Normalization",
    "build_category_curves",
    "build_curves",
    "build_images",
    "build_loads",
    "cut_patches",
    "fit_normalization",
    "place_patches",
]
