"""Which part carries how much of the information about its whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch_geometric.utils import scatter

from compvae_pyg.models.chunks import Input, inputs
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
    chunk_size: int = 512,
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
    alone: Tensor | None = None
    for given in inputs(model, whole, parts, chunk_size, generator):
        for rows, of_parts, shared in _shares(model, given, chunk_size):
            if alone is None:
                alone = of_parts.new_empty(parts.num_parts)
                common = shared.new_zeros(parts.batch_size)
            alone[rows] = of_parts
            common[given.sets] += shared
    assert alone is not None
    return Attribution(alone, common, parts.batch)


def _shares(
    model: CompVAE, given: Input, chunk_size: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield which rows, their information, and terms of what sets have in common."""
    if not given.is_long(model, chunk_size):
        prior = model.generator.prior_w(given.parts)
        w = model._posterior(given.features, given.parts, prior, **given.eps).w
        of_parts = kl_divergence(w.marginals, prior).sum(dim=-1)
        yield given.rows, of_parts, w.total_correlation().sum(dim=-1)
        return
    start = given.rows.start
    for rows, prior, _, joint, _ in given.long(model).posterior():
        members = Normal(joint.loc[:-1], joint.stddev[:-1], validate_args=False)
        shared = joint._correlation_terms()[:-1].sum(dim=-1).double().sum()
        if rows.start == 0:
            shared = shared - joint.log_null.double().sum()
        of_parts = kl_divergence(members, prior).sum(dim=-1)
        yield slice(start + rows.start, start + rows.stop), of_parts, shared.to(of_parts.dtype)
