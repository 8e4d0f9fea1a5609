r"""Operations on packed sets.

A batch of :math:`S` sets with :math:`N` members in all is *packed*: members lie in one tensor
``[N, ...]``, and ``batch: [N]``, sorted, says which set each belongs to (PyG's convention).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.nn.checks import check_count

__all__ = [
    "NullSoftmax",
    "at_least_float32",
    "resolve_batch",
    "set_gather",
    "set_sizes",
    "set_softmax_with_null",
    "set_sum",
]


def resolve_batch(
    num_parts: int,
    batch: Tensor | None,
    batch_size: int | None,
    device: torch.device | None = None,
) -> tuple[Tensor, int]:
    """Check a ``batch`` vector and complete what was left out of it.

    Values are checked wherever that costs no device synchronisation: always on the CPU, and on
    other devices when ``batch_size`` is not given (finding it needs a synchronisation anyway).
    Under ``torch.compile``, ``batch_size`` is taken on trust.

    Args:
        num_parts: Number of parts :math:`N` in all.
        batch: Set of each part, ``[N]``, sorted; ``None`` puts all parts in one set.
        batch_size: Number of sets :math:`S`. Needed when a set is empty.
        device: Where the parts are.

    Returns:
        ``batch`` and ``batch_size``.

    Raises:
        ValueError: If ``batch`` has another shape than ``[N]``, another device than the parts, is
            unsorted, has gaps that ``batch_size`` does not announce, or names a set beyond it.
        TypeError: If ``batch`` does not hold 64-bit integers, or ``batch_size`` is none.

    Example:
        >>> batch, batch_size = resolve_batch(3, torch.tensor([0, 0, 1]), None)
        >>> batch_size
        2
    """
    if batch_size is not None:
        check_count(batch_size, "batch_size", at_least=0)
    if batch is None:
        if batch_size is None:
            batch_size = 1
        elif batch_size != 1 and num_parts > 0:
            raise ValueError(
                f"batch is needed to tell {batch_size} sets apart (got batch=None, "
                f"batch_size={batch_size}, {num_parts} parts)"
            )
        return torch.zeros(num_parts, dtype=torch.long, device=device), batch_size
    if not isinstance(batch, Tensor):
        raise TypeError(f"batch must be a tensor (got {type(batch).__name__})")
    if batch.dtype != torch.long:
        raise TypeError(f"batch must hold 64-bit integers (got {batch.dtype})")
    if batch.dim() != 1 or batch.shape[0] != num_parts:
        raise ValueError(
            f"batch must have one entry per part (got shape {list(batch.shape)}, "
            f"expected [{num_parts}])"
        )
    if device is not None and batch.device != device:
        raise ValueError(f"batch must be on the parts' device (got {batch.device}, not {device})")
    if torch.compiler.is_compiling():
        if batch_size is None:
            raise ValueError("batch_size must be given under torch.compile (got None)")
        return batch, batch_size
    if batch_size is not None and batch.device.type != "cpu":
        return batch, batch_size
    if num_parts == 0:
        return batch, 0 if batch_size is None else batch_size
    step = batch[1:] - batch[:-1]
    if bool((step < 0).any()):
        at = int((step < 0).nonzero()[0]) + 1
        raise ValueError(
            f"batch must be sorted (got set {int(batch[at])} after set {int(batch[at - 1])} "
            f"at part {at})"
        )
    first, last = int(batch[0]), int(batch[-1])
    if first < 0:
        raise ValueError(f"batch must not be negative (got set {first} at part 0)")
    if batch_size is None:
        if first > 0 or bool((step > 1).any()):
            missing = 0 if first > 0 else int(batch[int((step > 1).nonzero()[0])]) + 1
            raise ValueError(
                f"batch must not skip a set (got no part of set {missing}); give batch_size to "
                "say that empty sets are meant"
            )
        return batch, last + 1
    if last >= batch_size:
        raise ValueError(f"batch must lie in [0, {batch_size}) (got set {last})")
    return batch, batch_size


def at_least_float32(x: Tensor) -> Tensor:
    """Return half-precision tensors in 32 bits, others as they are.

    Example:
        >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def set_sum(src: Tensor, batch: Tensor, batch_size: int, dim: int = 0) -> Tensor:
    r"""Sum of each set, :math:`\sum_{i \in s} x_i`; empty sets give zero.

    Half-precision members are added in 32 bits.

    Args:
        src: Members, ``[N, ...]`` along ``dim``.
        batch: Set of each member, ``[N]``.
        batch_size: Number of sets :math:`S`.
        dim: The dimension that holds the members.

    Returns:
        ``src`` with :math:`S` sums in place of :math:`N` members.

    Example:
        >>> set_sum(torch.tensor([1., 2., 4.]), torch.tensor([0, 0, 2]), 3)
        tensor([3., 0., 4.])
    """
    # On the CPU, scattering from strided memory takes many times as long as the copy.
    members = at_least_float32(src).contiguous()
    return scatter(members, batch, dim, batch_size, reduce="sum").to(src.dtype)


def set_gather(src: Tensor, batch: Tensor) -> Tensor:
    r"""What belongs to sets, once for each of their members, :math:`y_i = x_{s(i)}`.

    The transpose of :func:`set_sum`. Rows of any table can be looked up with it, in any order.

    Args:
        src: One row for each set, ``[S, ...]``.
        batch: Set of each member, ``[N]``.

    Returns:
        ``[N, ...]``.

    Raises:
        RuntimeError: On the CPU, if ``batch`` names a row that is not there.

    Example:
        >>> set_gather(torch.tensor([3., 4.]), torch.tensor([0, 0, 1]))
        tensor([3., 3., 4.])
    """
    # Not index_select, whose gradient torch.compile adds up number by number on the CPU.
    index = batch.view(-1, *[1] * (src.dim() - 1)).expand(-1, *src.shape[1:])
    return src.gather(0, index)


def set_sizes(batch: Tensor, batch_size: int, dtype: torch.dtype) -> Tensor:
    r"""Number of members :math:`K` of each set, ``[S]``.

    Example:
        >>> set_sizes(torch.tensor([0, 0, 2]), 3, torch.float32)
        tensor([2., 0., 1.])
    """
    ones = torch.ones(batch.shape, dtype=dtype, device=batch.device)
    return scatter(ones, batch, 0, batch_size, reduce="sum")


class NullSoftmax(NamedTuple):
    r"""Softmax over a set and a null entry.

    Attributes:
        prob: :math:`\rho_i`, ``[N, ...]``.
        log_null: :math:`\log(1 - \sum_i \rho_i)`, ``[S, ...]``.
    """

    prob: Tensor
    log_null: Tensor


def set_softmax_with_null(logits: Tensor, batch: Tensor, batch_size: int) -> NullSoftmax:
    r"""Softmax over each set and a null entry of logit 0 (paper, eq. 8).

    .. math::
        \rho_i = \frac{e^{\tilde\rho_i}}{1 + \sum_j e^{\tilde\rho_j}}, \qquad
        \log\Bigl(1 - \sum_i \rho_i\Bigr) = -\log\Bigl(1 + \sum_j e^{\tilde\rho_j}\Bigr)

    The logarithm comes from the shifted log-sum-exp and never from a difference, so that it
    stays finite for logits of any finite size. Half-precision logits are treated in 32 bits, and
    the result is 32-bit: :math:`\log(1 - R)` does not survive rounding to 16.

    Args:
        logits: :math:`\tilde\rho`, ``[N, ...]``.
        batch: Set of each member, ``[N]``.
        batch_size: Number of sets :math:`S`.

    Example:
        >>> out = set_softmax_with_null(torch.zeros(3), torch.tensor([0, 0, 1]), 2)
        >>> out.prob
        tensor([0.3333, 0.3333, 0.5000])
        >>> out.log_null.exp()
        tensor([0.3333, 0.5000])
    """
    logits = at_least_float32(logits).contiguous()
    # The shift cancels from the result, so that no gradient need flow through it.
    shift = scatter(logits.detach(), batch, 0, batch_size, reduce="max").clamp(min=0.0)
    share = torch.exp(logits - set_gather(shift, batch))
    total = torch.exp(-shift) + scatter(share, batch, 0, batch_size, reduce="sum")
    return NullSoftmax(share / set_gather(total, batch), -shift - torch.log(total))
