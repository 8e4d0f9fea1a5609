"""The model of wholes and parts."""

from compvae_pyg.models.attribution import Attribution, attribute
from compvae_pyg.models.composition import Composition
from compvae_pyg.models.compvae import CompVAE, Elbo
from compvae_pyg.models.embedding import SeparateEmbedding
from compvae_pyg.models.encoder import CompVAEEncoder, Posterior
from compvae_pyg.models.generator import CompVAEGenerator
from compvae_pyg.models.hub import (
    PretrainedMixin,
    build_architecture,
    model_card,
    register_architecture,
)
from compvae_pyg.models.ranking import Ranking, rank_parts

__all__ = [
    "Attribution",
    "CompVAE",
    "CompVAEEncoder",
    "CompVAEGenerator",
    "Composition",
    "Elbo",
    "Posterior",
    "PretrainedMixin",
    "Ranking",
    "SeparateEmbedding",
    "attribute",
    "build_architecture",
    "model_card",
    "rank_parts",
    "register_architecture",
]
