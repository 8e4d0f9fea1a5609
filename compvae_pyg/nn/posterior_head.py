"""The last layer of the inference network, and how it is initialised."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["PosteriorHead", "PosteriorInit"]

PosteriorInit = Literal["linear", "prior", "low_variance"]


class PosteriorHead(nn.Linear):
    """A Linear of the states to means, log-variances and coupling logits of a residual posterior.

    Args:
        in_channels: Size of each state.
        out_channels: Three times that of each latent.
        init: How it is initialised, see :class:`~compvae_pyg.CompVAEEncoder`.
    """

    def __init__(self, in_channels: int, out_channels: int, init: PosteriorInit) -> None:
        self.init = init
        super().__init__(in_channels, out_channels)

    def forward(self, states: Tensor, parts: Tensor | None = None) -> Tensor:
        """Return ``[N, out_channels]``."""
        return super().forward(states)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        super().reset_parameters()
        if self.init == "linear":
            return
        low = self.init == "low_variance"
        gains = (1.5 if low else 0.1, 0.1, 0.1)  # of means, log-variances and logits
        biases = (0.0, 2.0 * math.log(0.1) if low else 0.0, -3.0)
        for k in range(3):
            self.weight.chunk(3)[k].mul_(gains[k])
            self.bias.chunk(3)[k].fill_(biases[k])
