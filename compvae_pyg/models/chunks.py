"""Work on many wholes in chunks, whose size does not change what is drawn.

Noise is drawn before chunks are formed, in blocks of one size, or from a source for each whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.normal import normal_sample, sample_each, standard_normal
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import (
    check_count,
    check_counts_matrix,
    check_event,
    check_generator,
    check_shape,
    check_type,
)
from compvae_pyg.nn.packed import map_context

if TYPE_CHECKING:
    from compvae_pyg.models.generator import CompVAEGenerator

__all__ = [
    "check_chunks",
    "copies",
    "decode",
    "draw_sums",
    "draw_w",
    "infer",
    "split",
    "split_rows",
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


def draw_w(prior: Normal, generator: torch.Generator | None) -> Tensor:
    """Draw latents of rows, with gradients, as :func:`draw_sums` does."""
    blocks = [standard_normal(rows, generator) for rows in prior.mean.split(_ROWS)]
    return prior.mean + prior.stddev * (torch.cat(blocks) if len(blocks) > 1 else blocks[0])


def draw_sums(
    network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
) -> Tensor:
    """Draw the latents of parts and return their sums, ``[S, D_w]``."""
    if parts.num_parts <= _ROWS:
        return parts.weighted_sum(draw_w(network.prior_w(parts), generator))
    total: Tensor | None = None
    for rows in split_rows(parts.num_parts, _ROWS):
        block = parts.rows(rows)
        w_sum = block.weighted_sum(draw_w(network.prior_w(block), generator))
        if total is None:
            total = torch.zeros(
                parts.batch_size, w_sum.shape[1], dtype=torch.float64, device=w_sum.device
            )
        first = int(parts.batch[rows.start])
        total[first : first + block.batch_size] += w_sum
        dtype = w_sum.dtype
    assert total is not None
    return total.to(dtype)


def draw_counts(
    network: CompVAEGenerator,
    counts: Tensor,
    parts: PackedParts,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw the sums of the latents of so many parts of each kind, ``[S, D_w]``."""
    check_counts_matrix(counts, parts.num_parts, parts.device)
    blocks = [counts[rows] for rows in split_rows(len(counts), _ROWS)]
    return torch.cat([normal_sample(network.counts_prior(n, parts), generator) for n in blocks])


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


def infer(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    chunk_size: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draw the latents of parts, ``[N, D_w]``, and of wholes, ``[S, D_z]``, from the posterior."""
    check_count(chunk_size, "chunk_size")
    check_generator(generator, parts.device)
    noise: dict[str, Tensor] = {}

    def draw(name: str, rows: int, like: Tensor, width: int, some: slice) -> Tensor:
        if name not in noise:  # of all wholes, when the first ones pass
            noise[name] = standard_normal(like.new_empty(rows, width), generator)
        return noise[name][some]

    start = 0
    for sets, chunk in split(parts, chunk_size):
        rows = slice(start, start + chunk.num_parts)
        features = model._features(whole[sets], chunk)
        prior = model.generator.prior_w(chunk)
        given: dict[str, Any] = {"w_prior": prior if model.residual_posterior else None}
        encoder, widths = model.encoder, (prior.loc.shape[1], features[1].shape[1])
        given["z_eps"] = draw("z", len(whole), prior.loc, encoder.z_channels, sets)
        if getattr(encoder, "part_noise", True):
            given["part_eps"] = draw("part", parts.num_parts, features[1], widths[1], rows)
        q = encoder(*features, chunk, **given)
        check_shape(prior.loc, "w_prior's result", q.w.loc.shape)
        eps = draw("w", parts.num_parts, prior.loc, widths[0], rows)
        noise["w"][rows] = q.w.transform(eps)
        noise["z"][sets] = q.z_sample
        start = rows.stop
    return noise["w"], noise["z"]


def check_chunks(chunk_size: Any, observation_noise: Any) -> None:
    """Raise unless these say how wholes are decoded."""
    check_count(chunk_size, "chunk_size")
    check_type(observation_noise, "observation_noise", bool)
