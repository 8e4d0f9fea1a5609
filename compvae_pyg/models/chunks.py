"""Work on many wholes in chunks, whose size does not change what is drawn.

Noise does not depend on chunks: it comes in blocks of one size, or from a source for each whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from compvae_pyg.distributions.noise import Noise, split_rows
from compvae_pyg.distributions.normal import (
    LogVarianceNormal,
    root,
    sample_each,
    standard_normal,
)
from compvae_pyg.distributions.sum_controlled_normal import SumControlledNormal
from compvae_pyg.models.encoder import CompVAEEncoder, Posterior
from compvae_pyg.nn import Fields, GraphBlock, PackedParts
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
    "Block",
    "CountSums",
    "Input",
    "LongWhole",
    "Sums",
    "check_chunks",
    "copies",
    "decode",
    "decode_all",
    "draw_w",
    "generate",
    "infer",
    "inputs",
    "shifted",
    "split",
    "sums_of_counts",
]

AnySums: TypeAlias = Union[Tensor, "Sums", "CountSums"]

_PARTS = 8  # parts that may pass the networks for each whole that may


def split(parts: PackedParts, chunk_size: int) -> Iterator[tuple[slice, PackedParts]]:
    """Yield pieces of ``chunk_size`` wholes, fewer where they have more than 8 parts on average."""
    check_count(chunk_size, "chunk_size")
    return parts.split(chunk_size, _PARTS * chunk_size)


def copies(parts: PackedParts, chunk_size: int) -> int:
    """Return how many copies of parts may pass the networks at a time, by the same measure."""
    size = max(1, parts.batch_size, -(-parts.num_parts // _PARTS))
    return max(1, chunk_size // size)


def draw_w(
    network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
) -> Tensor:
    """Draw the latents of parts, with gradients, the same as those of :class:`Sums`."""
    blocks = [slice(None)] if torch.is_grad_enabled() else list(split_rows(parts.num_parts))
    noise: Noise | None = None
    for rows in blocks:
        some = parts if len(blocks) == 1 else parts.rows(rows, slice(0, parts.batch_size))
        prior = network.prior_w(some)
        noise = noise or Noise(parts.num_parts, prior.mean, generator)
        w = prior.mean + prior.stddev * noise[rows]
        if len(blocks) == 1:
            return w
        if rows.start == 0:
            out = w.new_empty(parts.num_parts, w.shape[1])
        out[rows] = w
    return out


class Sums:
    """Sums of the latents of parts, ``[S, D_w]``, drawn from the prior when they are asked for."""

    def __init__(
        self, network: CompVAEGenerator, parts: PackedParts, generator: torch.Generator | None
    ) -> None:
        self.network, self.parts, self.generator = network, parts, generator
        self._noise: Noise | None = None

    def __len__(self) -> int:
        return self.parts.batch_size

    @cached_property
    def _starts(self) -> list[int]:
        sizes = torch.bincount(self.parts.batch, minlength=len(self))
        return [0, *sizes.cumsum(0).tolist()]

    def __getitem__(self, sets: slice) -> Tensor:
        """Return the sums of consecutive sets."""
        chunk, first = self.parts, 0
        if sets != slice(0, len(self)):
            first, end = self._starts[sets.start], self._starts[sets.stop]
            chunk = chunk.rows(slice(first, end), sets)
        blocks, total = list(split_rows(chunk.num_parts)), None
        for rows in blocks:
            some, start = chunk, 0
            if len(blocks) > 1:
                some, start = chunk.rows(rows), int(chunk.batch[rows.start])
            prior = self.network.prior_w(some)
            if self._noise is None:
                self._noise = Noise(self.parts.num_parts, prior.mean, self.generator)
            noise = self._noise[first + rows.start : first + rows.stop]
            own = some.weighted_sum(prior.mean + prior.stddev * noise)
            if len(blocks) == 1:
                return own
            if total is None:
                total = own.new_zeros(chunk.batch_size, own.shape[1], dtype=torch.float64)
            total[start : start + some.batch_size] += own
        assert total is not None
        return total.to(own.dtype)


class CountSums:
    """Sums of the latents of so many parts of each kind, likewise."""

    def __init__(
        self,
        network: CompVAEGenerator,
        counts: Tensor,
        parts: PackedParts,
        generator: torch.Generator | None,
    ) -> None:
        self.network, self.counts, self.parts = network, counts, parts
        self.generator = generator
        self._noise: Noise | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, sets: slice) -> Tensor:
        """Return the sums of consecutive sets."""
        prior = self.network.counts_prior(self.counts[sets], self.parts)
        if self._noise is None:
            self._noise = Noise(len(self), prior.mean, self.generator)
        return prior.mean + prior.stddev * self._noise[sets]


def sums_of_counts(
    network: CompVAEGenerator,
    counts: Tensor,
    parts: PackedParts,
    context: Fields | None,
    generator: torch.Generator | None,
) -> tuple[Sums | CountSums, Fields | None]:
    """Return the sums of the latents of so many parts of each kind.

    They come with the context of the wholes, checked, on which the latents of kinds may depend.
    """
    check_counts_matrix(counts, parts.num_parts, parts.device)
    if context is None:
        return CountSums(network, counts, parts, generator), None
    rows = parts.repeat(len(counts))
    options: Any = {"count": counts.flatten(), "weight": rows.weight, "context": context}
    packed = network.pack(rows.fields, rows.batch, rows.batch_size, **options)
    return Sums(network, packed, generator), packed.context


def generate(
    model: Any,
    w_sum: AnySums,
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
    w_sum: AnySums,
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


class Input(NamedTuple):
    """What the encoder is called with for some wholes: features of them, and of their parts.

    ``part_noise`` is that of the features of all parts, if the encoder takes any.
    """

    sets: slice
    rows: slice
    parts: PackedParts
    features: tuple[Tensor, Tensor]
    z_eps: Tensor | None = None
    part_noise: Any = None

    @property
    def eps(self) -> dict[str, Tensor | None]:
        """Noise, by the names of the encoder's arguments."""
        more = {} if self.part_noise is None else {"part_eps": self.part_noise[self.rows]}
        return {"z_eps": self.z_eps, **more}

    def is_long(self, model: Any, chunk_size: int) -> bool:
        """Return whether these are parts of one whole, too many to pass together."""
        return LongWhole.takes(model.encoder, self.parts, _PARTS * chunk_size)

    def long(self, model: Any) -> LongWhole:
        """Return them as a whole that passes in blocks of parts."""
        assert self.z_eps is not None
        part_eps = None if self.part_noise is None else shifted(self.part_noise, self.rows.start)
        return LongWhole(model, self.parts, self.features, self.z_eps, part_eps)


def inputs(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    chunk_size: int,
    generator: torch.Generator | None,
) -> Iterator[Input]:
    """Yield pieces, whose noise is that of all when the first ones pass."""
    check_count(chunk_size, "chunk_size")
    check_generator(generator, parts.device)
    start, z_eps, noise = 0, None, None
    for sets, chunk in split(parts, chunk_size):
        rows = slice(start, start + chunk.num_parts)
        features = model._features(whole[sets], chunk)
        if z_eps is None:
            like = at_least_float32(features[0]).new_empty(len(whole), model.encoder.z_channels)
            z_eps = standard_normal(like, generator)
            if getattr(model.encoder, "part_noise", True):
                noise = Noise(parts.num_parts, features[1], generator)
        yield Input(sets, rows, chunk, features, z_eps[sets], noise)
        start = rows.stop


def shifted(noise: Any, start: int) -> Callable[[slice], Tensor]:
    """Return a function from rows, numbered from where a chunk starts, to their noise."""
    return lambda rows: noise[start + rows.start : start + rows.stop]


def infer(
    model: Any,
    whole: Tensor,
    parts: PackedParts,
    chunk_size: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draw the latents of parts, ``[N, D_w]``, and of wholes, ``[S, D_z]``, from the posterior."""
    w: Tensor | None = None
    for given in inputs(model, whole, parts, chunk_size, generator):
        long: LongWhole | None = None
        if given.is_long(model, chunk_size):
            long, width = given.long(model), model.encoder.w_channels
            drawn = long.z
        else:
            prior = model.generator.prior_w(given.parts)
            q: Posterior = model._posterior(given.features, given.parts, prior, **given.eps)
            drawn, width = q.z_sample, q.w.loc.shape[1]
        if w is None:
            z = drawn.new_empty(len(whole), drawn.shape[1])
            w = standard_normal(z.new_empty(parts.num_parts, width), generator)
        own, z[given.sets] = w[given.rows], drawn
        if long is None:
            own[:] = q.w.transform(own)
            continue
        for block in long.posterior(own.__getitem__):
            own[block.rows] = block.transform(own[block.rows])
    assert w is not None
    return w, z


class Block(NamedTuple):
    r"""The posterior of a block of the parts of a whole.

    To the members of a block, all others are one more, the last one of ``joint``: of logit
    :math:`\log \sum_j e^{\tilde\rho_j}`, with their noise, whose standard deviation is its scale.
    """

    rows: slice
    prior: Normal
    own: SumControlledNormal
    joint: SumControlledNormal
    noise_of_others: Tensor  # [1, D_w]

    def transform(self, eps: Tensor) -> Tensor:
        """Return the latents of the block by its noise."""
        return self.joint.transform(torch.cat([eps, self.noise_of_others]))[:-1]

    def log_prob_terms(self, eps: Tensor) -> Tensor:
        """Return what the members add to the log-density of their latents, ``[n, D_w]``."""
        return self.own._log_terms(eps, self.own._log_scale)


class LongWhole:
    """The posterior of the latents of one whole and its parts, in blocks of parts.

    That bounds the memory: states of all parts are held, and neither what makes them nor latents.

    Args:
        model: The model.
        parts: The parts of one whole.
        features: Those of the whole and of its parts.
        z_eps: Noise of the latent of the whole, ``[1, D_z]``.
        part_eps: From rows to the noise of their features, where the encoder takes any.
    """

    def __init__(
        self,
        model: Any,
        parts: PackedParts,
        features: tuple[Tensor, Tensor],
        z_eps: Tensor,
        part_eps: Callable[[slice], Tensor] | None,
    ) -> None:
        encoder = model.encoder
        self.model, self.parts, self.features = model, parts, features
        self.part_eps = part_eps if encoder.part_noise else None
        self.z_posterior = encoder._z_posterior(features[0])
        self.z = self.z_posterior.loc + self.z_posterior.scale * z_eps
        self.blocks = list(split_rows(parts.num_parts))
        sums: list[Tensor] = []  # of what the parts send, known block by block of the network
        for _ in encoder.blocks:
            found = [self._pass(sums, rows)[1].sums[len(sums)] for rows in self.blocks]
            sums.append(torch.stack(found).sum(dim=0))
        self.states = [self._pass(sums, rows)[0] for rows in self.blocks]

    @staticmethod
    def takes(encoder: Any, parts: PackedParts, limit: int) -> bool:
        """Return whether parts are those of one whole, more than a limit, of such an encoder."""
        if parts.batch_size != 1 or parts.num_parts <= limit:
            return False
        if type(encoder).forward is not CompVAEEncoder.forward:
            return False
        modules = [encoder, *encoder.blocks]
        hooked = any(m._forward_hooks or m._forward_pre_hooks for m in modules)
        return not hooked and all(type(b).forward is GraphBlock.forward for b in encoder.blocks)

    def posterior(self, noise: Callable[[slice], Tensor] | None = None) -> Iterator[Block]:
        """Yield the posterior of each block, given the noise of rows, ``[n, D_w]``, if any."""
        sums = []
        for k, rows in enumerate(self.blocks):
            q = self._block(k)[1]
            eps = torch.zeros_like(q.loc) if noise is None else noise(rows)
            own, scale = eps, q.loc.new_ones(1, q.loc.shape[1])
            if q.coupling == "scaled":
                own, scale = q.scale * eps, q.scale
            logits = q.coupling_logits.double().logsumexp(dim=0)
            sums.append((logits, own.double().sum(dim=0), scale.double().square().sum(dim=0)))
        of_logits, of_noise, of_squares = map(torch.stack, zip(*sums, strict=True))
        for k, rows in enumerate(self.blocks):
            prior, q = self._block(k)
            block = torch.arange(len(self.blocks), device=of_noise.device).unsqueeze(1) == k
            logits = of_logits.masked_fill(block, -torch.inf).logsumexp(dim=0)
            others = of_noise.masked_fill(block, 0.0).sum(dim=0)
            scale = root(of_squares.masked_fill(block, 0.0).sum(dim=0))
            if q.coupling == "paper":
                scale = torch.ones_like(scale)
            scale = torch.where(scale > 0.0, scale, 1.0)  # where there are no others
            more = torch.zeros_like(scale), scale, logits, others / scale
            loc, scale, logits, eps = (v.to(q.loc.dtype).unsqueeze(0) for v in more)
            pairs = (q.loc, loc), (q.scale, scale), (q.coupling_logits, logits)
            values = [torch.cat(pair) for pair in pairs]
            joint = SumControlledNormal(values[0], values[1], values[2], None, 1, q.coupling, False)
            if q.coupling == "paper":  # where the others count one by one
                number = scale.new_full((1, 1), self.parts.num_parts - 1.0)
                joint._noise_of_others = number.sqrt()
            yield Block(rows, prior, q, joint, eps)

    def _part_features(self, rows: slice) -> Tensor:
        features = self.features[1][rows]
        return features if self.part_eps is None else features + self.part_eps(rows).to(features)

    def _pass(self, sums: list[Tensor], rows: slice) -> tuple[Tensor, _Window]:
        window = _Window(self.parts.rows(rows, slice(0, 1)), self.parts.num_parts, sums)
        features = self._part_features(rows)
        return self.model.encoder._states(self.features[0], self.z, features, window), window

    def _block(self, number: int) -> tuple[Normal, SumControlledNormal]:
        rows = self.blocks[number]
        some = self.parts.rows(rows, slice(0, 1))
        prior = self.model.generator.prior_w(some)
        given = prior if self.model.residual_posterior else None
        features = self._part_features(rows)
        return prior, self.model.encoder._w_posterior(self.states[number], features, some, given)


class _Window(PackedParts):
    """Some parts of one whole, to layers that see of the others no more than sums over all.

    Args:
        parts: These parts.
        num_all: Number of all parts.
        known: The first sums over all parts, in the order in which layers ask for them; of the
            others, those of these parts alone are to be had.
    """

    def __init__(self, parts: PackedParts, num_all: int, known: list[Tensor]) -> None:
        super().__init__(parts.fields, parts.batch, 1, validate=False)
        self.num_all, self.known, self.sums = num_all, known, list[Tensor]()

    def sum(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return the sum over all parts."""
        at = len(self.sums)
        found = self.known[at] if at < len(self.known) else super().sum(values.double(), dim)
        self.sums.append(found)
        return found.to(values.dtype)

    def sizes(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the number of all parts, ``[1]``."""
        return torch.full((1,), self.num_all, dtype=dtype, device=self.device)


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
