"""The description of parts: a tensor, or named tensors with one row a part each."""

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Parts", "check_parts"]

Parts: TypeAlias = Tensor | Mapping[str, Tensor]


def check_parts(parts: Parts) -> tuple[int, torch.device]:
    """Return the number of parts and their device.

    Raises:
        TypeError: If ``parts`` is neither a tensor nor a mapping of names to tensors.
        ValueError: If the fields differ in length or device.

    Example:
        >>> check_parts({"color": torch.zeros(3), "pos": torch.zeros(3, 2)})[0]
        3
    """
    if isinstance(parts, Tensor):
        parts = {"parts": parts}
    if not isinstance(parts, Mapping) or not parts:
        raise TypeError(
            f"parts must be a tensor or a dict of tensors, not empty (got {type(parts).__name__})"
        )
    num_parts, device, first = -1, torch.device("cpu"), ""
    for name, value in parts.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor (got {type(value).__name__})")
        if value.dim() == 0:
            raise ValueError(f"{name} must have one row per part (got a scalar)")
        if num_parts < 0:
            num_parts, device, first = value.shape[0], value.device, name
        elif value.shape[0] != num_parts:
            raise ValueError(
                f"{name} must have as many rows as {first} (got {value.shape[0]}, "
                f"expected {num_parts})"
            )
        elif value.device != device:
            raise ValueError(
                f"{name} must be on the device of {first} (got {value.device}, expected {device})"
            )
    return num_parts, device
