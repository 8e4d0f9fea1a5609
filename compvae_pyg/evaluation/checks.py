"""Checks of what evaluations are given."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from compvae_pyg.models.checks import check_model, check_type
from compvae_pyg.nn.checks import check_count
from compvae_pyg.problems import Problem
from compvae_pyg.problems.checks import check_positive

__all__ = ["check_counts", "check_evaluation", "check_numbers", "check_positive"]


def check_counts(value: Any, name: str, at_least: int = 1) -> None:
    """Refuse what are not integers of some size.

    Raises:
        TypeError: If it is no sequence of integers.
        ValueError: If one is too small.

    Example:
        >>> check_counts([1, 0], "num_parts")
        Traceback (most recent call last):
        ...
        ValueError: num_parts must be at least 1 (got 0)
    """
    if isinstance(value, str) or not isinstance(value, (Sequence, range, Tensor)):
        raise TypeError(f"{name} must be a sequence of integers (got {type(value).__name__})")
    for number in value.tolist() if isinstance(value, Tensor) else value:
        check_count(number, name, at_least)


def check_numbers(value: Any, name: str) -> None:
    """Refuse what are not positive numbers.

    Raises:
        TypeError: If it is no sequence of numbers.
        ValueError: If one is not positive, or not finite.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of numbers (got {type(value).__name__})")
    for number in value:
        check_positive(number, name)


def check_evaluation(
    model: Any, problem: Any, kind: type = Problem, *, seed: int, **counts: int
) -> None:
    """Refuse what is no model, no problem of a kind, no seed, or no positive number.

    Raises:
        TypeError: If something is of another type.
        ValueError: If a number is too small.

    Example:
        >>> from compvae_pyg import Dots
        >>> check_evaluation(Dots().build("small"), Dots(), seed=0, num_wholes=0)
        Traceback (most recent call last):
        ...
        ValueError: num_wholes must be at least 1 (got 0)
    """
    check_model(model)
    check_type(problem, "problem", kind)
    check_count(seed, "seed", at_least=0)
    for name, count in counts.items():
        check_count(count, name)
