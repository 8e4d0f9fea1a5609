"""The likelihood of wholes by importance sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.normal import standard_normal
from compvae_pyg.models.chunks import copies, encode_long, is_long, split, stream
from compvae_pyg.models.encoder import Posterior
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_count, check_generator
from compvae_pyg.nn.rows import at_least_float32

__all__ = ["CommonNoise", "importance_log_weights", "log_mean_exp"]

_BLOCK = 256  # wholes whose noise is drawn together


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
    use instead of that of ``generator``, which is drawn sample by sample for blocks of wholes that
    do not depend on ``chunk_size``.
    """
    check_count(chunk_size, "chunk_size")
    check_generator(generator, parts.device)
    out = []
    for sets, block in split(parts, _BLOCK):
        known, start = [], 0
        for some, chunk in split(block, chunk_size):
            wholes, rows = whole[sets][some], slice(start, start + chunk.num_parts)
            features = model._features(wholes, chunk)
            long = is_long(model.encoder, chunk, chunk_size)
            prior = None if long else model.generator.prior_w(chunk)
            known.append((some, rows, (wholes, chunk, features, prior)))
            start = rows.stop
        width = model.encoder.w_channels if prior is None else prior.loc.shape[1]
        channels = (model.encoder.z_channels, width, features[1].shape[1])
        like = at_least_float32(features[0])
        step = copies(block, chunk_size) if len(known) == 1 else 1
        for m in range(0, num_samples, step):
            samples = range(m, min(m + step, num_samples))
            if common is None:
                noise = _noise(block, samples, channels, like, generator)
            else:
                noise = common(block, samples, channels, like)
            z, w, p = (n.unflatten(0, (len(samples), -1)) for n in noise)
            pieces = []
            for some, rows, what in known:
                eps = [n.flatten(0, 1) for n in (z[:, some], w[:, rows], p[:, rows])]
                pieces.append(_block(model, *what, len(samples), *eps))
            out.append((sets, m, torch.cat(pieces, dim=1)))
    result = out[0][2].new_empty(num_samples, parts.batch_size)
    for sets, m, values in out:
        result[m : m + len(values), sets] = values
    return result


def _noise(
    parts: PackedParts,
    samples: range,
    channels: tuple[int, int, int],
    like: Tensor,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """Return noise of wholes, of parts, and of the features of parts, drawn sample by sample."""
    rows = (parts.batch_size, parts.num_parts, parts.num_parts)
    shapes = list(zip(rows, channels, strict=True))

    def draw(order: tuple[int, ...] = (0, 2, 1)) -> list[Tensor]:
        drawn = {k: standard_normal(like.new_empty(shapes[k]), generator) for k in order}
        return [drawn[k] for k in range(3)]

    if len(samples) == 1:  # not copied, which is as large as the latents
        return draw()
    return [torch.cat(n) for n in zip(*(draw() for _ in samples), strict=True)]


def _block(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    features: tuple[Tensor, Tensor],
    prior: Normal | None,
    times: int,
    z_eps: Tensor,
    w_eps: Tensor,
    part_eps: Tensor,
) -> Tensor:
    """Return the logarithms of the weights of some samples, ``[m, S]``."""
    if prior is None:  # one whole, at one sample
        return _long_block(model, whole, parts, features, z_eps, w_eps, part_eps)
    rows = parts.with_fields({"loc": prior.loc, "scale": prior.scale})
    rows = rows.repeat(times) if times > 1 else rows
    w_prior = Normal(rows["loc"], rows["scale"], validate_args=False)
    of_whole, of_parts = (value.repeat(times, 1) for value in features)
    posterior = model.encoder(
        of_whole,
        of_parts,
        rows,
        w_prior=w_prior if model.residual_posterior else None,
        z_eps=z_eps,
        part_eps=part_eps.to(of_parts.dtype),
    )
    w = posterior.w.transform(w_eps)
    log_p = rows.sum(w_prior.log_prob(w).sum(dim=-1))
    log_q = posterior.w.log_prob_from_eps(w_eps).sum(dim=-1)
    wholes = whole.repeat(times, *[1] * (whole.dim() - 1))
    terms = model.bound(wholes, posterior, rows.weighted_sum(w), log_q - log_p, rows.context)
    return terms.elbo.view(times, -1)


def _long_block(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    features: tuple[Tensor, Tensor],
    z_eps: Tensor,
    w_eps: Tensor,
    part_eps: Tensor,
) -> Tensor:
    """Return the logarithm of the weight of one sample of a whole of many parts, ``[1, 1]``."""
    eps = {"z_eps": z_eps, "part_eps": part_eps.to(features[1].dtype)}
    known = encode_long(model.encoder, features, parts, **eps)
    w_sum = log_ratio = torch.zeros((), dtype=torch.float64, device=parts.device)
    for rows, prior, w, log_q in stream(model, parts, known, w_eps):
        w_sum = w_sum + parts.rows(rows, slice(0, 1)).weighted_sum(w)
        log_ratio = log_ratio + log_q.sum() - prior.log_prob(w).double().sum()
    # The ELBO needs no more of the posterior of the parts.
    posterior: Any = Posterior(known.z_posterior, known.z, None)  # type: ignore[arg-type]
    latents = w_sum.to(known.z.dtype), log_ratio.to(known.z.dtype)
    return model.bound(whole, posterior, *latents, parts.context).elbo.view(1, 1)


def log_mean_exp(log_weights: Tensor) -> Tensor:
    r"""Return :math:`\log \frac1M \sum_m e^{v_m}` of ``[M, ...]``."""
    return log_weights.logsumexp(dim=0) - math.log(log_weights.shape[0])
