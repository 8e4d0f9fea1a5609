"""Wholes and their parts in Parquet tables, unpacked into files that are mapped into memory."""

from __future__ import annotations

import math
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from multiprocessing.util import Finalize
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data

from compvae_pyg.nn.checks import check_counts, check_field_names, check_type
from compvae_pyg.problems import packed_batch
from compvae_pyg.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetWholes"]

_ROWS = 65_536  # of a table, in memory at a time
Array = np.ndarray[Any, Any]


class ParquetWholes(Dataset[Data]):
    """Wholes in two Parquet tables: one row for each whole, and one row for each part.

    Both tables have a column ``id``, the name or number of the whole. They lie in the same order:
    those of the parts are grouped by whole, as the wholes come (as when both are sorted by ``id``).
    A whole may have no parts. Columns hold numbers, Boolean values, or lists of these of one
    length; integers become 64-bit, real numbers 32-bit, and nothing is missing.

    The tables are read once, piece by piece, checked, and unpacked into a temporary folder, as
    large as their numbers are, which is removed in the end. Its files are mapped into memory:
    wholes are read from them in any order, and what is held in memory is a few numbers for each.

    Args:
        wholes: A file, or a folder of files, which are read in the order of their names.
        parts: Likewise.
        id: Column of both tables: integers or strings, a whole's own.
        whole: Column with the wholes, of numbers or (nested) lists; or several columns of one
            number each.
        event_shape: Shape of one whole; by default that of its lists.
        fields: Columns that describe a part; by default all but ``id``.
        folder: Where the temporary folder is made; by default where the system has such folders.

    Attributes:
        sizes: Number of parts of each whole, ``[M]``.
        fields: Names of the parts' fields.
        event_shape: Shape of one whole.

    Raises:
        ImportError: Without pyarrow (extra ``data``).
        FileNotFoundError: If a table is not there.
        TypeError: If a column holds something else than numbers.
        ValueError: If a column or a number is missing, lists differ in length, an ``id`` is in two
            rows of the wholes or in none, or parts are in another order: the row is named.

    Example:
        >>> import pyarrow as pa, pyarrow.parquet as pq
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     wholes = pa.table({"id": [7, 8, 9], "whole": [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]]})
        ...     parts = pa.table({"id": [7, 7, 9], "color": [4, 0, 2]})
        ...     pq.write_table(wholes, f"{folder}/wholes.parquet")
        ...     pq.write_table(parts, f"{folder}/parts.parquet")
        ...     stored = ParquetWholes(f"{folder}/wholes.parquet", f"{folder}/parts.parquet")
        >>> len(stored), stored.sizes, stored[0].color, stored[2].whole
        (3, array([2, 0, 1]), tensor([4, 0]), tensor([[3., 4.]]))
    """

    def __init__(
        self,
        wholes: str | PathLike[str],
        parts: str | PathLike[str],
        *,
        id: str = "id",
        whole: str | Sequence[str] = "whole",
        event_shape: Sequence[int] | None = None,
        fields: Sequence[str] | None = None,
        folder: str | PathLike[str] | None = None,
    ) -> None:
        check_type(id, "id", str)
        _check_installed()
        import pyarrow as pa

        if event_shape is not None:
            check_counts(event_shape, "event_shape")
        columns = [whole] if isinstance(whole, str) else list(whole)
        self._tables = {"wholes": _files(wholes, "wholes"), "parts": _files(parts, "parts")}
        self._id = id
        _check_columns(self._tables["wholes"], [id, *columns])
        if fields is None:
            there = _schema(self._tables["parts"][0]).names
            fields = [name for name in there if name != id]
        check_field_names(fields)
        _check_columns(self._tables["parts"], [id, *fields])
        self.fields = tuple(fields)
        ids = self.column(id)
        self.sizes = np.zeros(len(ids), np.int64)
        if not len(ids):
            raise ValueError("wholes must hold at least one row (got none)")
        self._folder = Path(tempfile.mkdtemp(prefix="compvae_pyg-", dir=folder))
        # By the process that made it alone, and also where that is one of several that were forked.
        remove = Finalize(self, shutil.rmtree, (self._folder, True), exitpriority=0)
        try:
            self._unpack_wholes(columns, event_shape)
            self._unpack_parts(ids)
        except BaseException:
            remove()
            raise
        pa.default_memory_pool().release_unused()
        self._open()

    def _unpack_wholes(self, columns: Sequence[str], event_shape: Sequence[int] | None) -> None:
        values = _Columns(self._folder, "wholes")
        for row, table in _pieces(self._tables["wholes"], columns, "wholes"):
            numbers = [_numbers(table[name], name, row) for name in columns]
            one = numbers[0] if len(columns) == 1 else np.stack(numbers, axis=1)
            values.add("whole", one.astype(np.float32), row)
        self.digests = values.digests
        shape = values.shapes["whole"]
        self.event_shape = shape if event_shape is None else tuple(event_shape)
        if math.prod(self.event_shape) != math.prod(shape):
            raise ValueError(
                f"event_shape must have as many numbers as a whole (got {list(self.event_shape)} "
                f"for {list(shape)})"
            )

    def _unpack_parts(self, ids: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if ids.null_count:
            raise ValueError(f"{self._id} must have no missing values (got one in wholes)")
        if pc.count_distinct(ids).as_py() < len(ids):
            counts = pc.value_counts(ids)
            twice = counts.field(0)[int(np.argmax(counts.field(1).to_numpy()))]
            raise ValueError(f"{self._id} must not occur twice in wholes (got {twice})")
        values, last = _Columns(self._folder, "parts"), 0
        for row, table in _pieces(self._tables["parts"], [self._id, *self.fields], "parts"):
            try:
                owners = table[self._id].cast(ids.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                types = f"{ids.type} and {table[self._id].type}"
                message = f"{self._id} must have one type in both tables (got {types})"
                raise ValueError(message) from error
            _check_complete(owners, self._id, row)
            # Runs of rows with the same id are wholes, or the end of the last one.
            changes = pc.not_equal(owners[1:], owners[:-1]).to_numpy(zero_copy_only=False)
            starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
            runs = owners.take(pa.array(starts))
            # They are most likely the next wholes; a table of all of them takes its time to build.
            found = pc.add(pc.index_in(runs, value_set=ids[last : last + 4 * len(runs)]), last)
            if found.null_count:
                found = pc.index_in(runs, value_set=ids)
            if found.null_count:
                at = int(starts[_first_null(found)])
                raise ValueError(
                    f"{self._id} must be that of a row of wholes (got {owners[at]} in row "
                    f"{row + at} of parts)"
                )
            index = found.to_numpy().astype(np.int64)
            back = np.flatnonzero(np.diff(index, prepend=last) < 0)
            if len(back):
                at = int(starts[back[0]])
                before = ids[int(index[back[0] - 1] if back[0] else last)]
                raise ValueError(
                    f"parts must be in the order of wholes: sort both tables by {self._id} (got "
                    f"{owners[at]} after {before} in row {row + at})"
                )
            last = int(index[-1])
            self.sizes[index] += np.diff(starts, append=len(owners))
            for name in self.fields:
                values.add(name, _numbers(table[name], name, row), row)
        self.digests |= values.digests
        if len(values.shapes) < len(self.fields):
            raise ValueError("parts must hold at least one row (got none)")

    def _open(self) -> None:
        """Map the files into memory."""
        self._ends = np.cumsum(self.sizes)
        self._fields = {name: _map(self._folder, f"parts.{name}") for name in self.fields}
        self._whole = _map(self._folder, "wholes.whole").reshape(-1, *self.event_shape)

    def __getstate__(self) -> dict[str, Any]:
        """Hand on the files, and not what is in them."""
        return {k: v for k, v in vars(self).items() if k not in ("_fields", "_whole", "_ends")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Data:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}) (got {index})")
        batch = self.batch(np.array([index % len(self)]))
        named = {name: batch[name] for name in self.fields}
        return Data(**named, whole=batch.whole, num_nodes=batch.num_nodes)

    def batch(self, indices: Array) -> Batch:
        """Return some wholes, by their numbers, as a PyG batch."""
        sizes = self.sizes[indices]
        shift = self._ends[indices] - np.cumsum(sizes)
        rows = np.repeat(shift, sizes) + np.arange(sizes.sum())
        fields = {name: torch.from_numpy(values[rows]) for name, values in self._fields.items()}
        whole = torch.from_numpy(self._whole[indices])
        return packed_batch(fields, whole, torch.from_numpy(sizes))

    def column(self, name: str) -> pa.Array:
        """Return a column of the wholes' table, ``[M]``."""
        import pyarrow as pa

        _check_columns(self._tables["wholes"], [name])
        pieces = [table[name] for _, table in _pieces(self._tables["wholes"], [name], "wholes")]
        kind = _schema(self._tables["wholes"][0]).field(name).type
        if pa.types.is_dictionary(kind):
            kind, pieces = kind.value_type, [piece.dictionary_decode() for piece in pieces]
        return pa.concat_arrays(pieces) if pieces else pa.array([], kind)


class _Columns:
    """Files that columns of numbers are written into, one for each."""

    def __init__(self, folder: Path, table: str) -> None:
        self.folder, self.table = folder, table
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.digests: dict[str, int] = {}

    def add(self, name: str, values: Array, row: int) -> None:
        """Append rows, the first of them of this number in the table."""
        shape = self.shapes.setdefault(name, values.shape[1:])
        if values.shape[1:] != shape:
            raise ValueError(
                f"{name} must have the same length in all rows (got {list(values.shape[1:])} from "
                f"row {row} on, expected {list(shape)})"
            )
        path = self.folder / f"{self.table}.{name}"
        if not path.exists():
            # How the file is to be read: an array of that type and shape, without rows.
            np.save(f"{path}.npy", values[:0])
        values = np.ascontiguousarray(values)
        self.digests[name] = zlib.crc32(values.data.cast("B"), self.digests.get(name, 0))
        with path.open("ab") as file:
            values.tofile(file)


def _map(folder: Path, name: str) -> Array:
    like = np.load(folder / f"{name}.npy")
    # As a plain array, whose slices cost less.
    values: Array = np.asarray(np.memmap(folder / name, like.dtype, "r"))
    return values.reshape(-1, *like.shape[1:])


def _check_installed() -> None:
    if find_spec("pyarrow") is None:
        raise ImportError("Parquet tables need pyarrow: pip install 'compvae-pyg[data]'")


def _files(path: str | PathLike[str], name: str) -> list[Path]:
    check_type(path, name, str, PathLike)
    files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if not files or not files[0].exists():
        raise FileNotFoundError(f"{name} must be a Parquet file or a folder of them (got {path})")
    return files


def _schema(file: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file} is not a Parquet file") from error


def _check_columns(files: Sequence[Path], names: Sequence[str]) -> None:
    for file in files:
        there = _schema(file).names
        for name in names:
            if name not in there:
                raise ValueError(f"{name!r} must be a column of {file.name} (got {there})")


def _pieces(
    files: Sequence[Path], columns: Sequence[str], name: str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of a table piece by piece, each with the number of its first row."""
    import pyarrow.parquet as pq

    tables = [pq.ParquetFile(file, buffer_size=1 << 20) for file in files]
    total = sum(table.metadata.num_rows for table in tables)
    row = 0
    with progress(None, name, "rows", total=total) as bar:
        for table in tables:
            with table:
                # One group of rows after the other: a reader of several keeps what it has read.
                for group in range(table.metadata.num_row_groups):
                    for piece in table.iter_batches(_ROWS, [group], list(dict.fromkeys(columns))):
                        if piece.num_rows:
                            yield row, piece
                        row += piece.num_rows
                        bar.update(piece.num_rows)


def _first_null(values: pa.Array) -> int:
    return int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))


def _check_complete(values: pa.Array, name: str, row: int, per: int = 1) -> None:
    if values.null_count:
        at = row + _first_null(values) // per
        raise ValueError(f"{name} must have no missing values (got one in row {at})")


def _numbers(values: pa.Array, name: str, row: int, per: int = 1) -> Array:
    """Return a column as an array; a row of the table has ``per`` of these values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    _check_complete(values, name, row, per)
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(values).to_numpy()
        other = np.flatnonzero(lengths != lengths[0])
        if len(other):
            raise ValueError(
                f"{name} must have the same length in all rows (got {lengths[other[0]]} in row "
                f"{row + int(other[0]) // per}, expected {lengths[0]})"
            )
        length = int(lengths[0])
        inner = _numbers(values.flatten(), name, row, per * max(1, length))
        return inner.reshape(len(values), length, *inner.shape[1:])
    if pa.types.is_boolean(kind):
        return values.to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind):
        return values.to_numpy().astype(np.int64)
    if not pa.types.is_floating(kind):
        raise TypeError(f"{name} must hold numbers or lists of numbers (got {kind})")
    out = values.to_numpy().astype(np.float32)
    if not np.isfinite(out.sum(dtype=np.float64)):
        at = int(np.argmin(np.isfinite(out)))
        raise ValueError(f"{name} must be finite (got {out[at]} in row {row + at // per})")
    return out
