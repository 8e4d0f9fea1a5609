"""Work on many wholes in chunks, whose size does not change what is drawn.

Noise is drawn before chunks are formed, in blocks of one size, or from a source for each whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from compvae_pyg.distributions.normal import (
    LogVarianceNormal,
    normal_sample,
    sample_each,
    standard_normal,
)
from compvae_pyg.distributions.sum_controlled_normal import SumControlledNormal
from compvae_pyg.models.encoder import CompVAEEncoder, Posterior
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import (
    check_count,
    check_counts_matrix,
    check_event,
    check_generator,
    check_type,
)
from compvae_pyg.nn.packed import map_context
from compvae_pyg.nn.rows import at_least_float32

if TYPE_CHECKING:
    from compvae_pyg.models.generator import CompVAEGenerator

__all__ = [
    "check_chunks",
    "copies",
    "decode",
    "decode_all",
    "draw_counts",
    "draw_sums",
    "draw_w",
    "encode_long",
    "generate",
    "infer",
    "inputs",
    "is_long",
    "split",
    "split_rows",
    "stream",
]

_ROWS = 4096  # rows of noise that are drawn at a time
_PARTS = 8  # parts that may pass the networks for each whole that may


def split(parts: PackedParts, chunk_size: int) -> Iterator[tuple[slice, PackedParts]]:
    """Yield pieces of ``chunk_size`` wholes, fewer where they have more than 8 parts on average."""
    check_count(chunk_size, "chunk_size")
    return parts.split(chunk_size, _PARTS * chunk_size)


def copies(parts: PackedParts, chunk_size: int) -> int:
    """Return how many copies of parts may pass the networks at a time, by the same measure."""
    size = max(1, parts.batch_size, -(-parts.num_parts // _PARTS))
    return max(1, chunk_size // size)


def split_rows(num_rows: int, size: int) -> Iterator[slice]:
    """Yield slices of so many rows; one, which is empty, of none."""
    for start in range(0, max(1, num_rows), size):
        yield slice(start, min(start + size, num_rows))


def draw_w(
    network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
) -> Tensor:
    """Draw the latents of parts, with gradients, the same as :func:`draw_sums` does."""
    if not torch.is_grad_enabled() and parts.num_parts > _ROWS:
        return torch.cat([w for _, w in _draw_blocks(network, parts, generator)])
    prior = network.prior_w(parts)
    blocks = [standard_normal(rows, generator) for rows in prior.mean.split(_ROWS)]
    return prior.mean + prior.stddev * (torch.cat(blocks) if len(blocks) > 1 else blocks[0])


def draw_sums(
    network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
) -> Tensor:
    """Draw the latents of parts and return their sums, ``[S, D_w]``."""
    if parts.num_parts <= _ROWS:
        return parts.weighted_sum(draw_w(network, parts, generator))
    total: Tensor | None = None
    for block, w in _draw_blocks(network, parts, generator):
        if total is None:
            total = w.new_zeros(parts.batch_size, w.shape[1], dtype=torch.float64)
        first = int(parts.batch[block.start])
        some = parts.rows(block)
        total[first : first + some.batch_size] += some.weighted_sum(w)
        dtype = w.dtype
    assert total is not None
    return total.to(dtype)


def _draw_blocks(
    network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
) -> Iterator[tuple[slice, Tensor]]:
    for rows in split_rows(parts.num_parts, _ROWS):
        prior = network.prior_w(parts.rows(rows))
        yield rows, prior.mean + prior.stddev * standard_normal(prior.mean, generator)


def draw_counts(
    network: CompVAEGenerator,
    counts: Tensor,
    parts: PackedParts,
    context: Fields | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Fields | None]:
    """Draw the sums of the latents of so many parts of each kind, ``[S, D_w]``.

    They come with the context of the wholes, checked, on which the latents of kinds may depend.
    """
    check_counts_matrix(counts, parts.num_parts, parts.device)
    if context is None:
        some = (counts[rows] for rows in split_rows(len(counts), _ROWS))
        drawn = [normal_sample(network.counts_prior(n, parts), generator) for n in some]
        return torch.cat(drawn), None
    rows = parts.repeat(len(counts))
    options: Any = {"count": counts.flatten(), "weight": rows.weight, "context": context}
    packed = network.pack(rows.fields, rows.batch, rows.batch_size, **options)
    return draw_sums(network, packed, generator), packed.context


def generate(
    model: Any,
    w_sum: Tensor,
    context: Fields | None,
    chunk_size: int,
    observation_noise: bool | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw wholes of a model by the sums of the latents of their parts, ``[S, *event]``."""
    how: Any = {"chunk_size": chunk_size, "observation_noise": observation_noise}
    how |= {"context": context, "generator": generator}
    if how["observation_noise"] is None:
        how["observation_noise"] = model.observation_noise
    return decode(model.generator, w_sum, model.event_shape, **how)


def decode(
    network: CompVAEGenerator,
    w_sum: Tensor,
    event_shape: tuple[int, ...] | None,
    *,
    context: Fields | None,
    chunk_size: int,
    observation_noise: bool,
    generator: torch.Generator | None,
    z_of: Callable[[Tensor, slice], Tensor] | None = None,
) -> Tensor:
    """Decode sums, and latents of wholes that are functions of them or else drawn, in chunks."""
    out: Tensor | None = None
    seed = 0
    z_eps: Tensor | None = None

    def draw_z(some: Tensor, rows: slice) -> Tensor:
        nonlocal z_eps
        prior = network.prior_z(some, map_context(itemgetter(rows), context))
        if z_eps is None:
            z_eps = standard_normal(
                prior.mean.new_empty(len(w_sum), prior.mean.shape[1]), generator
            )
        return prior.mean + prior.stddev * z_eps[rows]

    for rows in split_rows(len(w_sum), chunk_size):
        some = w_sum[rows]
        of_some = map_context(itemgetter(rows), context)
        likelihood = network.likelihood(some, (z_of or draw_z)(some, rows), of_some)
        if event_shape is not None:
            check_event(likelihood, event_shape)
        if observation_noise:
            if out is None:
                source = torch.device("cpu") if generator is None else generator.device
                seed = int(torch.randint(2**62, (), generator=generator, device=source))
            value = sample_each(likelihood, range(seed + rows.start, seed + rows.stop))
        else:
            value = likelihood.mean
        if len(some) == len(w_sum):
            return value
        if out is None:
            out = value.new_empty(len(w_sum), *value.shape[1:])
        out[rows] = value
    assert out is not None
    return out


def inputs(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    chunk_size: int,
    generator: torch.Generator | None,
) -> Iterator[tuple[slice, slice, PackedParts, tuple[Tensor, Tensor], dict[str, Tensor]]]:
    """Yield pieces: which wholes and rows, their parts, and what the encoder is called with.

    That is features of wholes and parts, and noise, which is that of all when the first ones pass.
    """
    check_count(chunk_size, "chunk_size")
    check_generator(generator, parts.device)
    start, eps = 0, dict[str, Tensor]()
    for sets, chunk in split(parts, chunk_size):
        rows = slice(start, start + chunk.num_parts)
        features = model._features(whole[sets], chunk)
        if start == 0 and not eps:
            like = at_least_float32(features[0]).new_empty(len(whole), model.encoder.z_channels)
            eps["z_eps"] = standard_normal(like, generator)
            if getattr(model.encoder, "part_noise", True):
                like = features[1].new_empty(parts.num_parts, features[1].shape[1])
                eps["part_eps"] = standard_normal(like, generator)
        some = {name: v[sets if name == "z_eps" else rows] for name, v in eps.items()}
        yield sets, rows, chunk, features, some
        start = rows.stop


def infer(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    chunk_size: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draw the latents of parts, ``[N, D_w]``, and of wholes, ``[S, D_z]``, from the posterior."""
    w: Tensor | None = None
    for sets, rows, chunk, features, eps in inputs(model, whole, parts, chunk_size, generator):
        long = is_long(model.encoder, chunk, chunk_size)
        q: Posterior | None = None
        if not long:
            q = model._posterior(features, chunk, model.generator.prior_w(chunk), **eps)
        if w is None:
            width = model.encoder.w_channels if q is None else q.w.loc.shape[1]
            z = eps["z_eps"].new_empty(len(whole), model.encoder.z_channels)
            w = standard_normal(z.new_empty(parts.num_parts, width), generator)
        if q is not None:
            w[rows], z[sets] = q.w.transform(w[rows]), q.z_sample
            continue
        known, own = encode_long(model.encoder, features, chunk, **eps), w[rows]
        for block, _, drawn, _ in stream(model, chunk, known, own):
            own[block] = drawn
        z[sets] = known.z
    assert w is not None
    return w, z


def is_long(encoder: Any, parts: PackedParts, chunk_size: int) -> bool:
    """Return whether these are parts of one whole, too many to pass :func:`stream` together."""
    hooked = bool(getattr(encoder, "_forward_hooks", True) or encoder._forward_pre_hooks)
    own = type(encoder).forward is CompVAEEncoder.forward and not hooked
    return own and parts.batch_size == 1 and parts.num_parts > _PARTS * chunk_size


class Encoded(NamedTuple):
    """What is known of a whole of many parts before the latents of these are."""

    z_posterior: Normal
    z: Tensor
    parts: Tensor
    states: Tensor


def encode_long(
    encoder: CompVAEEncoder,
    features: tuple[Tensor, Tensor],
    sets: PackedParts,
    z_eps: Tensor,
    part_eps: Tensor | None = None,
) -> Encoded:
    """Return what :func:`stream` needs of features of a whole and its parts."""
    whole, parts = features
    z_posterior = encoder._z_posterior(whole)
    z = z_posterior.loc + z_posterior.scale * z_eps
    parts = parts if part_eps is None or not encoder.part_noise else parts + part_eps
    return Encoded(z_posterior, z, parts, encoder._states(whole, z, parts, sets))


def stream(
    model: Any, parts: PackedParts, known: Encoded, eps: Tensor
) -> Iterator[tuple[slice, Normal, Tensor, Tensor]]:
    r"""Yield the latents of the parts of one whole in blocks of rows, which bounds the memory.

    To the members of a block, all others are one more of logit
    :math:`\log \sum_j e^{\tilde\rho_j}`, scale 1 and the sum of their noise.

    Args:
        model: The model.
        parts: The parts of one whole.
        known: What :func:`encode_long` returns.
        eps: Noise of the latents, ``[N, D_w]``.

    Yields:
        Which rows, their prior, their latents, and the terms of their log-density, ``[D_w]``, of
        which the last ones have that of the whole as well.
    """
    encode = model.encoder._w_posterior

    def infer(rows: slice) -> tuple[Normal, SumControlledNormal]:
        some = parts.rows(rows, slice(0, 1))
        prior = model.generator.prior_w(some)
        given = prior if model.residual_posterior else None
        return prior, encode(known.states[rows], known.parts[rows], some, given)

    blocks, sums = list(split_rows(parts.num_parts, _ROWS)), []
    for rows in blocks:
        q = infer(rows)[1]
        own = eps[rows] if q.coupling == "paper" else q.scale * eps[rows]
        sums.append((q.coupling_logits.double().logsumexp(dim=0), own.double().sum(dim=0)))
    logits, noise = (torch.stack(column) for column in zip(*sums, strict=True))
    for k, rows in enumerate(blocks):
        prior, q = infer(rows)
        block = torch.arange(len(blocks), device=logits.device).unsqueeze(1) == k
        others = logits.masked_fill(block, -torch.inf).logsumexp(dim=0), noise.sum(dim=0) - noise[k]
        logit, other = (value.to(eps.dtype).unsqueeze(0) for value in others)
        more = torch.zeros_like(other), torch.ones_like(other), logit
        ours = zip((q.loc, q.scale, q.coupling_logits), more, strict=True)
        loc, scale, logits_of = map(torch.cat, ours)
        joint = SumControlledNormal(loc, scale, logits_of, None, 1, q.coupling, False)
        w = joint.transform(torch.cat([eps[rows], other]))[:-1]
        log_q = q._log_terms(eps[rows], q._log_scale).double().sum(dim=0)
        yield rows, prior, w, log_q - joint.log_null[0] if rows is blocks[-1] else log_q


def decode_all(
    network: CompVAEGenerator,
    w_sum: Tensor,
    z: Tensor,
    context: Fields | None = None,
    chunk_size: int = 1024,
) -> Distribution:
    """Return the likelihood of all wholes: in chunks where no gradients flow and it can be."""

    def decode(rows: slice) -> Distribution:
        return network.likelihood(w_sum[rows], z[rows], map_context(itemgetter(rows), context))

    first, *others = split_rows(len(w_sum), chunk_size)
    if torch.is_grad_enabled() or not others or _cat([likelihood := decode(first)]) is None:
        return decode(slice(None))
    joined = _cat([likelihood, *map(decode, others)])
    assert joined is not None
    return joined


def _cat(pieces: Sequence[Any]) -> Distribution | None:
    """Return distributions as one batch, or None where they are not of a known kind."""
    first = pieces[0]
    if isinstance(first, Independent):
        base = _cat([piece.base_dist for piece in pieces])
        return base and Independent(base, first.reinterpreted_batch_ndims, validate_args=False)
    spread = {Normal: "scale", LogVarianceNormal: "log_variance"}.get(type(first))
    if spread is None or getattr(first, spread).shape[:1] != first.loc.shape[:1]:
        return None
    values = (torch.cat([getattr(piece, name) for piece in pieces]) for name in ("loc", spread))
    return type(first)(*values, validate_args=False)


def check_chunks(chunk_size: Any, observation_noise: Any) -> None:
    """Raise unless these say how wholes are decoded."""
    check_count(chunk_size, "chunk_size")
    check_type(observation_noise, "observation_noise", bool, type(None))
