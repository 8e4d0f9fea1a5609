"""What an evaluation leaves: a table to read and a file to compute with."""

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch_geometric

from compvae_pyg.evaluation.elbo import ElboRow

__all__ = ["format_table", "write_evaluation"]


def format_table(rows: Sequence[ElboRow]) -> str:
    """Return rows of an evaluation as a Markdown table, aligned for reading as it is.

    Divergences and bounds are in nats per whole, and in bits where it says so.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> from compvae_pyg.evaluation import Estimate
        >>> one = Estimate(1.0, 0.1)
        >>> print(format_table([ElboRow(4, 100, 64, 64, one, one, one, one, one, one)]))
        | K | rec. rmse | log-lik. | KL_w (bits) | KL_z (bits) | ELBO | log p(x) |
        |--:|----------:|---------:|------------:|------------:|-----:|---------:|
        | 4 |     1.000 |        1 |   1.0 (1.4) |   1.0 (1.4) |    1 |    1 ± 0 |
    """
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


def write_evaluation(path: str | os.PathLike[str], rows: Sequence[ElboRow], *, seed: int) -> None:
    """Write rows of an evaluation as JSON, with the versions and the machine that they come from.

    Each estimate is an object of its ``mean`` and ``standard_error``; what is not a number is
    ``null``.

    Args:
        path: The file, which is replaced.
        rows: Rows of the evaluation.
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
        },
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(_without_nan(report), indent=2, ensure_ascii=False, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
