"""Layers that know no variational autoencoder."""

from compvae_pyg.nn.graph_block import GraphBlock
from compvae_pyg.nn.residual import Residual
from compvae_pyg.nn.sets import (
    NullSoftmax,
    at_least_float32,
    resolve_batch,
    set_gather,
    set_sizes,
    set_softmax_with_null,
    set_sum,
)
from compvae_pyg.nn.variance import floor_log_variance

__all__ = [
    "GraphBlock",
    "NullSoftmax",
    "Residual",
    "at_least_float32",
    "floor_log_variance",
    "resolve_batch",
    "set_gather",
    "set_sizes",
    "set_softmax_with_null",
    "set_sum",
]
