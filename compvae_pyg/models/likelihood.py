"""The likelihood of wholes by importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.normal import standard_normal
from compvae_pyg.nn import PackedParts

__all__ = ["CommonNoise", "importance_log_weights", "log_mean_exp"]


@dataclass(frozen=True)
class CommonNoise:
    """Noise that the latents of all sets have in common: equal sets get equal estimates.

    A part's noise depends on the number of the sample and on the part's place in its set alone.

    Attributes:
        seed: Seed of it.
        max_size: Number of parts of the largest set.
    """

    seed: int
    max_size: int

    def __call__(
        self, parts: PackedParts, samples: range, channels: tuple[int, int, int], like: Tensor
    ) -> list[Tensor]:
        """Return noise of wholes, of parts, and of the features of parts, as for ``samples``."""
        sizes = torch.bincount(parts.batch, minlength=parts.batch_size)
        start = sizes.cumsum(0) - sizes
        place = torch.arange(parts.num_parts, device=parts.device) - start[parts.batch]
        shapes = [(1, channels[0]), (self.max_size, channels[1]), (self.max_size, channels[2])]

        def draw(sample: int) -> list[Tensor]:
            generator = torch.Generator(like.device).manual_seed(self.seed + sample)
            return [standard_normal(like.new_empty(shape), generator) for shape in shapes]

        of_z, *of_parts = (torch.stack(rows) for rows in zip(*map(draw, samples), strict=True))
        z_eps = of_z.expand(-1, parts.batch_size, -1).flatten(0, 1)
        return [z_eps, *(table[:, place].flatten(0, 1) for table in of_parts)]


@torch.no_grad()
def importance_log_weights(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    num_samples: int,
    chunk_size: int,
    *,
    generator: torch.Generator | None = None,
    common: CommonNoise | None = None,
) -> Tensor:
    r"""Return :math:`\log p(x, z^m, \{w_i^m\}) - \log q(z^m, \{w_i^m\} \mid x)`, ``[M, S]``.

    What depends on no sample is computed once, and copied for as many samples as pass the other
    networks at a time. Arguments are those of :meth:`CompVAE.log_likelihood`, checked, and noise to
    use instead of that of ``generator``.
    """
    pieces = []
    for sets, chunk in parts.split(chunk_size):
        step = max(1, chunk_size // max(1, chunk.batch_size))
        wholes, blocks = whole[sets], []
        features, prior = model._features(wholes, chunk), model.generator.prior_w(chunk)
        for m in range(0, num_samples, step):
            samples = range(m, min(m + step, num_samples))
            blocks.append(_block(model, wholes, chunk, features, prior, samples, generator, common))
        pieces.append(torch.cat(blocks))
    return torch.cat(pieces, dim=1)


def _block(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    features: tuple[Tensor, Tensor],
    prior: Normal,
    samples: range,
    generator: torch.Generator | None,
    common: CommonNoise | None,
) -> Tensor:
    """Return the logarithms of the weights of some samples, ``[m, S]``."""
    times, encoder = len(samples), model.encoder
    copies = parts.with_fields({"loc": prior.loc, "scale": prior.scale}).repeat(times)
    w_prior = Normal(copies["loc"], copies["scale"], validate_args=False)
    of_whole, of_parts = (value.repeat(times, 1) for value in features)
    w_eps, given = None, dict[str, Any](generator=generator)
    if common is not None:
        channels = (encoder.z_channels, w_prior.loc.shape[1], of_parts.shape[1])
        z_eps, w_eps, part_eps = common(parts, samples, channels, w_prior.loc)
        given = {"z_eps": z_eps, "part_eps": part_eps.to(of_parts.dtype)}
    posterior = encoder(
        of_whole, of_parts, copies, w_prior=w_prior if model.residual_posterior else None, **given
    )
    w_eps = standard_normal(w_prior.loc, generator) if w_eps is None else w_eps
    w = posterior.w.transform(w_eps)
    log_p = copies.sum(w_prior.log_prob(w).sum(dim=-1))
    log_q = posterior.w.log_prob_from_eps(w_eps).sum(dim=-1)
    wholes = whole.repeat(times, *[1] * (whole.dim() - 1))
    terms = model.bound(wholes, posterior, copies.weighted_sum(w), log_q - log_p)
    return terms.elbo.view(times, -1)


def log_mean_exp(log_weights: Tensor) -> Tensor:
    r"""Return :math:`\log \frac1M \sum_m e^{v_m}` of ``[M, ...]``."""
    return log_weights.logsumexp(dim=0) - math.log(log_weights.shape[0])
