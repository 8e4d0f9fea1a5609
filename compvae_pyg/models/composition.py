"""The latents of wholes, and what can be read from them."""

from dataclasses import dataclass

from torch import Tensor
from torch.distributions import Distribution

from compvae_pyg.models.generator import CompVAEGenerator
from compvae_pyg.models.parts import Parts
from compvae_pyg.nn import set_sum

__all__ = ["Composition"]


@dataclass(frozen=True)
class Composition:
    r"""Wholes as their parts and latents.

    Attributes:
        generator: The generative network whose latents these are.
        parts: Descriptions of the parts, packed, N rows each.
        batch: Set of each part, ``[N]``.
        batch_size: Number of wholes :math:`S`.
        w: Latents of the parts, ``[N, D_w]``.
        z: Latents of the wholes, ``[S, D_z]``.
    """

    generator: CompVAEGenerator
    parts: Parts
    batch: Tensor
    batch_size: int
    w: Tensor
    z: Tensor

    @property
    def w_sum(self) -> Tensor:
        r"""Latents of the aggregates, :math:`\tilde w = \sum_i w_i`, ``[S, D_w]``."""
        return set_sum(self.w, self.batch, self.batch_size)

    def decode(self) -> Distribution:
        r"""Return :math:`p(x \mid z, \tilde w)`, of batch shape ``[S]``."""
        return self.generator.decoder(self.w_sum, self.z)
