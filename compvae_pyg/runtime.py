"""torch on this machine: what it compiles, and which memory it keeps."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch.distributions import Distribution

__all__ = ["check_compiler", "compiled", "keep_freed_memory", "without_validation"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_OLDEST_TORCH = "2.8"


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a function under ``torch.compile``, for batches of all shapes.

    Random numbers are those of eager mode, so that results differ by rounding alone.

    Example:
        >>> double = compiled(lambda x: 2.0 * x)  # is compiled when it is first called
    """
    return torch.compile(function, dynamic=True, options={"fallback_random": True})


def check_compiler(device: torch.device | str) -> None:
    """Compile a line, to find out before training whether torch can.

    Raises:
        ValueError: If torch is older than 2.8, or finds no compiler that works for the device.

    Example:
        >>> check_compiler("cpu")
    """
    found = torch.__version__
    if found < _OLDEST_TORCH:
        raise ValueError(f"compile must be False before torch {_OLDEST_TORCH} (got {found})")
    try:
        with without_validation():
            torch.compile(lambda x: x + 1.0)(torch.zeros(2, device=device))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"compile must be False where torch cannot compile ({reason})") from error


@contextmanager
def without_validation(without: bool = True) -> Iterator[None]:
    """Let distributions not check their arguments, which cannot be compiled, for a while.

    torch turns these checks off for good when it compiles for the first time.

    Example:
        >>> with without_validation():
        ...     Distribution._validate_args
        False
        >>> Distribution._validate_args
        True
    """
    validates = Distribution._validate_args
    Distribution.set_default_validate_args(validates and not without)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(validates)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that its tensors free, up to 2 GiB of it.

    A training step frees all that it took. glibc hands most of it back to the system, and the next
    step gets it back page by page, which ``docs/performance.md`` measures. Only tensors of less
    than 32 MiB are kept. On systems without glibc nothing happens.

    Returns:
        Whether it could be arranged.

    Example:
        >>> arranged = keep_freed_memory()
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>.
    return bool(mallopt(-1, 2**31 - 1) and mallopt(-3, 32 * 2**20))
