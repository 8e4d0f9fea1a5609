"""The latents of wholes, and the operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from compvae_pyg.distributions.normal import normal_sample, standard_normal
from compvae_pyg.models.chunks import check_chunks, decode, decode_all
from compvae_pyg.models.generator import CompVAEGenerator
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import (
    check_alike,
    check_device,
    check_generator,
    check_index,
    check_real,
    check_shape,
    check_type,
    check_union,
)
from compvae_pyg.nn.packed import map_context

__all__ = ["Composition"]

Index: TypeAlias = Tensor | Sequence[int] | int


@dataclass(frozen=True, eq=False, repr=False)
class Composition:
    r"""Wholes as their parts and latents, to which parts can be added and from which they can go.

    .. math::
        \tilde w = \sum_i a_i w_i, \qquad
        z = \mu_z(\tilde w) + \sigma_z(\tilde w)\, \varepsilon_z

    :meth:`CompVAE.compose` makes one from parts, :meth:`CompVAE.infer` from wholes and their parts.
    Nothing in it changes: an operation returns another composition, in which the parts that it does
    not touch have the latents they had, bit for bit, and :math:`z` the noise it had, so that a
    whole changes no more than its parts do. The parts of a set may come in any order; new ones go
    to the end of their set. A whole that has lost all parts stays, with :math:`\tilde w = 0`.

    Parts and wholes are chosen by a mask, ``[N]`` or ``[S]``, or by their numbers, one or several.
    Random numbers come from ``generator``, by default the global source.

    Attributes:
        generator: The generative network whose latents these are.
        parts: The parts, with their counts and weights.
        w: Latents of the parts, ``[N, D_w]``; of a row that stands for several, their sum.
        z_eps: Noise :math:`\varepsilon_z` behind the latents of the wholes, ``[S, D_z]``.

    Raises:
        TypeError, ValueError: By all methods, with its name, if an argument is of another type, out
            of range or does not fit the others.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> site = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
        >>> one = Dots().build("small").compose(site)
        >>> two = one.add({"color": torch.tensor([2]), "pos": torch.full((1, 2), 0.5)})
        >>> two
        Composition(num_parts=2, batch_size=1, w_channels=1920, z_channels=4)
        >>> torch.equal(two.remove(1).w, one.w)
        True
    """

    generator: CompVAEGenerator
    parts: PackedParts
    w: Tensor
    z_eps: Tensor

    def __post_init__(self) -> None:
        check_type(self.generator, "generator", CompVAEGenerator)
        check_type(self.parts, "parts", PackedParts)
        for name, rows in (("w", self.num_parts), ("z_eps", self.batch_size)):
            value = getattr(self, name)
            check_real(value, name)
            check_shape(value, name, (rows, "D"))
            check_device(value, name, self.parts.device, "the parts")

    @property
    def batch(self) -> Tensor:
        """Set of each part, ``[N]``, sorted."""
        return self.parts.batch

    @property
    def batch_size(self) -> int:
        """Number of wholes :math:`S`."""
        return self.parts.batch_size

    @property
    def num_parts(self) -> int:
        """Number of rows :math:`N`."""
        return self.parts.num_parts

    @property
    def w_sum(self) -> Tensor:
        r"""Latents of the aggregates, :math:`\tilde w = \sum_i a_i w_i`, ``[S, D_w]``."""
        return self.parts.weighted_sum(self.w)

    @property
    def z(self) -> Tensor:
        r"""Latents of the wholes, ``[S, D_z]``."""
        return self._z(self.w_sum)

    @property
    def w_eps(self) -> Tensor:
        r"""Noise behind the latents of the parts, :math:`(w_i - m_{\ell_i}) / s_{\ell_i}`.

        Standard normal in compositions of parts; in those of wholes it is what was inferred of the
        parts beyond their labels, ``[N, D_w]``.
        """
        prior = self.generator.prior_w(self.parts)
        return (self.w - prior.mean) / prior.stddev

    def decode(self) -> Distribution:
        r"""Return :math:`p(x \mid z, \tilde w)`, of batch shape ``[S]``.

        Under :func:`torch.no_grad` a Gaussian one is made of 1024 wholes at a time, which bounds
        the memory of what the networks compute.
        """
        w_sum = self.w_sum
        return decode_all(self.generator, w_sum, self._z(w_sum), self.parts.context)

    def decode_mean(self, chunk_size: int = 1024) -> Tensor:
        """Return the mean of :meth:`decode`, ``[S, *event]``, of so many wholes at a time.

        Without gradients; the memory of what the networks compute is bounded.
        """
        return self._decode(chunk_size, False, None)

    def sample(self, generator: torch.Generator | None = None, *, chunk_size: int = 1024) -> Tensor:
        r"""Draw wholes from :math:`p(x \mid z, \tilde w)`, ``[S, *event]``, without gradients.

        They are decoded ``chunk_size`` at a time; what is drawn does not depend on it.
        """
        return self._decode(chunk_size, True, generator)

    @torch.no_grad()
    def _decode(self, chunk_size: int, noise: bool, generator: torch.Generator | None) -> Tensor:
        check_chunks(chunk_size, noise)
        check_generator(generator)
        given: Any = {"observation_noise": noise, "generator": generator, "z_of": self._z}
        given |= {"context": self.parts.context, "chunk_size": chunk_size}
        return decode(self.generator, self.w_sum, None, **given)

    def add(
        self,
        parts: PackedParts | Fields,
        batch: Tensor | int | None = None,
        *,
        w: Tensor | None = None,
        count: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Composition:
        r"""Add parts.

        Args:
            parts: Descriptions of M parts, of the fields of those that are there.
            batch: Set that each of them joins, ``[M]``, in any order, or one for all. It may be
                left out if there is only one, or if packed parts say it.
            w: Their latents, ``[M, D_w]``; by default drawn from :math:`p(w \mid \ell)`.
            count, weight: Those of the parts, ``[M]``; by default 1.
        """
        new = self.generator.pack(parts, count=count, weight=weight)
        if batch is not None or not isinstance(parts, PackedParts):
            if batch is None and self.batch_size != 1:
                raise ValueError(f"batch must name one of {self.batch_size} sets (got None)")
            batch = check_index(0 if batch is None else batch, self.batch_size, new.device, "batch")
            batch = batch.expand(new.num_parts) if batch.shape[0] == 1 else batch
            check_shape(batch, "batch", (new.num_parts,))
            new = PackedParts(
                new.fields,
                batch,
                self.batch_size,
                count=new.count,
                weight=new.weight,
                context=self.parts.context,
                validate=False,
            )
        check_union(new, self.parts, "parts")
        return self._join(new, self._latents(new, w, generator))

    def remove(self, index: Index) -> Composition:
        """Take parts away."""
        return self._unpack(self._pack().without(index), self.z_eps)

    def replace(
        self,
        index: Index,
        parts: Fields,
        *,
        w: Tensor | None = None,
        keep_noise: bool = False,
        generator: torch.Generator | None = None,
    ) -> Composition:
        r"""Put other parts in the place of some, in their sets, with their counts and weights.

        Args:
            index: Which parts go, each named once.
            parts: Descriptions of those that come, as many.
            w: Their latents, ``[M, D_w]``; by default drawn from :math:`p(w \mid \ell)`.
            keep_noise: Whether those that come inherit the noise of those that go instead,
                :math:`w' = m_{\ell'} + s_{\ell'} (w - m_\ell) / s_\ell`: a part that moves, or
                changes its colour, is otherwise what it was.
        """
        index = check_index(index, self.num_parts, self.batch.device)
        new = self.generator.pack(parts)
        if index.unique().shape != index.shape:
            raise ValueError(f"index must name each part once (got {index.tolist()})")
        if new.num_parts != index.shape[0]:
            raise ValueError(f"parts must have {len(index)} rows, as index (got {new.num_parts})")
        check_alike(new.fields, self.parts.fields)
        new = self.parts.take(index).with_fields(new.fields)
        if keep_noise:
            if w is not None:
                raise ValueError("w must not be given with keep_noise=True (got both)")
            prior = self.generator.prior_w(new)
            w = prior.mean + prior.stddev * self.w_eps.index_select(0, index)
        else:
            w = self._latents(new, w, generator)
        fields = self.parts.map(lambda old, come: old.index_copy(0, index, come), new)
        return replace(self, parts=fields, w=self.w.index_copy(0, index, w))

    def merge(self, other: Composition) -> Composition:
        r"""Unite wholes set by set, ``a + b``: the parts of ``b`` join those of ``a``.

        The noise of :math:`z` stays that of ``a``, as in :meth:`add`: ``a + b - b`` is ``a``, and
        it does not matter in which order several wholes join ``a``. ``b + a`` has the same parts,
        latents and aggregate, with the noise of ``b``. Both have the same model, number of wholes
        and fields.
        """
        self._check_same(other)
        return self._join(other.parts, other.w)

    def subtract(self, other: Composition) -> Composition:
        r"""Take the parts of other wholes away set by set, ``a - b``, the reverse of :meth:`merge`.

        A part of ``b`` must be in the same set of ``a``, and is found by its latent, count and
        weight, the same to the bit; of several that are, the last ones go. The noise of :math:`z`
        stays that of ``a``.
        """
        self._check_same(other)
        left = _rows_left(self._identity(), self.batch, other._identity(), other.batch)
        return self._unpack(self._pack().take(left), self.z_eps)

    def __add__(self, other: Composition) -> Composition:
        return self.merge(other) if isinstance(other, Composition) else NotImplemented

    def __sub__(self, other: Composition) -> Composition:
        return self.subtract(other) if isinstance(other, Composition) else NotImplemented

    def select(self, sets: Index) -> Composition:
        """Return some of the wholes, in the order asked for; one may be asked for several times."""
        sets = check_index(sets, self.batch_size, self.batch.device, name="sets")
        return self._unpack(self._pack().select(sets), self.z_eps.index_select(0, sets))

    def with_latents(self, *, w: Tensor | None = None, z: Tensor | None = None) -> Composition:
        r"""Return the same parts with other latents, to which gradients flow.

        Args:
            w: Latents of the parts, ``[N, D_w]``; by default those that there are.
            z: Latents of the wholes, ``[S, D_z]``. By default they follow ``w``, with the noise
                that there is.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> chord = Sines().build("small").compose({"category": torch.tensor([0, 4])})
            >>> w = chord.w.detach().requires_grad_()
            >>> chord.with_latents(w=w).decode().mean[0].square().sum().backward()
            >>> w.grad.shape == chord.w.shape
            True
        """
        out = self
        if w is not None:
            _check_like(w, self.w, "w")
            out = replace(out, w=w)
        if z is not None:
            _check_like(z, self.z_eps, "z")
            prior = self._z_prior(out.w_sum)
            out = replace(out, z_eps=(z - prior.mean) / prior.stddev)
        return out

    def resample_z(self, generator: torch.Generator | None = None) -> Composition:
        """Draw the noise of the wholes' latents anew."""
        return replace(self, z_eps=standard_normal(self.z_eps, generator))

    def _z(self, w_sum: Tensor, rows: slice = slice(None)) -> Tensor:
        prior = self._z_prior(w_sum, rows)
        return prior.mean + prior.stddev * self.z_eps[rows]

    def _z_prior(self, w_sum: Tensor, rows: slice = slice(None)) -> Normal:
        context = map_context(itemgetter(rows), self.parts.context)
        prior = self.generator.prior_z(w_sum, context)
        check_shape(prior.loc, "z_prior's mean", (len(w_sum), *self.z_eps.shape[1:]))
        return prior

    def _latents(
        self, parts: PackedParts, w: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        # Also when latents are given: the prior knows which parts there can be.
        prior = self.generator.prior_w(parts)
        if w is None:
            return normal_sample(prior, generator)
        _check_like(w, prior.mean, "w")
        return w

    def _pack(self) -> PackedParts:
        fields = self.parts.fields
        named = {"": fields} if isinstance(fields, Tensor) else fields
        return self.parts.with_fields({**{f"part {k}": v for k, v in named.items()}, "w": self.w})

    def _unpack(self, packed: PackedParts, z_eps: Tensor) -> Composition:
        assert not isinstance(packed.fields, Tensor)
        named = {k.removeprefix("part "): v for k, v in packed.fields.items() if k != "w"}
        fields = named[""] if isinstance(self.parts.fields, Tensor) else named
        return replace(self, parts=packed.with_fields(fields), w=packed["w"], z_eps=z_eps)

    def _join(self, parts: PackedParts, w: Tensor) -> Composition:
        other = replace(self, parts=parts, w=w)
        return self._unpack(self._pack().cat(other._pack()), self.z_eps)

    def _identity(self) -> Tensor:
        """Return what tells the parts of a set apart, one row each."""
        ones = self.w.new_ones(self.num_parts)
        extra = [ones if v is None else v.to(ones) for v in (self.parts.count, self.parts.weight)]
        return torch.cat([self.w, torch.stack(extra, dim=1)], dim=1).detach()

    def _check_same(self, other: Composition) -> None:
        check_type(other, "other", Composition)
        if other.generator is not self.generator:
            raise ValueError("other must be a composition of the same model (got that of another)")
        check_union(other.parts, self.parts, "other")

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_parts={self.num_parts}, batch_size={self.batch_size}, "
            f"w_channels={self.w.shape[1]}, z_channels={self.z_eps.shape[1]})"
        )


def _check_like(value: Tensor, like: Tensor, name: str) -> None:
    check_real(value, name)
    check_shape(value, name, like.shape)
    check_device(value, name, like.device, "the parts")
    if value.dtype != like.dtype:
        raise TypeError(f"{name} must hold {like.dtype} (got {value.dtype})")


def _rows_left(values: Tensor, batch: Tensor, others: Tensor, other_batch: Tensor) -> Tensor:
    """Return the rows that are left when equal ones of others go, of several the last ones."""
    _, kind = torch.unique(torch.cat([values, others]), dim=0, return_inverse=True)
    sets = torch.cat([batch, other_batch])
    _, kind = torch.unique(torch.stack([kind, sets]), dim=1, return_inverse=True)
    mine, theirs = kind.split([len(batch), len(other_batch)])
    there, gone = (torch.bincount(rows, minlength=len(kind)) for rows in (mine, theirs))
    lacking = (gone > there).index_select(0, theirs).nonzero()
    if lacking.numel():
        at = int(lacking[0])
        got = f"got part {at}, which set {int(other_batch[at])} lacks"
        raise ValueError(f"other must have parts that are there ({got})")
    # The place of each row among its equals, of which the first ones stay.
    order = torch.argsort(mine, stable=True)
    start = there.cumsum(0) - there
    place = torch.empty_like(mine)
    place[order] = torch.arange(len(mine), device=mine.device) - start[mine[order]]
    return (place < (there - gone)[mine]).nonzero().squeeze(1)
