"""What a training left, read from its file."""

import csv
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Metrics", "read_metrics"]

Metrics: TypeAlias = Mapping[str, NDArray[Any]]


def read_metrics(path: str | PathLike[str]) -> dict[str, NDArray[Any]]:
    r"""Read ``metrics.csv`` by column.

    Columns of numbers are 64-bit floats, with ``nan`` where a field is empty; others hold text.

    Raises:
        ValueError: If a row does not have the columns that the first line names.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "metrics.csv"
        ...     _ = path.write_text("step,stage,rmse\n1,labels,0.5\n2,parts,\n")
        ...     metrics = read_metrics(path)
        >>> metrics["rmse"], metrics["stage"]
        (array([0.5, nan]), array(['labels', 'parts'], dtype='<U6'))
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"{path} must have {len(header)} columns (got {len(row)} in line {number})"
            )
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {name: _column(values) for name, values in zip(header, columns, strict=True)}


def _column(values: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return np.array(values)
