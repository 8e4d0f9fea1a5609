"""Batches of one shape, as CUDA graphs ask for."""

from typing import NamedTuple

import torch
from torch import Tensor

from compvae_pyg.models import Parts
from compvae_pyg.models.checks import check_type
from compvae_pyg.models.parts import check_parts
from compvae_pyg.nn import resolve_batch
from compvae_pyg.nn.checks import check_count

__all__ = ["Ghosted", "with_ghost"]


class Ghosted(NamedTuple):
    """A batch with ghosts behind its real sets, in the order of :meth:`CompVAE.elbo`'s arguments.

    Attributes:
        whole: Wholes, ``[S', *event]``.
        parts: Parts, N' rows each.
        batch: Set of each part, ``[N']``.
        batch_size: Number of sets :math:`S'`, ghosts included.
    """

    whole: Tensor
    parts: Parts
    batch: Tensor
    batch_size: int


def with_ghost(
    whole: Tensor,
    parts: Parts,
    batch: Tensor,
    batch_size: int,
    *,
    num_parts: int,
    num_sets: int | None = None,
) -> Ghosted:
    r"""Add a ghost set that takes up what parts are missing from a fixed number.

    All shapes are then the same from batch to batch, so that a compiled model is compiled once and
    ``torch.compile(mode="reduce-overhead")`` can replay CUDA graphs. Nothing passes from the ghost
    to a real set: drop what is said of it, ``terms.elbo[:batch_size]``, and the loss and its
    gradients are those of the real sets. The ghost is made of copies of the first part and whole.

    Args:
        whole: Wholes, ``[S, *event]``.
        parts: Parts, packed, N rows each.
        batch: Set of each part, ``[N]``, sorted.
        batch_size: Number of sets :math:`S`.
        num_parts: Number of parts :math:`N'` of the result. The slack :math:`N' - N` belongs to
            its last set.
        num_sets: Number of sets :math:`S' > S` of the result, for batches whose :math:`S` differs;
            by default :math:`S + 1`. Those between the real ones and the last are empty.

    Raises:
        ValueError: If the batch is empty, has more parts or sets than the result may have, or its
            fields do not fit each other.

    Example:
        >>> whole, parts = torch.zeros(2, 5), {"category": torch.tensor([3, 1, 4])}
        >>> ghosted = with_ghost(whole, parts, torch.tensor([0, 0, 1]), 2, num_parts=5)
        >>> ghosted.batch
        tensor([0, 0, 1, 2, 2])
        >>> ghosted.whole.shape, ghosted.parts["category"]
        (torch.Size([3, 5]), tensor([3, 1, 4, 3, 3]))
    """
    count, device = check_parts(parts)
    check_type(whole, "whole", Tensor)
    check_count(num_parts, "num_parts")
    if num_sets is not None:
        check_count(num_sets, "num_sets")
    batch, batch_size = resolve_batch(count, batch, batch_size, device)
    num_sets = batch_size + 1 if num_sets is None else num_sets
    if whole.device != device:
        raise ValueError(
            f"whole must be on the device of the parts (got {whole.device}, expected {device})"
        )
    if whole.dim() == 0:
        raise ValueError("whole must be wholes, one a row (got a scalar)")
    if count == 0 or whole.shape[0] != batch_size:
        raise ValueError(
            "a ghost needs a whole per set and at least one part to copy "
            f"(got {whole.shape[0]} wholes, {batch_size} sets, {count} parts)"
        )
    if count > num_parts:
        raise ValueError(
            f"num_parts must be at least that of the batch (got {num_parts} < {count})"
        )
    if batch_size >= num_sets:
        raise ValueError(
            f"num_sets must exceed that of the batch (got {num_sets} for {batch_size} sets)"
        )
    slack = num_parts - count
    if isinstance(parts, Tensor):
        filled: Parts = _fill(parts, slack)
    else:
        filled = {name: _fill(value, slack) for name, value in parts.items()}
    ghosts = batch.new_full((slack,), num_sets - 1)
    return Ghosted(
        _fill(whole, num_sets - batch_size), filled, torch.cat([batch, ghosts]), num_sets
    )


def _fill(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows, rows[:1].expand(count, *rows.shape[1:])])
