"""How far a task is, on standard error: a bar on a terminal, and lines now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["progress"]

_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"


class _Lines:
    """Standard error, on which each state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
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
) -> Any:
    """Return a ``tqdm`` bar over items, or with ``None`` one that is updated by hand.

    Nothing is shown in the first five seconds. Where there is no terminal, a line comes every ten
    seconds at most. ``update(0)`` says that there is still work at hand.

    Example:
        >>> sum(progress(range(4), "sum", "number"))
        6
    """
    options: dict[str, Any] = {"file": sys.stderr}
    if not sys.stderr.isatty():
        options = {"file": _Lines(), "mininterval": 10.0, "ncols": 100}
        options["bar_format"] = _LINE if total or hasattr(items, "__len__") else None
    return tqdm(items, task, total, unit=unit, delay=5.0, miniters=0, disable=not shown, **options)
