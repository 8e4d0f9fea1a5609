"""Layers that know no variational autoencoder, and the packed sets that they work on."""

from compvae_pyg.nn.graph_block import GraphBlock, Residual
from compvae_pyg.nn.packed import AnyParts, Fields, NullSoftmax, PackedParts
from compvae_pyg.nn.rows import pack
from compvae_pyg.nn.zero_linear import ZeroLinear

__all__ = [
    "AnyParts",
    "Fields",
    "GraphBlock",
    "NullSoftmax",
    "PackedParts",
    "Residual",
    "ZeroLinear",
    "pack",
]
