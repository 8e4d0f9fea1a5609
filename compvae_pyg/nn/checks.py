"""Checks of arguments: what does not fit is refused in a line that names it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "check_choice",
    "check_count",
    "check_fits",
    "check_generator",
    "check_number",
    "check_real",
    "check_shape",
]


def check_count(value: Any, name: str, at_least: int = 1) -> None:
    """Refuse what is not an integer of some size.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is too small.

    Example:
        >>> check_count(2.5, "num_blocks")
        Traceback (most recent call last):
        ...
        TypeError: num_blocks must be an integer (got 2.5)
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer, torch.SymInt)):
        raise TypeError(f"{name} must be an integer (got {_text(value)})")
    if value < at_least:
        demand = "not be negative" if at_least == 0 else f"be at least {at_least}"
        raise ValueError(f"{name} must {demand} (got {value})")


def check_number(value: Any, name: str) -> None:
    """Refuse what is not a finite real number.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not finite.

    Example:
        >>> check_number(float("nan"), "period")
        Traceback (most recent call last):
        ...
        ValueError: period must be finite (got nan)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number (got {_text(value)})")
    if not -math.inf < value < math.inf:  # in terms that compile
        raise ValueError(f"{name} must be finite (got {value})")


def check_choice(value: Any, name: str, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: If it is another.

    Example:
        >>> check_choice("tight", "coupling", ("paper", "scaled"))
        Traceback (most recent call last):
        ...
        ValueError: coupling must be one of ('paper', 'scaled') (got 'tight')
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)} (got {_text(value)})")


def check_real(value: Any, name: str) -> None:
    """Refuse what is not a tensor of real numbers.

    Raises:
        TypeError: If it is no tensor, or holds integers, truth values or complex numbers.

    Example:
        >>> check_real(torch.tensor([1, 2]), "x")
        Traceback (most recent call last):
        ...
        TypeError: x must hold floating-point numbers (got torch.int64)
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor (got {type(value).__name__})")
    if not value.is_floating_point():
        raise TypeError(f"{name} must hold floating-point numbers (got {value.dtype})")


def check_shape(value: Tensor, name: str, shape: Sequence[int | str]) -> None:
    """Refuse a tensor of another shape; dimensions that have a letter may have any size.

    Raises:
        ValueError: If the shape is another.

    Example:
        >>> check_shape(torch.zeros(5, 3), "x", ("N", 4))
        Traceback (most recent call last):
        ...
        ValueError: x must be [N, 4] (got [5, 3])
    """
    fits = value.dim() == len(shape) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(value.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be [{expected}] (got {list(value.shape)})")


def check_fits(value: Tensor, name: str, like: Tensor) -> None:
    """Refuse a tensor that is not of the type of a layer's weights, or lies elsewhere.

    Under autocast the types may differ. What compiles is left to the compiler, and weights on the
    meta device, as they are while they are offloaded, are no place to compare with.

    Raises:
        TypeError: If the types differ.
        ValueError: If the devices differ.

    Example:
        >>> check_fits(torch.zeros(2, dtype=torch.float64), "x", torch.zeros(2))
        Traceback (most recent call last):
        ...
        TypeError: x must be of the type of the layer's weights, torch.float32 (got torch.float64)
    """
    if torch.compiler.is_compiling() or like.is_meta:
        return
    if value.device != like.device:
        raise ValueError(
            f"{name} must be on the device of the layer's weights (got {value.device}, expected "
            f"{like.device})"
        )
    if value.dtype != like.dtype and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(
            f"{name} must be of the type of the layer's weights, {like.dtype} (got {value.dtype})"
        )


def check_generator(generator: Any, device: torch.device | None = None) -> None:
    """Refuse what is no source of randomness for a device; ``None`` is the global one.

    Raises:
        TypeError: If it is no generator.
        ValueError: If it is that of another kind of device.

    Example:
        >>> check_generator(7)
        Traceback (most recent call last):
        ...
        TypeError: generator must be a torch.Generator (got 7)
    """
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator (got {_text(generator)})")
    if device is not None and generator.device.type != device.type:
        raise ValueError(
            f"generator must be on the device of what is drawn (got {generator.device}, expected "
            f"{device})"
        )


def _text(value: Any) -> str:
    """Return a value in a few words, its type if it has no short ones."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)[:80]
    return type(value).__name__
