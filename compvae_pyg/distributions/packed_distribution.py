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

    Attributes:
        sets: The sets in which the members lie.
    """

    has_rsample = True
    sets: PackedParts

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


def _refusal(name: str) -> str:
    return (
        f"{name} cannot be expanded or wrapped: its sets are packed, so that samples are [*, N, D] "
        "and densities [*, S, D]"
    )
