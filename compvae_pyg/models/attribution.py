"""Which part carries how much of the information about its whole."""

from typing import NamedTuple

from torch import Tensor
from torch_geometric.utils import scatter

__all__ = ["Attribution"]


class Attribution(NamedTuple):
    r"""Information in the latents of the parts, part by part, in nats.

    The divergence of the coupled posterior :math:`q` of a set from its factorised prior is

    .. math::
        \mathrm{KL}\Bigl(q \Big\| \prod_i p_i\Bigr) = \sum_i \mathrm{KL}(q_i \| p_i)
            + \mathrm{KL}\Bigl(q \Big\| \prod_i q_i\Bigr)

    with the laws :math:`q_i` of each part by itself. The first terms belong to the parts. The last
    is what the parts say only together, through the coupling that keeps their sum in check: it
    belongs to no part, and is zero for a set of one. All terms are at least zero.

    Attributes:
        parts: :math:`\mathrm{KL}(q_i \| p_i)` of each part, ``[N]``.
        common: The last term of each set, ``[S]``.
        batch: Set of each part, ``[N]``.
    """

    parts: Tensor
    common: Tensor
    batch: Tensor

    @property
    def kl_w(self) -> Tensor:
        """All information in the parts of each set, that of :class:`Elbo`, ``[S]``."""
        total = scatter(self.parts, self.batch, 0, self.common.shape[0], reduce="sum")
        return total + self.common
