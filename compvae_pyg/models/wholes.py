"""Wholes as they come in: checked against their parts and the model."""

import math

import torch
from torch import Tensor

from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.nn import resolve_batch

__all__ = ["check_wholes"]


def check_wholes(
    whole: Tensor,
    parts: Parts,
    batch: Tensor | None,
    batch_size: int | None,
    *,
    event_shape: tuple[int, ...],
    dtype: torch.dtype,
) -> tuple[Tensor, int]:
    """Return ``batch`` and ``batch_size`` of wholes and parts that belong together.

    Values are checked where that costs no synchronisation, see
    :func:`~compvae_pyg.nn.resolve_batch`.

    Args:
        whole: Wholes, ``[S, *event]``.
        parts: Parts, packed, N rows each.
        batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
        batch_size: Number of sets :math:`S`; needed when sets are empty.
        event_shape: Shape of one whole.
        dtype: Type of the wholes.

    Raises:
        TypeError: If an input has another type.
        ValueError: If an input does not fit the others, or is not finite.

    Example:
        >>> check_wholes(torch.zeros(1, 4), torch.zeros(3), None, None, event_shape=(5,),
        ...              dtype=torch.float32)
        Traceback (most recent call last):
        ...
        ValueError: whole must be [S, 5] (got [1, 4])
    """
    num_parts, device = check_parts(parts)
    if not isinstance(whole, Tensor):
        raise TypeError(f"whole must be a tensor (got {type(whole).__name__})")
    if tuple(whole.shape[1:]) != event_shape or whole.dim() == 0:
        expected = ", ".join(["S", *map(str, event_shape)])
        raise ValueError(f"whole must be [{expected}] (got {list(whole.shape)})")
    if whole.shape[0] == 0:
        raise ValueError(f"whole must hold at least one whole (got {list(whole.shape)})")
    if whole.dtype != dtype:
        raise TypeError(f"whole must be of the model's type {dtype} (got {whole.dtype})")
    if whole.device != device:
        raise ValueError(
            f"whole must be on the device of the parts (got {whole.device}, expected {device})"
        )
    sync_free = batch_size is not None and device.type != "cpu"
    batch, batch_size = resolve_batch(num_parts, batch, batch_size, device)
    if whole.shape[0] != batch_size:
        raise ValueError(
            f"whole must have one row per set (got {whole.shape[0]} rows for {batch_size} "
            "sets); give batch_size if the last sets are empty"
        )
    if not torch.compiler.is_compiling() and not sync_free:
        # The sum is not finite if a number is not, and is several times as fast as to look at each.
        # It may also overflow, so that then each is looked at.
        if not math.isfinite(float(whole.detach().sum())):
            wrong = (~torch.isfinite(whole)).nonzero()
            if len(wrong):
                at = wrong[0].tolist()
                raise ValueError(f"whole must be finite (got {float(whole[tuple(at)])} at {at})")
    return batch, batch_size
