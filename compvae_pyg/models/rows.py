"""Which rows of packed sets an operation on whole sets keeps."""

import torch
from torch import Tensor

__all__ = ["rows_of_sets", "rows_without"]


def rows_of_sets(batch: Tensor, batch_size: int, sets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of some sets, one set after the other, and the ``batch`` vector of these.

    Args:
        batch: Set of each row, ``[N]``, sorted.
        batch_size: Number of sets :math:`S`.
        sets: Numbers of sets in any order; one may come several times.

    Example:
        >>> rows_of_sets(torch.tensor([0, 0, 1]), 2, torch.tensor([1, 0, 1]))
        (tensor([2, 0, 1, 2]), tensor([0, 1, 1, 2]))
    """
    sizes = torch.bincount(batch, minlength=batch_size)
    chosen = sizes.index_select(0, sets)
    own = torch.arange(sets.shape[0], device=sets.device).repeat_interleave(chosen)
    shift = (sizes.cumsum(0) - sizes)[sets] - (chosen.cumsum(0) - chosen)
    return torch.arange(own.shape[0], device=sets.device) + shift[own], own


def rows_without(values: Tensor, batch: Tensor, others: Tensor, other_batch: Tensor) -> Tensor:
    """Return the rows of sets that are left when equal rows of other sets go, one for one.

    Of several rows that are equal the last ones go.

    Args:
        values: Rows, ``[N, D]``.
        batch: Set of each row, ``[N]``.
        others: Rows that go, ``[M, D]``.
        other_batch: Set that each of them goes from, ``[M]``.

    Raises:
        ValueError: If a set lacks a row that is to go from it.

    Example:
        >>> one, two = torch.tensor([[1.0]]), torch.tensor([[2.0]])
        >>> zero = torch.tensor([0])
        >>> rows_without(torch.cat([one, two, one]), torch.zeros(3, dtype=torch.long), one, zero)
        tensor([0, 1])
    """
    _, kind = torch.unique(torch.cat([values, others]), dim=0, return_inverse=True)
    sets = torch.cat([batch, other_batch])
    _, kind = torch.unique(torch.stack([kind, sets]), dim=1, return_inverse=True)
    mine, theirs = kind.split([len(batch), len(other_batch)])
    num_kinds = int(kind.max()) + 1 if kind.numel() else 0
    there = torch.bincount(mine, minlength=num_kinds)
    gone = torch.bincount(theirs, minlength=num_kinds)
    lacking = (gone > there).index_select(0, theirs).nonzero()
    if lacking.numel():
        at = int(lacking[0])
        raise ValueError(
            f"a - b needs every part of b in a (got none with the latent of part {at} of b, "
            f"in set {int(other_batch[at])})"
        )
    # The place of each row among its equals, of which the first ones stay.
    order = torch.argsort(mine, stable=True)
    start = there.cumsum(0) - there
    place = torch.empty_like(mine)
    place[order] = torch.arange(len(mine), device=mine.device) - start[mine[order]]
    return (place < (there - gone)[mine]).nonzero().squeeze(1)
