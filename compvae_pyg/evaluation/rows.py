"""Evaluation results: rows, the table that shows them, and the file that keeps them."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch_geometric

from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.nn.checks import check_annotations

__all__ = ["EvaluationRow", "format_table", "read_evaluation", "write_evaluation"]

R = TypeVar("R", bound="EvaluationRow")
_HEADINGS = {"num_parts": "K", "num_wholes": "wholes"}


@dataclass(frozen=True)
class EvaluationRow:
    """A row of an evaluation result, on wholes of one number of parts.

    ``columns`` are headings of a table and format strings of cells, whose argument 0 is the row; by
    default, all fields are shown.
    """

    columns: ClassVar[Mapping[str, str]] = {}

    def formatted(self) -> dict[str, str]:
        """Return what :func:`format_table` shows, by heading."""
        shown = dict(self.columns)
        for name, value in () if shown else vars(self).items():
            spec = ":.3f±.3f" if isinstance(value, Estimate) else ""
            shown[_HEADINGS.get(name, name.replace("_", " "))] = f"{{0.{name}{spec}}}"
        return {heading: text.format(self) for heading, text in shown.items()}


def beside(name: str, spec: str) -> str:
    """Return the format string of a cell with a generated quantity and that of the ground truth."""
    return f"{{0.generated_{name}:{spec}}} ({{0.true_{name}:{spec}}})"


def format_table(rows: Sequence[EvaluationRow]) -> str:
    """Return rows of an evaluation result, at least one, as an aligned Markdown table.

    Divergences and ELBOs are in nats per whole, and in bits where it says so.

    Example:
        >>> from compvae_pyg.evaluation import ElboRow, Estimate
        >>> print(format_table([ElboRow(4, 100, 64, 64, *[Estimate(1.0, 0.1)] * 6)]))
        | K | rec. rmse | log-lik. | KL_w (bits) | KL_z (bits) | ELBO | log p(x) |
        |--:|----------:|---------:|------------:|------------:|-----:|---------:|
        | 4 |     1.000 |        1 |   1.0 (1.4) |   1.0 (1.4) |    1 |  1 ± 0.1 |
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be rows of an evaluation result (got {type(rows).__name__})")
    if not rows:
        raise ValueError("rows must not be empty (got none)")
    cells = [row.formatted() for row in rows]
    lines = [list(cells[0]), *(list(line.values()) for line in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = ("| " + " | ".join(map(str.rjust, line, widths)) + " |" for line in lines)
    rule = "|".join("-" * (width + 1) + ":" for width in widths)
    return "\n".join([head, f"|{rule}|", *body])


@check_annotations
def write_evaluation(path: str | os.PathLike[str], rows: Sequence[Any], *, seed: int) -> None:
    """Write rows, which are dataclasses, as JSON, with their seed, the versions and the machine.

    Each estimate is an object of ``mean`` and ``standard_error``; what is not a number is ``null``.
    """
    from compvae_pyg import __version__

    if not all(is_dataclass(row) and not isinstance(row, type) for row in rows):
        raise TypeError("rows must be dataclasses (got others)")
    report = {
        "seed": seed,
        "versions": {
            "compvae_pyg": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, torch_geometric)},
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
    report = json.loads(json.dumps(report), parse_constant=lambda _: None)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")


@check_annotations
def read_evaluation(path: str | os.PathLike[str], kind: type[R]) -> list[R]:
    """Read rows that :func:`write_evaluation` wrote, all with the fields of ``kind``.

    Example:
        >>> import tempfile
        >>> from compvae_pyg.evaluation import ElboRow
        >>> rows = [ElboRow(4, 100, 64, 64, *[Estimate(1.0, 0.1)] * 6)]
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     write_evaluation(file.name, rows, seed=0)
        ...     read_evaluation(file.name, ElboRow) == rows
        True
    """
    text = Path(path).read_text(encoding="utf-8")
    rows = json.loads(text, object_hook=_estimate_or_dict)["rows"]
    expected = {field.name for field in fields(kind)}
    for row in rows:
        if row.keys() != expected:
            wrong = sorted(row.keys() ^ expected)
            raise ValueError(f"{path} must hold rows of {kind.__name__} (differ in {wrong})")
    return [kind(**row) for row in rows]


def _estimate_or_dict(read: dict[str, Any]) -> Any:
    if read.keys() != {"mean", "standard_error"}:
        return read
    return Estimate(**{name: math.nan if x is None else x for name, x in read.items()})
