"""Batches of packed sets in pieces, so that memory is bounded."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from compvae_pyg.models.parts import Parts, map_parts
from compvae_pyg.nn.checks import check_count

__all__ = ["SetChunk", "repeat_batch", "split_sets"]


class SetChunk(NamedTuple):
    """Some of the sets of a batch.

    Attributes:
        sets: Which sets.
        rows: Which parts.
        parts: Their parts.
        batch: Set of each of these parts, counted from the first of the sets.
    """

    sets: slice
    rows: slice
    parts: Parts
    batch: Tensor


def split_sets(parts: Parts, batch: Tensor, batch_size: int, chunk_size: int) -> Iterator[SetChunk]:
    """Split a batch of sets into pieces of at most ``chunk_size`` sets.

    One piece takes no synchronisation with the device.

    Args:
        parts: Parts, packed, N rows each.
        batch: Set of each part, ``[N]``, sorted.
        batch_size: Number of sets :math:`S`.
        chunk_size: Largest number of sets of a piece.

    Raises:
        ValueError: If ``chunk_size`` is not positive.

    Example:
        >>> batch = torch.tensor([0, 0, 1, 3])
        >>> for chunk in split_sets(torch.arange(4), batch, 4, chunk_size=2):
        ...     print(chunk.parts, chunk.batch)
        tensor([0, 1, 2]) tensor([0, 0, 1])
        tensor([3]) tensor([1])
    """
    check_count(chunk_size, "chunk_size")
    if batch_size <= chunk_size:
        yield SetChunk(slice(0, batch_size), slice(0, batch.shape[0]), parts, batch)
        return
    first = torch.arange(0, batch_size, chunk_size, device=batch.device)
    starts = [*torch.searchsorted(batch, first).tolist(), batch.shape[0]]
    for start, stop, low in zip(starts[:-1], starts[1:], first.tolist(), strict=True):
        rows = slice(start, stop)
        yield SetChunk(
            slice(low, min(low + chunk_size, batch_size)),
            rows,
            map_parts(lambda value, rows=rows: value[rows], parts),
            batch[rows] - low,
        )


def repeat_batch(batch: Tensor, batch_size: int, count: int) -> Tensor:
    """Return the ``batch`` vector of copies of all sets, one copy of all after the other.

    Example:
        >>> repeat_batch(torch.tensor([0, 0, 1]), 2, count=2)
        tensor([0, 0, 1, 2, 2, 3])
    """
    shift = torch.arange(count, device=batch.device) * batch_size
    return (batch + shift.unsqueeze(1)).flatten()
