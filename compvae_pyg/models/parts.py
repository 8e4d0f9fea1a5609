"""The description of parts: a tensor, or named tensors with one row a part each."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Parts", "check_alike", "check_index", "check_parts", "map_parts"]

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


def map_parts(function: Callable[..., Tensor], *parts: Parts) -> Parts:
    """Apply a function to each field of parts, or of several parts of the same fields.

    Example:
        >>> map_parts(lambda a, b: torch.cat([a, b]), {"x": torch.zeros(1)}, {"x": torch.ones(2)})
        {'x': tensor([0., 1., 1.])}
    """
    first = parts[0]
    if isinstance(first, Tensor):
        return function(*parts)
    return {name: function(*(p[name] for p in parts)) for name in first}  # type: ignore[index]


def check_alike(parts: Parts, known: Parts) -> int:
    """Check that parts are described as known ones are, and return their number.

    Raises:
        TypeError: If ``parts`` is neither a tensor nor a mapping of names to tensors, or a field
            has another type than in ``known``.
        ValueError: If the fields, their shapes or their devices differ from those of ``known``.

    Example:
        >>> check_alike({"size": torch.zeros(2)}, {"pos": torch.zeros(5, 2)})
        Traceback (most recent call last):
        ...
        ValueError: parts must have the fields ['pos'] (got ['size'])
    """
    num_parts, _ = check_parts(parts)
    fields, wanted = (
        {"parts": value} if isinstance(value, Tensor) else value for value in (parts, known)
    )
    if set(fields) != set(wanted):
        raise ValueError(f"parts must have the fields {sorted(wanted)} (got {sorted(fields)})")
    for name, value in fields.items():
        like = wanted[name]
        if value.dtype != like.dtype:
            raise TypeError(f"{name} must hold {like.dtype} (got {value.dtype})")
        if value.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"{name} must be {[num_parts, *like.shape[1:]]} (got {list(value.shape)})"
            )
        if value.device != like.device:
            raise ValueError(
                f"{name} must be on the parts' device (got {value.device}, not {like.device})"
            )
    return num_parts


def check_index(
    index: Tensor | Sequence[int] | int, count: int, device: torch.device, name: str = "index"
) -> Tensor:
    """Return a choice among ``count`` things as a vector of their numbers.

    Args:
        index: A Boolean mask, ``[count]``, or numbers in ``[0, count)``: one, or several.
        count: How many things there are to choose from.
        device: Where they are.
        name: What errors call the choice.

    Raises:
        TypeError: If ``index`` holds neither integers nor truth values.
        ValueError: If a mask is not ``[count]``, or a number is out of range.

    Example:
        >>> check_index(torch.tensor([True, False, True]), 3, torch.device("cpu"))
        tensor([0, 2])
        >>> check_index([0, 7], 3, torch.device("cpu"))
        Traceback (most recent call last):
        ...
        ValueError: index must lie in [0, 3) (got 7)
    """
    if not isinstance(index, Tensor):
        try:
            given = torch.as_tensor(index)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{name} must hold integers or be a Boolean mask (got {type(index).__name__})"
            ) from error
        # An empty list is one of integers.
        index = given if given.numel() else given.long()
    index = index.to(device)
    if index.dtype == torch.bool:
        if index.shape != (count,):
            raise ValueError(f"{name}, a mask, must be [{count}] (got {list(index.shape)})")
        return index.nonzero().squeeze(1)
    if index.dtype not in (torch.long, torch.int):
        raise TypeError(f"{name} must hold integers or be a Boolean mask (got {index.dtype})")
    if index.dim() > 1:
        raise ValueError(f"{name} must be a number or a vector (got {list(index.shape)})")
    index = index.long().view(-1)
    outside = (index < 0) | (index >= count)
    if bool(outside.any()):
        raise ValueError(f"{name} must lie in [0, {count}) (got {int(index[outside][0])})")
    return index
