"""Which parts made a whole, by the likelihood of candidates."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.models.compvae import CompVAE
from compvae_pyg.models.likelihood import CommonNoise, importance_log_weights, log_mean_exp
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import (
    check_count,
    check_generator,
    check_given,
    check_model,
    check_real,
    check_values,
    check_wholes,
)

__all__ = ["Ranking", "rank_parts"]

_NUM_GROUPS = 8  # of samples, whose estimates are compared for the standard error


@dataclass(frozen=True)
class Ranking:
    r"""Candidates for the parts of wholes, with their posterior.

    Attributes:
        log_likelihood: Estimate of :math:`\log p(x \mid c)` of each candidate :math:`c`, in nats,
            ``[C]``; ``-inf`` or ``nan`` where latents overflow, which counts as impossible.
        standard_error: Standard error of ``log_likelihood``, in nats, ``[C]``.
        log_posterior: :math:`\log p(c \mid x)` among the candidates of its whole, ``[C]``.
        candidate_batch: Whole of each candidate, ``[C]``, sorted.
        best: The candidate of the largest posterior for each whole, ``[S]``; the first of several.
        lead: By how many nats of log-posterior it leads the next one, ``[S]``; ``inf`` without one.
        lead_error: Standard error of ``lead``, ``[S]``. Candidates have their noise in common, so
            that it is smaller than that of independent estimates.

    Example:
        >>> from compvae_pyg import CompVAE
        >>> model = CompVAE.from_pretrained("sines-small")
        >>> whole = model.generate({"category": torch.tensor([3])})
        >>> waves = {"category": torch.arange(5)}
        >>> ranking = rank_parts(model, whole, waves, torch.arange(5))
        >>> ranking.best  # of five frequencies
        tensor([3])
    """

    log_likelihood: Tensor
    standard_error: Tensor
    log_posterior: Tensor
    candidate_batch: Tensor
    best: Tensor
    lead: Tensor
    lead_error: Tensor

    @property
    def probability(self) -> Tensor:
        r"""Posterior :math:`p(c \mid x)` of each candidate, ``[C]``."""
        return self.log_posterior.exp()


@torch.no_grad()
def rank_parts(
    model: CompVAE,
    whole: Tensor,
    parts: PackedParts | Fields,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    candidate_batch: Tensor | None = None,
    log_prior: Tensor | None = None,
    num_samples: int = 16,
    chunk_size: int = 256,
    count: Tensor | None = None,
    weight: Tensor | None = None,
    context: Fields | None = None,
    generator: torch.Generator | None = None,
) -> Ranking:
    r"""Rank candidates for the parts of wholes by their likelihoods.

    .. math::
        p(c \mid x) = \frac{\pi_c \, p(x \mid c)}{\sum_{c'} \pi_{c'} \, p(x \mid c')}

    where a candidate :math:`c` is a multiset of parts, and :math:`p(x \mid c)` is estimated by
    importance sampling as in :meth:`CompVAE.log_likelihood`, with the same noise for all
    candidates: equal ones get equal estimates. Each is a lower bound in expectation. Its standard
    error comes from the estimates of groups of samples; a warning says where the best candidate
    leads by less than two of them.

    Args:
        model: The model.
        whole: Wholes, ``[S, *event]``.
        parts: Parts of all candidates; with ``batch``, ``batch_size``, ``count``, ``weight``,
            ``context`` and ``generator`` as for :class:`CompVAE`, where a set is a candidate, of
            :math:`C` in all.
        candidate_batch: Whole of each candidate, ``[C]``, sorted; ``None`` means one whole.
        log_prior: Logarithms of the prior :math:`\pi` of the candidates, up to a constant for
            each whole, ``[C]``; by default all are equal.
        num_samples: Number of importance samples of each candidate.
        chunk_size: Number of samples that pass the networks at once; bounds the memory.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an input does not fit the others or the model, a whole has no candidate, or
            none of finite likelihood and prior, or ``log_prior`` is NaN or ``inf``.

    Example:
        >>> from compvae_pyg import CompVAE
        >>> model = CompVAE.from_pretrained("sines-small")
        >>> curve = model.generate({"category": torch.tensor([2])})
        >>> candidates = {"category": torch.arange(5)}
        >>> int(rank_parts(model, curve, candidates, torch.arange(5)).best)
        2
    """
    check_model(model)
    check_count(num_samples, "num_samples")
    check_generator(generator)
    check_real(whole, "whole")
    if whole.dim() == 0:
        raise ValueError("whole must be wholes, one a row (got a scalar)")
    parts = PackedParts.of(parts, batch, batch_size, count=count, weight=weight, context=context)
    num_wholes, num_candidates = len(whole), parts.batch_size
    try:
        numbers = torch.arange(num_candidates, device=parts.device)
        candidates = PackedParts(numbers, candidate_batch, num_wholes)
    except (TypeError, ValueError) as error:
        # There it is called as the set of each part is.
        raise type(error)(f"candidate_batch, of candidates as parts: {error}") from None
    lonely = (candidates.sizes() == 0).nonzero()
    if len(lonely) > 0:
        raise ValueError(f"each whole must have a candidate (got none for whole {int(lonely[0])})")
    check_given(log_prior, "log_prior", (num_candidates,), parts.device)
    if log_prior is not None:
        check_values(log_prior, log_prior < math.inf, "log_prior must be finite or -inf")
    check_wholes(whole, candidates, model.event_shape)
    parts = model.generator.pack(parts)
    if parts.count is not None:
        check_values(parts.count, parts.count > 0, "count must be positive in what is observed")
    whole = whole.to(torch.promote_types(model.generator.dtype, torch.float32))
    source = torch.device("cpu") if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=source))
    common = CommonNoise(seed, int(torch.bincount(parts.batch, minlength=1).max()))
    how: Any = {"owner": candidates.batch, "common": common}
    weights = importance_log_weights(model, whole, parts, num_samples, chunk_size, **how)
    log_likelihood = log_mean_exp(weights)
    # Latents of parts that are far from having made the whole may overflow.
    log_joint = torch.where(log_likelihood.isnan(), -torch.inf, log_likelihood)
    if log_prior is not None:
        log_joint = log_joint + log_prior
    highest, best = _highest(log_joint, candidates)
    lost = (~highest.isfinite()).nonzero()
    if len(lost) > 0:
        raise ValueError(f"no candidate for whole {int(lost[0])} has a finite likelihood and prior")
    second, runner_up = _highest(log_joint.index_fill(0, best, -torch.inf), candidates)
    shifted = log_joint - candidates.broadcast(highest)
    evidence = candidates.sum(shifted.exp()).log()
    groups = torch.stack([log_mean_exp(g) for g in weights.chunk(min(num_samples, _NUM_GROUPS))])
    lead = highest - second
    runner_up = runner_up.clamp(max=num_candidates - 1)  # none where there is one candidate
    lead_error = _standard_error(groups[:, best] - groups[:, runner_up])
    close = lead.isfinite() & (lead > 0.0) & ~(lead >= 2.0 * lead_error)
    if bool(close.any()):
        at = int(close.nonzero()[0])
        warnings.warn(
            f"the best candidate of {int(close.sum())} of {num_wholes} wholes leads by less than "
            f"two standard errors (whole {at}: {float(lead[at]):.2g} nats, standard error "
            f"{float(lead_error[at]):.2g}): raise num_samples (got {num_samples})",
            stacklevel=3,  # the caller of what no_grad wraps
        )
    return Ranking(
        log_likelihood=log_likelihood,
        standard_error=_standard_error(groups),
        log_posterior=shifted - candidates.broadcast(evidence),
        candidate_batch=candidates.batch,
        best=best,
        lead=lead,
        lead_error=lead_error,
    )


def _highest(values: Tensor, candidates: PackedParts) -> tuple[Tensor, Tensor]:
    """Return the highest value of each whole, and the first candidate that reaches it."""
    highest = scatter(values, candidates.batch, 0, candidates.batch_size, reduce="max")
    number = torch.arange(len(values), device=values.device)
    order = torch.where(values == candidates.broadcast(highest), number, len(number))
    return highest, scatter(order, candidates.batch, 0, candidates.batch_size, reduce="min")


def _standard_error(groups: Tensor) -> Tensor:
    """Return the standard error of the mean of groups, ``[G, ...]``; ``inf`` for one group."""
    if groups.shape[0] == 1:
        return torch.full_like(groups[0], math.inf)
    return groups.std(dim=0) / math.sqrt(groups.shape[0])
