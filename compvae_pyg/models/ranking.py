"""Which parts made a whole, by the likelihood of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.models.checks import check_model
from compvae_pyg.models.chunks import split_sets
from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.models.weights import check_weight
from compvae_pyg.nn import resolve_batch, set_sizes, set_sum
from compvae_pyg.nn.checks import check_real

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["Ranking", "rank_parts"]


@dataclass(frozen=True)
class Ranking:
    r"""Candidates for the parts of wholes, with their posterior.

    Attributes:
        log_likelihood: Estimate of :math:`\log p(x \mid c)` of each candidate :math:`c`, in nats,
            ``[C]``; ``-inf`` or ``nan`` where latents overflow, which counts as impossible.
        log_posterior: :math:`\log p(c \mid x)` among the candidates of its whole, ``[C]``.
        candidate_batch: Whole of each candidate, ``[C]``, sorted.
        best: The candidate of the largest posterior for each whole, ``[S]``; the first of several.
    """

    log_likelihood: Tensor
    log_posterior: Tensor
    candidate_batch: Tensor
    best: Tensor

    @property
    def probability(self) -> Tensor:
        r"""Posterior :math:`p(c \mid x)` of each candidate, ``[C]``."""
        return self.log_posterior.exp()


@torch.no_grad()
def rank_parts(
    model: CompVAE,
    whole: Tensor,
    parts: Parts,
    batch: Tensor,
    batch_size: int | None = None,
    *,
    candidate_batch: Tensor | None = None,
    log_prior: Tensor | None = None,
    num_samples: int = 16,
    chunk_size: int = 256,
    weight: Tensor | None = None,
) -> Ranking:
    r"""Weigh candidates for the parts of wholes by their likelihoods.

    .. math::
        p(c \mid x) = \frac{\pi_c \, p(x \mid c)}{\sum_{c'} \pi_{c'} \, p(x \mid c')}

    where a candidate :math:`c` is a multiset of parts, and :math:`p(x \mid c)` is estimated by
    :meth:`CompVAE.log_likelihood`. All candidates of all wholes lie packed in one batch, and may be
    of different sizes.

    The posterior is as good as these estimates, each a lower bound in expectation: it is to be
    trusted where it stays the same with more samples.

    Args:
        model: The model.
        whole: Wholes, ``[S, *event]``.
        parts: Parts of all candidates, packed, N rows each.
        batch: Candidate of each part, ``[N]``, sorted.
        batch_size: Number of candidates :math:`C`; needed when a candidate is empty.
        candidate_batch: Whole of each candidate, ``[C]``, sorted; ``None`` means that there is one
            whole.
        log_prior: Logarithms of the weights :math:`\pi` of the candidates, up to a constant for
            each whole, ``[C]``; by default all are equal.
        num_samples: Number of importance samples of each candidate.
        chunk_size: Number of samples that pass the networks at once; bounds the memory.
        weight: Weight of each part, ``[N]``, see :meth:`CompVAE.elbo`; by default 1.

    Raises:
        TypeError: If ``whole`` or ``log_prior`` is no tensor of numbers.
        ValueError: If an input does not fit the others or the model, a whole has no candidate, or
            none of finite likelihood and prior, or ``log_prior`` is NaN or ``inf``.

    Example:
        >>> from compvae_pyg import CompVAE
        >>> model = CompVAE.from_pretrained("dots-small")
        >>> site = torch.zeros(1, 2)
        >>> image = model.generate({"color": torch.tensor([2]), "pos": site})
        >>> candidates = {"color": torch.arange(5), "pos": site.expand(5, 2)}
        >>> int(rank_parts(model, image, candidates, torch.arange(5)).best)
        2
    """
    check_model(model)
    num_parts, device = check_parts(parts)
    check_real(whole, "whole")
    if whole.dim() == 0:
        raise ValueError("whole must be wholes, one a row (got a scalar)")
    batch, num_candidates = resolve_batch(num_parts, batch, batch_size, device)
    num_wholes = len(whole)
    try:
        candidate_batch, _ = resolve_batch(num_candidates, candidate_batch, num_wholes, device)
    except (TypeError, ValueError) as error:
        # There it is called as the set of each part is.
        raise type(error)(f"candidate_batch, of candidates as parts: {error}") from None
    lonely = set_sizes(candidate_batch, num_wholes, whole.dtype) == 0
    if bool(lonely.any()):
        raise ValueError(
            f"every whole must have a candidate (got none for whole {int(lonely.nonzero()[0])})"
        )
    weight = check_weight(weight, num_parts, whole)
    if log_prior is not None:
        _check_log_prior(log_prior, candidate_batch)
    log_likelihood = torch.cat(
        [
            model.log_likelihood(
                whole[candidate_batch[chunk.sets]],
                chunk.parts,
                chunk.batch,
                chunk.sets.stop - chunk.sets.start,
                num_samples=num_samples,
                chunk_size=chunk_size,
                weight=None if weight is None else weight[chunk.rows],
            )
            for chunk in split_sets(parts, batch, num_candidates, chunk_size)
        ]
    )
    # Latents of parts that are far from having made the whole may overflow.
    log_joint = torch.where(log_likelihood.isnan(), -torch.inf, log_likelihood)
    if log_prior is not None:
        log_joint = log_joint + log_prior
    highest = scatter(log_joint, candidate_batch, 0, num_wholes, reduce="max")
    if not bool(highest.isfinite().all()):
        at = int((~highest.isfinite()).nonzero()[0])
        raise ValueError(f"no candidate for whole {at} has a finite likelihood and prior")
    highest = highest[candidate_batch]
    evidence = set_sum((log_joint - highest).exp(), candidate_batch, num_wholes).log()
    # The first of those that reach the highest.
    order = torch.arange(num_candidates, device=device)
    order = torch.where(log_joint == highest, order, num_candidates)
    return Ranking(
        log_likelihood=log_likelihood,
        log_posterior=log_joint - highest - evidence[candidate_batch],
        candidate_batch=candidate_batch,
        best=scatter(order, candidate_batch, 0, num_wholes, reduce="min"),
    )


def _check_log_prior(log_prior: Tensor, candidate_batch: Tensor) -> None:
    check_real(log_prior, "log_prior")
    if log_prior.device != candidate_batch.device:
        raise ValueError(
            f"log_prior must be on the device of the parts (got {log_prior.device}, "
            f"expected {candidate_batch.device})"
        )
    if log_prior.shape != candidate_batch.shape:
        raise ValueError(
            f"log_prior must be {list(candidate_batch.shape)} (got {list(log_prior.shape)})"
        )
    wrong = log_prior.isnan() | (log_prior == torch.inf)
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        raise ValueError(
            f"log_prior must be finite or -inf (got {float(log_prior[at])} at candidate {at})"
        )
