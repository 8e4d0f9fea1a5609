"""How far a task is, on standard error: a bar on a terminal, and lines now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["progress"]

_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"
_OPEN = "{desc}: {n_fmt} {unit}, {elapsed}{postfix}"  # it is not known of how many


class _Lines:
    """Standard error, on which each state of a bar is a line of its own."""

    last = ""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self.last:
            self.last = line
            with suppress(OSError):  # whoever listened may be gone
                print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Nothing is held back."""


def progress(
    items: Iterable[Any] | None,
    task: str,
    unit: str,
    *,
    total: float | None = None,
    shown: bool = True,
    delay: float = 5.0,
) -> Any:
    """Return a ``tqdm`` bar over items, or with ``None`` one that is updated by hand.

    Nothing is shown in the first five seconds, or ``delay``: 0 where the first step may take
    longer. Where there is no terminal, a line comes every ten seconds at most. ``update(0)`` says
    that there is still work at hand.

    Example:
        >>> sum(progress(range(4), "sum", "number"))
        6
    """
    options: dict[str, Any] = {"file": sys.stderr}
    if not sys.stderr.isatty():
        options = {"file": _Lines(), "mininterval": 10.0, "ncols": 100}
        options["bar_format"] = _LINE if total or hasattr(items, "__len__") else _OPEN
    options |= {"unit": unit, "delay": delay, "miniters": 0, "disable": not shown}
    return tqdm(items, task, total, **options)
