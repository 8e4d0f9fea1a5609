"""The likelihood of wholes by importance sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.models.chunks import repeat_batch
from compvae_pyg.models.parts import Parts
from compvae_pyg.models.weights import weighted
from compvae_pyg.nn import set_sum

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["importance_estimate"]


def importance_estimate(
    model: CompVAE,
    whole: Tensor,
    parts: Parts,
    batch: Tensor,
    weight: Tensor | None,
    *,
    num_samples: int,
    side_by_side: int,
) -> Tensor:
    """Return the estimate of :meth:`CompVAE.log_likelihood`, ``[S]``, of inputs that were checked.

    What depends on no sample is computed once, and copied for as many samples as pass the other
    networks at a time.

    Args:
        model: The model.
        whole: Wholes, ``[S, *event]``.
        parts: Parts, packed, N rows each.
        batch: Set of each part, ``[N]``, sorted.
        weight: Weight of each part, ``[N]``, or none.
        num_samples: Number of samples.
        side_by_side: Number of samples that pass the networks at a time.
    """
    batch_size, num_parts = whole.shape[0], batch.shape[0]
    copies = min(num_samples, side_by_side)
    whole_features, part_features = (
        features.repeat(copies, 1) for features in model.embedding(whole, parts, batch)
    )
    prior = model.generator.w_prior(parts)
    loc, scale = prior.mean.repeat(copies, 1), prior.stddev.repeat(copies, 1)
    wholes = whole.repeat(copies, *[1] * (whole.dim() - 1))
    batches = repeat_batch(batch, batch_size, copies)
    weights = None if weight is None else weight.repeat(copies)
    total = whole.new_full((batch_size,), -math.inf)
    for done in range(0, num_samples, copies):
        count = min(copies, num_samples - done)
        sets, rows = count * batch_size, count * num_parts
        w_prior = Normal(loc[:rows], scale[:rows], validate_args=False)
        posterior = model.encoder(
            whole_features[:sets],
            part_features[:rows],
            batches[:rows],
            sets,
            w_prior=w_prior if model.residual_posterior else None,
        )
        noise, z = torch.randn_like(posterior.w.loc), posterior.z_sample
        w = posterior.w.transform(noise)
        own = weighted(w, None if weights is None else weights[:rows])
        w_sum = set_sum(own, batches[:rows], sets)
        log_weight = (
            model.generator.decoder(w_sum, z).log_prob(wholes[:sets])
            + model.generator.z_prior(w_sum).log_prob(z).sum(dim=-1)
            + set_sum(w_prior.log_prob(w).sum(dim=-1), batches[:rows], sets)
            - posterior.z.log_prob(z).sum(dim=-1)
            - posterior.w.log_prob_from_noise(noise).sum(dim=-1)
        )
        log_weights = log_weight.view(count, batch_size)
        total = torch.logaddexp(total, log_weights.logsumexp(dim=0))
    return total - math.log(num_samples)
