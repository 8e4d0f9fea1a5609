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

    with the marginal :math:`q_i` of each part. The last term is what the parts say only together,
    through the coupling of their sum: it is zero for a set of one. No term is negative.

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
