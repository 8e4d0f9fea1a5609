"""The likelihood of wholes by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.noise import Noise
from compvae_pyg.models.chunks import Input, copies, shifted, split
from compvae_pyg.models.encoder import Posterior
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_count, check_generator
from compvae_pyg.nn.rows import at_least_float32

__all__ = ["CommonNoise", "importance_log_weights", "log_mean_exp"]

_BLOCK = 256  # wholes whose noise is drawn together


class Drawn(NamedTuple):
    """The noise of one sample: of wholes, of the latents of parts, and of the features of parts."""

    z: Tensor
    w: Noise | Placed
    p: Noise | Placed


@dataclass(frozen=True)
class Placed:
    """Noise of parts by the place, ``[N]``, that each has in its set."""

    table: Noise
    place: Tensor

    def __getitem__(self, rows: slice) -> Tensor:
        place = self.place[rows]
        low, high = (int(place.min()), int(place.max()) + 1) if len(place) else (0, 0)
        return self.table[low:high][place - low]


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

    def draw(
        self, parts: PackedParts, sample: int, channels: tuple[int, int, int], like: Tensor
    ) -> Drawn:
        """Return the noise of a sample."""
        sizes = torch.bincount(parts.batch, minlength=parts.batch_size)
        start = sizes.cumsum(0) - sizes
        place = torch.arange(parts.num_parts, device=parts.device) - start[parts.batch]
        generator = torch.Generator(like.device).manual_seed(self.seed + sample)
        rows = (1, self.max_size, self.max_size)
        z, w, p = (
            Noise(size, like.new_empty(0, width), generator)
            for size, width in zip(rows, channels, strict=True)
        )
        return Drawn(z[:].expand(parts.batch_size, -1), Placed(w, place), Placed(p, place))


@torch.no_grad()
def importance_log_weights(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    num_samples: int,
    chunk_size: int,
    *,
    owner: Tensor | None = None,
    generator: torch.Generator | None = None,
    common: CommonNoise | None = None,
) -> Tensor:
    r"""Return :math:`\log p(x, z^m, \{w_i^m\}) - \log q(z^m, \{w_i^m\} \mid x)`, ``[M, S]``.

    What depends on no sample is computed once, and copied for as many samples as pass the other
    networks at a time. Arguments are those of :meth:`CompVAE.log_likelihood`, checked; the whole of
    each set, where it is not that of its number; and noise to use instead of that of ``generator``,
    which is drawn sample by sample for blocks of wholes that do not depend on ``chunk_size``.
    """
    check_count(chunk_size, "chunk_size")
    check_generator(generator, parts.device)
    out = []
    for sets, block in split(parts, _BLOCK):
        some_wholes = whole[sets] if owner is None else whole[owner[sets]]
        known, start = [], 0
        for some, chunk in split(block, chunk_size):
            rows = slice(start, start + chunk.num_parts)
            features = model._features(some_wholes[some], chunk)
            known.append((some_wholes[some], Input(some, rows, chunk, features)))
            start = rows.stop
        limits = [given.is_long(model, chunk_size) for _, given in known]
        priors = [
            None if long else model.generator.prior_w(given.parts)
            for long, (_, given) in zip(limits, known, strict=True)
        ]
        width = model.encoder.w_channels if priors[-1] is None else priors[-1].loc.shape[1]
        channels = (model.encoder.z_channels, width, features[1].shape[1])
        like = at_least_float32(features[0])
        step = copies(block, chunk_size) if len(known) == 1 else 1
        for m in range(0, num_samples, step):
            samples = range(m, min(m + step, num_samples))
            if common is None:
                drawn = [_draw(block, channels, like, generator) for _ in samples]
            else:
                drawn = [common.draw(block, k, channels, like) for k in samples]
            pieces = [
                _long_block(model, *what, drawn[0])
                if prior is None
                else _block(model, *what, prior, drawn)
                for what, prior in zip(known, priors, strict=True)
            ]
            out.append((sets, m, torch.cat(pieces, dim=1)))
    result = out[0][2].new_empty(num_samples, parts.batch_size)
    for sets, m, values in out:
        result[m : m + len(values), sets] = values
    return result


def _draw(
    parts: PackedParts,
    channels: tuple[int, int, int],
    like: Tensor,
    generator: torch.Generator | None,
) -> Drawn:
    """Return the noise of one sample."""
    of_z, of_w, of_p = (like.new_empty(0, width) for width in channels)
    z = Noise(parts.batch_size, of_z, generator)
    p = Noise(parts.num_parts, of_p, generator)
    return Drawn(z[:], Noise(parts.num_parts, of_w, generator), p)


def _block(
    model: Any, whole: Tensor, given: Input, prior: Normal, drawn: Sequence[Drawn]
) -> Tensor:
    """Return the logarithms of the weights of some samples, ``[m, S]``."""
    times = len(drawn)
    rows = given.parts.with_fields({"loc": prior.loc, "scale": prior.scale})
    rows = rows.repeat(times) if times > 1 else rows
    w_prior = Normal(rows["loc"], rows["scale"], validate_args=False)
    of_whole, of_parts = (value.repeat(times, 1) for value in given.features)
    w_eps = torch.cat([noise.w[given.rows] for noise in drawn])
    posterior = model.encoder(
        of_whole,
        of_parts,
        rows,
        w_prior=w_prior if model.residual_posterior else None,
        z_eps=torch.cat([noise.z[given.sets] for noise in drawn]),
        part_eps=torch.cat([noise.p[given.rows] for noise in drawn]).to(of_parts.dtype),
    )
    w = posterior.w.transform(w_eps)
    log_p = rows.sum(w_prior.log_prob(w).sum(dim=-1))
    log_q = posterior.w.log_prob_from_eps(w_eps).sum(dim=-1)
    wholes = whole.repeat(times, *[1] * (whole.dim() - 1))
    terms = model.bound(wholes, posterior, rows.weighted_sum(w), log_q - log_p, rows.context)
    return terms.elbo.view(times, -1)


def _long_block(model: Any, whole: Tensor, given: Input, noise: Drawn) -> Tensor:
    """Return the logarithm of the weight of one sample of a whole of many parts, ``[1, 1]``."""
    long = given._replace(z_eps=noise.z[given.sets], part_noise=noise.p).long(model)
    w_eps = shifted(noise.w, given.rows.start)
    w_sum = log_ratio = torch.zeros((), dtype=torch.float64, device=whole.device)
    for block in long.posterior(w_eps):
        eps = w_eps(block.rows)
        w = block.transform(eps)
        w_sum = w_sum + given.parts.rows(block.rows, slice(0, 1)).weighted_sum(w)
        terms = block.log_prob_terms(eps).sum(dim=1) - block.prior.log_prob(w).sum(dim=1)
        log_ratio = log_ratio + terms.double().sum()
    log_ratio = log_ratio - block.joint.log_null.double().sum()
    # The ELBO needs no more of the posterior of the parts.
    posterior: Any = Posterior(long.z_posterior, long.z, None)  # type: ignore[arg-type]
    latents = w_sum.to(long.z.dtype), log_ratio.to(long.z.dtype)
    return model.bound(whole, posterior, *latents, given.parts.context).elbo.view(1, 1)


def log_mean_exp(log_weights: Tensor) -> Tensor:
    r"""Return :math:`\log \frac1M \sum_m e^{v_m}` of ``[M, ...]``."""
    return log_weights.logsumexp(dim=0) - math.log(log_weights.shape[0])
