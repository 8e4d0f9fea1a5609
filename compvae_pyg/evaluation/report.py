"""What an evaluation leaves: a table to read and a file to compute with."""

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch
import torch_geometric

from compvae_pyg.evaluation.estimate import Estimate

__all__ = ["Fields", "Row", "format_table", "read_evaluation", "write_evaluation"]


class Fields(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Fields)


class Row(Protocol):
    """What knows its cells in a table."""

    def cells(self) -> dict[str, str]:
        """Return what the table shows, by column."""


def format_table(rows: Sequence[Row]) -> str:
    """Return rows of an evaluation as a Markdown table, aligned for reading as it is.

    Divergences and bounds are in nats per whole, and in bits where it says so.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> from compvae_pyg.evaluation import ElboRow, Estimate
        >>> one = Estimate(1.0, 0.1)
        >>> print(format_table([ElboRow(4, 100, 64, 64, one, one, one, one, one, one)]))
        | K | rec. rmse | log-lik. | KL_w (bits) | KL_z (bits) | ELBO | log p(x) |
        |--:|----------:|---------:|------------:|------------:|-----:|---------:|
        | 4 |     1.000 |        1 |   1.0 (1.4) |   1.0 (1.4) |    1 |  1 ± 0.1 |
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be rows of an evaluation (got {type(rows).__name__})")
    if not rows:
        raise ValueError("rows must not be empty (got none)")
    lines = [list(rows[0].cells()), *(list(row.cells().values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    rule = "|".join("-" * (width + 1) + ":" for width in widths)
    return "\n".join([f"| {text[0]} |", f"|{rule}|", *(f"| {line} |" for line in text[1:])])


def write_evaluation(path: str | os.PathLike[str], rows: Sequence[Fields], *, seed: int) -> None:
    """Write rows of an evaluation as JSON, with the versions and the machine that they come from.

    Each estimate is an object of its ``mean`` and ``standard_error``; what is not a number is
    ``null``.

    Args:
        path: The file, which is replaced.
        rows: Rows of the evaluation, dataclasses.
        seed: The seed that it was given.
    """
    from compvae_pyg import __version__

    report = {
        "seed": seed,
        "versions": {
            "compvae_pyg": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_geometric": torch_geometric.__version__,
        },
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(_without_nan(report), indent=2, ensure_ascii=False, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_evaluation(path: str | os.PathLike[str], kind: type[T]) -> list[T]:
    """Read the rows that :func:`write_evaluation` wrote, to draw or to tabulate them again.

    Args:
        path: The file.
        kind: What the rows are.

    Raises:
        ValueError: If a row does not have the fields of ``kind``.

    Example:
        >>> import tempfile
        >>> from compvae_pyg.evaluation import ElboRow
        >>> one = Estimate(1.0, 0.1)
        >>> rows = [ElboRow(4, 100, 64, 64, one, one, one, one, one, one)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_evaluation(Path(folder) / "evaluation.json", rows, seed=0)
        ...     read_evaluation(Path(folder) / "evaluation.json", ElboRow) == rows
        True
    """
    rows = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
    expected = {field.name for field in fields(kind)}
    for row in rows:
        if row.keys() != expected:
            wrong = sorted(row.keys() ^ expected)
            raise ValueError(f"{path} must hold rows of {kind.__name__} (differ in {wrong})")
    return [kind(**{name: _read(value) for name, value in row.items()}) for row in rows]


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return Estimate(**{name: math.nan if part is None else part for name, part in value.items()})


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
