"""The latents of wholes, and the operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution

from compvae_pyg.models.generator import (
    CompVAEGenerator,
    normal_sample,
    sample_law,
    standard_normal,
)
from compvae_pyg.models.parts import Parts, check_alike, check_index, check_parts, map_parts
from compvae_pyg.models.rows import rows_of_sets, rows_without
from compvae_pyg.models.weights import check_weight, weighted
from compvae_pyg.nn import resolve_batch, set_sum
from compvae_pyg.nn.checks import check_real

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
    whole changes no more than its parts do. ``a + b`` is :meth:`merge`, ``a - b`` is
    :meth:`subtract`.

    The parts of a set may come in any order; new ones go to the end of their set. A whole that has
    lost all parts stays, with :math:`\tilde w = 0`.

    Attributes:
        generator: The generative network whose latents these are.
        parts: Descriptions of the parts, packed, N rows each.
        batch: Set of each part, ``[N]``, sorted.
        batch_size: Number of wholes :math:`S`.
        w: Latents of the parts, ``[N, D_w]``.
        z_noise: Noise :math:`\varepsilon_z` behind the latents of the wholes, ``[S, D_z]``.
        weight: Weight :math:`a` of each part, ``[N]``; ``None`` means 1.

    Raises:
        ValueError: If a shape or a device does not fit the others.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> site = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
        >>> one = Dots().build("small").compose(site)
        >>> two = one.add({"color": torch.tensor([2]), "pos": torch.full((1, 2), 0.5)})
        >>> two
        Composition(num_parts=2, batch_size=1, w_channels=512, z_channels=16)
        >>> torch.equal(two.remove(1).w, one.w)
        True
    """

    generator: CompVAEGenerator
    parts: Parts
    batch: Tensor
    batch_size: int
    w: Tensor
    z_noise: Tensor
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        num_parts, device = check_parts(self.parts)
        resolve_batch(num_parts, self.batch, self.batch_size, device)
        for name, value, rows in (
            ("w", self.w, num_parts),
            ("z_noise", self.z_noise, self.batch_size),
        ):
            check_real(value, name)
            if value.dim() != 2 or value.shape[0] != rows:
                raise ValueError(
                    f"{name} must be a matrix of {rows} rows (got {list(value.shape)})"
                )
            if value.device != device:
                raise ValueError(
                    f"{name} must be on the parts' device (got {value.device}, not {device})"
                )
        object.__setattr__(self, "weight", check_weight(self.weight, num_parts, self.w))

    @property
    def num_parts(self) -> int:
        """Number of parts :math:`N` in all."""
        return self.batch.shape[0]

    @property
    def w_sum(self) -> Tensor:
        r"""Latents of the aggregates, :math:`\tilde w = \sum_i a_i w_i`, ``[S, D_w]``."""
        return set_sum(weighted(self.w, self.weight), self.batch, self.batch_size)

    @property
    def z(self) -> Tensor:
        r"""Latents of the wholes, ``[S, D_z]``."""
        return self._z(self.w_sum)

    @property
    def w_noise(self) -> Tensor:
        r"""Noise behind the latents of the parts, :math:`(w_i - m_{\ell_i}) / s_{\ell_i}`.

        It is standard normal in compositions of parts, and in those of wholes what the whole told
        of its parts, in units of the prior, ``[N, D_w]``.
        """
        prior = self.generator.w_prior(self.parts)
        return (self.w - prior.mean) / prior.stddev

    def decode(self) -> Distribution:
        r"""Return :math:`p(x \mid z, \tilde w)`, of batch shape ``[S]``."""
        w_sum = self.w_sum
        return self.generator.decoder(w_sum, self._z(w_sum))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw wholes from :math:`p(x \mid z, \tilde w)`, ``[S, *event]``, without gradients."""
        return sample_law(self.decode(), generator)

    def add(
        self,
        parts: Parts,
        batch: Tensor | int | None = None,
        *,
        w: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Composition:
        r"""Add parts.

        Args:
            parts: Descriptions of M parts, of the fields of those that are there.
            batch: Set that each of them joins, ``[M]``, in any order, or one for all. It may be
                left out if there is only one.
            w: Their latents, ``[M, D_w]``; by default drawn from :math:`p(w \mid \ell)`.
            weight: Their weights, ``[M]``; by default 1.
            generator: Source of the randomness; by default the global one.

        Raises:
            TypeError: If ``batch``, a field of the parts or a latent is of another type.
            ValueError: If a shape does not fit, or there is no such set.
        """
        num_new = check_alike(parts, self.parts)
        device = self.batch.device
        if batch is None:
            if self.batch_size != 1:
                raise ValueError(
                    f"batch must say which of {self.batch_size} sets the parts join (got None)"
                )
            batch = 0
        batch = check_index(batch, self.batch_size, device, name="batch")
        if batch.shape[0] == 1:
            batch = batch.expand(num_new)
        if batch.shape[0] != num_new:
            raise ValueError(
                f"batch must have one entry per part (got {batch.shape[0]}, expected {num_new})"
            )
        weight = check_weight(weight, num_new, self.w)
        return self._with_more(parts, batch, self._latents(parts, w, generator), weight)

    def remove(self, index: Index) -> Composition:
        """Take parts away.

        Args:
            index: Which parts: a mask, ``[N]``, or numbers of parts, one or several.

        Raises:
            TypeError: If ``index`` holds neither integers nor truth values.
            ValueError: If it is out of range.
        """
        index = check_index(index, self.num_parts, self.batch.device)
        stays = torch.ones_like(self.batch, dtype=torch.bool).index_fill(0, index, False)
        return self._only(stays.nonzero().squeeze(1))

    def replace(
        self,
        index: Index,
        parts: Parts,
        *,
        w: Tensor | None = None,
        keep_noise: bool = False,
        generator: torch.Generator | None = None,
    ) -> Composition:
        r"""Put other parts in the place of some, in the same sets and with the same weights.

        Args:
            index: Which parts go: a mask, ``[N]``, or different numbers of parts, one or several.
            parts: Descriptions of those that come, as many.
            w: Their latents, ``[M, D_w]``; by default drawn from :math:`p(w \mid \ell)`.
            keep_noise: Whether those that come inherit the noise of those that go instead,
                :math:`w' = m_{\ell'} + s_{\ell'} (w - m_\ell) / s_\ell`: a part that moves, or
                changes its colour, is otherwise what it was.
            generator: Source of the randomness; by default the global one.

        Raises:
            TypeError: If ``index``, a field of the parts or a latent is of another type.
            ValueError: If ``index`` is out of range or names a part twice, a shape does not fit, or
                latents are given beside noise to keep.
        """
        index = check_index(index, self.num_parts, self.batch.device)
        num_new = check_alike(parts, self.parts)
        if index.unique().shape != index.shape:
            raise ValueError(f"index must name each part once (got {index.tolist()})")
        if num_new != index.shape[0]:
            raise ValueError(
                f"parts must be as many as index names (got {num_new}, expected {index.shape[0]})"
            )
        if keep_noise:
            if w is not None:
                raise ValueError("w must not be given with keep_noise=True (got both)")
            new = self.generator.w_prior(parts)
            w = new.mean + new.stddev * self.w_noise.index_select(0, index)
        else:
            w = self._latents(parts, w, generator)
        return replace(
            self,
            parts=map_parts(lambda old, new: old.index_copy(0, index, new), self.parts, parts),
            w=self.w.index_copy(0, index, w),
        )

    def merge(self, other: Composition) -> Composition:
        r"""Unite wholes set by set, ``a + b``: the parts of ``b`` join those of ``a``.

        The noise of :math:`z` stays that of ``a``, as in :meth:`add`: ``a + b - b`` is ``a``, and
        it does not matter in which order several wholes join ``a``. ``b + a`` has the same parts,
        latents and aggregate, with the noise of ``b``.

        Args:
            other: Wholes of the same model, as many.

        Raises:
            ValueError: If the model, the number of wholes or the fields of the parts differ.
        """
        self._check_same(other)
        return self._with_more(other.parts, other.batch, other.w, other.weight)

    def subtract(self, other: Composition) -> Composition:
        r"""Take the parts of other wholes away set by set, ``a - b``.

        A part of ``b`` is found in the same set of ``a`` by its latent and its weight, which have
        to be the same to the bit; of several that are, the last ones go. The noise of :math:`z`
        stays that of ``a``.

        Args:
            other: Wholes of the same model, as many, whose parts ``a`` has.

        Raises:
            ValueError: If ``a`` lacks a part of ``b``, or the model, the number of wholes or the
                fields of the parts differ.
        """
        self._check_same(other)
        left = rows_without(self._identity(), self.batch, other._identity(), other.batch)
        return self._only(left)

    def __add__(self, other: Composition) -> Composition:
        return self.merge(other) if isinstance(other, Composition) else NotImplemented

    def __sub__(self, other: Composition) -> Composition:
        return self.subtract(other) if isinstance(other, Composition) else NotImplemented

    def select(self, sets: Index) -> Composition:
        """Return some of the wholes, in the order asked for; one may be asked for several times.

        Args:
            sets: Which wholes: a mask, ``[S]``, or numbers of wholes, one or several.

        Raises:
            TypeError: If ``sets`` holds neither integers nor truth values.
            ValueError: If it is out of range.
        """
        sets = check_index(sets, self.batch_size, self.batch.device, name="sets")
        rows, batch = rows_of_sets(self.batch, self.batch_size, sets)
        return self._only(
            rows,
            batch=batch,
            batch_size=sets.shape[0],
            z_noise=self.z_noise.index_select(0, sets),
        )

    def with_latents(self, *, w: Tensor | None = None, z: Tensor | None = None) -> Composition:
        r"""Return the same parts with other latents.

        Gradients flow to what is given, so that latents can be optimised.

        Args:
            w: Latents of the parts, ``[N, D_w]``; by default those that there are.
            z: Latents of the wholes, ``[S, D_z]``. By default they follow ``w``, with the noise
                that there is.

        Raises:
            TypeError: If latents are of another type.
            ValueError: If a shape does not fit.

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
            _check_like(z, self.z_noise, "z")
            prior = self.generator.z_prior(out.w_sum)
            out = replace(out, z_noise=(z - prior.mean) / prior.stddev)
        return out

    def resample_z(self, generator: torch.Generator | None = None) -> Composition:
        """Draw the noise of the wholes' latents anew.

        Args:
            generator: Source of the randomness; by default the global one.
        """
        return replace(self, z_noise=standard_normal(self.z_noise, generator))

    def _z(self, w_sum: Tensor) -> Tensor:
        prior = self.generator.z_prior(w_sum)
        return prior.mean + prior.stddev * self.z_noise

    def _latents(self, parts: Parts, w: Tensor | None, generator: torch.Generator | None) -> Tensor:
        # Also when latents are given: the prior knows which parts there can be.
        prior = self.generator.w_prior(parts)
        if w is None:
            return normal_sample(prior, generator)
        _check_like(w, prior.mean, "w")
        return w

    def _with_more(
        self, parts: Parts, batch: Tensor, w: Tensor, weight: Tensor | None
    ) -> Composition:
        joint, order = torch.sort(torch.cat([self.batch, batch]), stable=True)

        def join(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old, new]).index_select(0, order)

        if weight is not None or self.weight is not None:
            weight = join(_or_ones(self.weight, self.w), _or_ones(weight, w))
        return replace(
            self,
            parts=map_parts(join, self.parts, parts),
            batch=joint,
            w=join(self.w, w),
            weight=weight,
        )

    def _only(self, index: Tensor, **changes: Any) -> Composition:
        """Return the parts that have these numbers, by default in their old sets."""
        kept = {
            "parts": map_parts(lambda value: value.index_select(0, index), self.parts),
            "batch": self.batch.index_select(0, index),
            "w": self.w.index_select(0, index),
            "weight": None if self.weight is None else self.weight.index_select(0, index),
        }
        return replace(self, **{**kept, **changes})

    def _identity(self) -> Tensor:
        """Return what tells the parts of a set apart, one row each."""
        return torch.cat([self.w, _or_ones(self.weight, self.w).unsqueeze(-1)], dim=1).detach()

    def _check_same(self, other: Composition) -> None:
        if not isinstance(other, Composition):
            raise TypeError(f"other must be a Composition (got {type(other).__name__})")
        if other.generator is not self.generator:
            raise ValueError("both compositions must be of one model (got two)")
        if other.batch_size != self.batch_size:
            raise ValueError(
                "both compositions must have as many wholes "
                f"(got {self.batch_size} and {other.batch_size})"
            )
        check_alike(other.parts, self.parts)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_parts={self.num_parts}, batch_size={self.batch_size}, "
            f"w_channels={self.w.shape[1]}, z_channels={self.z_noise.shape[1]})"
        )


def _or_ones(weight: Tensor | None, w: Tensor) -> Tensor:
    return w.new_ones(w.shape[0]) if weight is None else weight


def _check_like(value: Tensor, like: Tensor, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor (got {type(value).__name__})")
    if value.shape != like.shape:
        raise ValueError(f"{name} must be {list(like.shape)} (got {list(value.shape)})")
    if value.device != like.device:
        raise ValueError(
            f"{name} must be on the parts' device (got {value.device}, not {like.device})"
        )
    if value.dtype != like.dtype:
        raise TypeError(f"{name} must hold {like.dtype} (got {value.dtype})")
