"""The model of wholes and parts."""

from compvae_pyg.models.attribution import Attribution
from compvae_pyg.models.composition import Composition
from compvae_pyg.models.compvae import CompVAE
from compvae_pyg.models.elbo import Elbo, Inferred
from compvae_pyg.models.embedding import SeparateEmbedding
from compvae_pyg.models.encoder import CompVAEEncoder, Posterior
from compvae_pyg.models.generator import CompVAEGenerator, normal_sample
from compvae_pyg.models.hub import model_card
from compvae_pyg.models.initialisation import start_as_code, start_at_prior, zero_linear
from compvae_pyg.models.normal_network import NormalNetwork
from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.models.ranking import Ranking, rank_parts
from compvae_pyg.models.registry import build_architecture, register_architecture
from compvae_pyg.models.shared_model import SharedModel

__all__ = [
    "Attribution",
    "CompVAE",
    "CompVAEEncoder",
    "CompVAEGenerator",
    "Composition",
    "Elbo",
    "Inferred",
    "NormalNetwork",
    "Parts",
    "Posterior",
    "Ranking",
    "SeparateEmbedding",
    "SharedModel",
    "build_architecture",
    "check_parts",
    "model_card",
    "normal_sample",
    "rank_parts",
    "register_architecture",
    "start_as_code",
    "start_at_prior",
    "zero_linear",
]
