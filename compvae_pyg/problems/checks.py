"""Fields that describe parts, checked where they come in."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from compvae_pyg.models import CompVAE, Parts
from compvae_pyg.models.checks import check_type
from compvae_pyg.nn.checks import check_count, check_number, check_real, check_shape

__all__ = [
    "check_categories",
    "check_feature",
    "check_places",
    "check_positive",
    "with_checked_options",
]


def with_checked_options(builder: Callable[..., CompVAE]) -> Callable[..., CompVAE]:
    """Let a function that builds networks refuse what is not of the kind of an option's default.

    Whole numbers are to be at least 1, others positive; texts are left to the layers.

    Raises:
        TypeError: If an option is of another type.
        ValueError: If it is out of range.

    Example:
        >>> from compvae_pyg import Dots
        >>> Dots().build("small", min_pixel_scale=-1.0)
        Traceback (most recent call last):
        ...
        ValueError: min_pixel_scale must be positive (got -1.0)
    """
    defaults = {name: p.default for name, p in inspect.signature(builder).parameters.items()}

    @functools.wraps(builder)
    def build(**options: Any) -> CompVAE:
        for name, value in options.items():
            match defaults.get(name):
                case bool():
                    check_type(value, name, bool)
                case int():
                    check_count(value, name)
                case float():
                    check_positive(value, name)
        return builder(**options)

    return build


def check_categories(parts: Parts, num_categories: int, name: str = "category") -> Tensor:
    """Return the category of each part, ``[N]``, checked.

    Values are checked on the CPU, where that costs no synchronisation.

    Args:
        parts: A dict with the categories, ``[N]``.
        num_categories: Number of categories; they are numbered from 0.
        name: The field that holds them.

    Raises:
        TypeError: If ``parts`` lacks the field, or it does not hold 64-bit integers.
        ValueError: If the shape or a value is out of range.

    Example:
        >>> check_categories({"category": torch.tensor([3, 12])}, 10)
        Traceback (most recent call last):
        ...
        ValueError: category must lie in [0, 10) (got 12 at part 1)
    """
    (category,) = _fields(parts, name)
    if category.dtype != torch.long:
        raise TypeError(f"{name} must hold 64-bit integers (got {category.dtype})")
    if category.dim() != 1:
        raise ValueError(f"{name} must be [N] (got {list(category.shape)})")
    if category.device.type == "cpu" and not torch.compiler.is_compiling():
        outside = (category < 0) | (category >= num_categories)
        if bool(outside.any()):
            at = int(outside.nonzero()[0])
            raise ValueError(
                f"{name} must lie in [0, {num_categories}) (got {int(category[at])} at part {at})"
            )
    return category


def check_places(
    parts: Parts, num_categories: int, name: str = "category"
) -> tuple[Tensor, Tensor]:
    """Return category ``[N]`` and position ``[N, 2]`` of parts, checked.

    Args:
        parts: A dict with the categories, ``[N]``, and ``pos``, ``[N, 2]``.
        num_categories: Number of categories; they are numbered from 0.
        name: The field that holds them.

    Raises:
        TypeError: If ``parts`` lacks a field, or a field holds numbers of another kind.
        ValueError: If a shape or a value is out of range.

    Example:
        >>> check_places({"category": torch.tensor([7]), "pos": torch.zeros(2)}, 10)
        Traceback (most recent call last):
        ...
        ValueError: pos must be [1, 2] (got [2])
    """
    _, pos = _fields(parts, name, "pos")
    category = check_categories(parts, num_categories, name)
    if not pos.is_floating_point():
        raise TypeError(f"pos must hold floating-point numbers (got {pos.dtype})")
    if pos.shape != (category.shape[0], 2):
        raise ValueError(f"pos must be [{category.shape[0]}, 2] (got {list(pos.shape)})")
    if pos.device != category.device:
        raise ValueError(f"pos must be on the device of {name} (got {pos.device})")
    if pos.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = ~torch.isfinite(pos).all(dim=1)
        if bool(wrong.any()):
            at = int(wrong.nonzero()[0])
            raise ValueError(f"pos must be finite (got {pos[at].tolist()} at part {at})")
    return category, pos


def check_positive(value: Any, name: str) -> None:
    """Refuse what is not a positive number.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not positive, or not finite.
    """
    check_number(value, name)
    if not value > 0:
        raise ValueError(f"{name} must be positive (got {value})")


def check_feature(value: Tensor, name: str, category: Tensor) -> None:
    """Refuse what is not one real number for each part, beside its category.

    Raises:
        TypeError: If it is no tensor of real numbers.
        ValueError: If it is not ``[N]``, or on another device than the categories.
    """
    check_real(value, name)
    check_shape(value, name, category.shape)
    if value.device != category.device:
        raise ValueError(f"{name} must be on {category.device} (got {value.device})")


def _fields(parts: Parts, *names: str) -> list[Tensor]:
    if isinstance(parts, Tensor) or not set(names) <= set(parts):
        got = "a tensor" if isinstance(parts, Tensor) else sorted(parts)
        expected = " and ".join(map(repr, names))
        raise TypeError(f"parts must be a dict with {expected} (got {got})")
    for name in names:
        check_type(parts[name], name, Tensor)
    return [parts[name] for name in names]
