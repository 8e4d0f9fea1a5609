"""This process: what torch compiles, which memory it keeps, and which signals end it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, ParamSpec, TypeVar

import torch
from torch.distributions import Distribution

__all__ = [
    "StopSignals",
    "check_compiler",
    "compiled",
    "keep_freed_memory",
    "quietly",
    "without_validation",
]

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


@contextmanager
def quietly(logger: str, ignored: str) -> Iterator[None]:
    """Silence for a while what a library says of itself, and warnings that match a pattern.

    Example:
        >>> with quietly("lightning.pytorch", ".*"):
        ...     warnings.warn("not shown")
    """
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ignored)
        try:
            yield
        finally:
            log.setLevel(level)


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


class StopSignals:
    """Ctrl-C, ``SIGTERM`` and ``SIGHUP``, as wishes to stop that are heeded at a good moment.

    A signal, whichever it is, raises KeyboardInterrupt, which ends the block, until :meth:`wait` is
    called. From then on it is only noted, but for a second Ctrl-C. Signals that the process
    ignores, as ``nohup`` has it, stay ignored. Beside the main thread nothing happens.

    Attributes:
        received: The first signal that came, or 0.

    Example:
        >>> with StopSignals() as signals:
        ...     signals.wait()
        ...     signal.raise_signal(signal.SIGTERM)
        >>> signal.Signals(signals.received).name
        'SIGTERM'
    """

    def __init__(self) -> None:
        self.received = 0
        self._waits, self._process = False, os.getpid()
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.__init__()  # type: ignore[misc]
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
                number = getattr(signal, name, None)
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> bool:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        return bool(self.received and kind and issubclass(kind, (KeyboardInterrupt, SystemExit)))

    def wait(self) -> None:
        """Only note signals from here on, also those that someone else has taken meanwhile."""
        self._waits = True
        for number in self._handlers:
            signal.signal(number, self._note)

    @staticmethod
    def end(number: int, text: str) -> NoReturn:
        """End as a program does that this signal ends: with one line, and a status of its own."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt(text)
        with suppress(OSError):  # the terminal may be gone
            print(f"{signal.Signals(number).name}: {text}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            return  # what this process has started ends with it
        again = number == signal.SIGINT == self.received
        self.received = self.received or number
        if again or not self._waits:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            # The terminal may be gone, or be written to at this moment.
            with suppress(OSError, RuntimeError):
                text = "\nstopping after this step (Ctrl-C again: at once)"
                print(text, file=sys.stderr, flush=True)
