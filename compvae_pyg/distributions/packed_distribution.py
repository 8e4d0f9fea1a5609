"""Distributions over the members of packed sets, and what torch may not do with them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from compvae_pyg.nn.packed import PackedParts

__all__ = ["PackedDistribution"]


class _PackedShape(tuple[int, ...]):
    """The shape of densities, which must not be taken for one of samples.

    Wrappers of distributions begin with a sum or a part of the shape.
    """

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError(_refusal("The distribution"))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise NotImplementedError(_refusal("The distribution"))
        return super().__getitem__(index)


class PackedDistribution(Distribution):
    """Distribution whose samples are packed, ``[*, N, D]``, and densities of sets, ``[*, S, D]``.

    Args:
        sets: The sets in which the members lie.
        channels: Number of coordinates :math:`D`.
        validate_args: As in :class:`torch.distributions.Distribution`.
    """

    has_rsample = True

    def __init__(self, sets: PackedParts, channels: int, validate_args: bool | None) -> None:
        self.sets = sets
        validates = self._validate_args if validate_args is None else bool(validate_args)
        super().__init__(torch.Size([sets.batch_size, channels]), validate_args=False)
        self._validate_args = validates

    @property
    def batch(self) -> Tensor:
        """Set of each member, ``[N]``."""
        return self.sets.batch

    @property
    def batch_size(self) -> int:
        """Number of sets :math:`S`."""
        return self.sets.batch_size

    @property
    def batch_shape(self) -> torch.Size:
        """The shape of densities, ``[S, D]``."""
        return cast(torch.Size, _PackedShape(self._batch_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> PackedDistribution:
        """Raise a ``NotImplementedError``: packed sets cannot be broadcast."""
        raise NotImplementedError(_refusal(type(self).__name__))

    def rsample(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """Draw samples through which gradients flow, ``[*sample_shape, N, D]``."""
        raise NotImplementedError

    def sample(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """Draw samples, ``[*sample_shape, N, D]``."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def _sum(self, value: Tensor) -> Tensor:
        return self.sets.sum(value, dim=-2)

    def _spread(self, value: Tensor) -> Tensor:
        return self.sets.broadcast(value, dim=-2)


def _refusal(name: str) -> str:
    return (
        f"{name} cannot be expanded or wrapped: its sets are packed, so that samples are [*, N, D] "
        "and densities [*, S, D]"
    )
