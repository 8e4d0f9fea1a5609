"""How much each part counts in its whole, and how often."""

import torch
from torch import Tensor

__all__ = ["check_amounts", "check_weight", "weighted"]


def check_weight(weight: Tensor | None, num_parts: int, like: Tensor) -> Tensor | None:
    """Return the weights of parts, ``[N]``, checked and of the type of ``like``.

    Values are checked on the CPU, where that costs no synchronisation.

    Raises:
        TypeError: If ``weight`` is not a tensor of real numbers.
        ValueError: If it is not ``[N]``, on another device than ``like``, or not finite.

    Example:
        >>> check_weight(torch.tensor([1, 2]), 2, torch.zeros(1))
        tensor([1., 2.])
    """
    if weight is None:
        return None
    _check_numbers(weight, "weight")
    if weight.shape != (num_parts,):
        raise ValueError(
            f"weight must have one entry per part (got shape {list(weight.shape)}, "
            f"expected [{num_parts}])"
        )
    _check_device(weight, "weight", like)
    _check_values(weight, torch.isfinite(weight), "weight must be finite")
    return weight.to(like.dtype)


def check_amounts(amounts: Tensor, num_kinds: int, like: Tensor) -> Tensor:
    """Return how many parts of each kind wholes have, ``[S, C]``, checked and typed as ``like``.

    Values are checked on the CPU, where that costs no synchronisation.

    Raises:
        TypeError: If ``amounts`` is not a tensor of real numbers.
        ValueError: If it is not ``[S, C]``, on another device than ``like``, negative, or not
            finite.

    Example:
        >>> check_amounts(torch.tensor([[2, -1]]), 2, torch.zeros(1))
        Traceback (most recent call last):
        ...
        ValueError: amounts must not be negative (got -1 at [0, 1])
    """
    _check_numbers(amounts, "amounts")
    if amounts.dim() != 2 or amounts.shape[1] != num_kinds:
        raise ValueError(
            f"amounts must be [S, {num_kinds}], one column for each of the parts "
            f"(got {list(amounts.shape)})"
        )
    _check_device(amounts, "amounts", like)
    _check_values(amounts, torch.isfinite(amounts), "amounts must be finite")
    _check_values(amounts, amounts >= 0, "amounts must not be negative")
    return amounts.to(like.dtype)


def weighted(w: Tensor, weight: Tensor | None) -> Tensor:
    r"""Return :math:`a_i w_i`, ``[N, D]``; without weights, the latents as they are.

    Example:
        >>> weighted(torch.ones(2, 1), torch.tensor([0.5, 2.0])).tolist()
        [[0.5], [2.0]]
    """
    return w if weight is None else weight.unsqueeze(-1) * w


def _check_numbers(value: Tensor, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor (got {type(value).__name__})")
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"{name} must hold integers or real numbers (got {value.dtype})")


def _check_device(value: Tensor, name: str, like: Tensor) -> None:
    if value.device != like.device:
        raise ValueError(
            f"{name} must be on the device of the parts (got {value.device}, "
            f"expected {like.device})"
        )


def _check_values(value: Tensor, good: Tensor, demand: str) -> None:
    if value.device.type != "cpu" or torch.compiler.is_compiling() or bool(good.all()):
        return
    at = (~good).nonzero()[0].tolist()
    raise ValueError(f"{demand} (got {value[tuple(at)].item()} at {at})")
