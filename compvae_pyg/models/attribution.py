"""Which part carries how much of the information about its whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch_geometric.utils import scatter

from compvae_pyg.models.chunks import inputs
from compvae_pyg.nn.checks import check_model

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE
    from compvae_pyg.nn import AnyParts

__all__ = ["Attribution", "attribute"]


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

    Example:
        >>> bits, common = torch.tensor([2.0, 1.0]), torch.tensor([0.5])
        >>> shares = Attribution(bits, common, torch.tensor([0, 0]))
        >>> float(shares.parts.sum() + shares.common)
        3.5
    """

    parts: Tensor
    common: Tensor
    batch: Tensor

    @property
    def kl_w(self) -> Tensor:
        """All information in the parts of each set, that of :class:`Elbo`, ``[S]``."""
        total = scatter(self.parts, self.batch, 0, self.common.shape[0], reduce="sum")
        return total + self.common


@torch.no_grad()
def attribute(
    model: CompVAE,
    whole: Tensor,
    parts: AnyParts,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    chunk_size: int = 1024,
    generator: torch.Generator | None = None,
) -> Attribution:
    r"""Split the information about a whole by its parts.

    At one draw of :math:`z`, as :meth:`CompVAE.elbo <compvae_pyg.CompVAE.elbo>`, whose ``kl_w`` is
    split, and whose arguments and errors these are; with the ``chunk_size`` of
    :meth:`CompVAE.infer <compvae_pyg.CompVAE.infer>`.

    Raises:
        TypeError, ValueError: As :class:`~compvae_pyg.CompVAE`, or if ``model`` is none.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> data = Dots().sample(torch.tensor([2, 3]))
        >>> shares = attribute(Dots().build("small"), data.whole, data)
        >>> shares.parts.shape, shares.common.shape
        (torch.Size([5]), torch.Size([2]))
    """
    check_model(model)
    whole, parts = model._enter(whole, parts, batch, batch_size)
    alone, common = [], []
    for given in inputs(model, whole, parts, chunk_size, generator):
        if given.is_long(model, chunk_size):
            shared: Any = 0.0
            for _, prior, _, joint, _ in given.long(model).posterior():
                members = Normal(joint.loc[:-1], joint.stddev[:-1], validate_args=False)
                alone.append(kl_divergence(members, prior).sum(dim=-1))
                shared = shared + joint._correlation_terms()[:-1].double().sum()
            shared = shared - joint.log_null.double().sum(dim=-1)
            common.append(shared.to(joint.loc.dtype))
            continue
        prior = model.generator.prior_w(given.parts)
        w = model._posterior(given.features, given.parts, prior, **given.eps).w
        alone.append(kl_divergence(w.marginals, prior).sum(dim=-1))
        common.append(w.total_correlation().sum(dim=-1))
    return Attribution(torch.cat(alone), torch.cat(common), parts.batch)
