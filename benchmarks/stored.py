"""Read stored wholes from Parquet tables: parts per second, and the memory that it takes.

    python -m benchmarks.stored

On one thread, as a worker process of a loader has it.
Writes the tables, piece by piece, into a temporary folder; unpacks them; and goes through one epoch
in random order. Memory is the process's own (the kernel's RssAnon), beyond what it held before,
at its highest: pages of mapped files, which the kernel takes back when others need room, are apart.
"""

import json
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tyro


@dataclass(kw_only=True)
class Options:
    parts: int = 10_000_000
    """Number of parts, about."""

    parts_each: int = 10
    """Number of parts of a whole, on average."""

    length: int = 24
    """Length of a whole."""

    batch_size: int = 256
    """Number of wholes in a batch."""

    row_group: int = 1_000_000
    """Number of parts in a row group of their table, about."""

    num_workers: int = 0
    """Processes that read batches."""

    folder: Path | None = None
    """Where tables and unpacked files lie for the time being; by default the system's place."""

    output: Path = Path("outputs/stored.json")
    """File for the result."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.origin import PACKAGES, origin
from compvae_pyg.training import StoredData


def write(folder: Path, options: Options) -> int:
    """Write both tables, and return the number of parts."""
    random, first, total = np.random.default_rng(0), 0, 0
    files: dict[str, Any] = {}
    while total < options.parts:
        count = max(1, min(options.row_group, options.parts - total) // options.parts_each)
        sizes = random.integers(0, 2 * options.parts_each + 1, count)
        ids = np.arange(first, first + count)
        owner, values = np.repeat(ids, sizes), random.standard_normal((count, options.length))
        flat = pa.array(values.astype(np.float32).reshape(-1))
        kind, power = random.integers(0, 10, len(owner)), random.standard_normal(len(owner))
        tables = {
            "wholes": {"id": ids, "whole": pa.FixedSizeListArray.from_arrays(flat, options.length)},
            "parts": {"id": owner, "kind": kind, "power": power.astype(np.float32)},
        }
        for name, columns in tables.items():
            table = pa.table(columns)
            if name not in files:
                files[name] = pq.ParquetWriter(folder / f"{name}.parquet", table.schema)
            files[name].write_table(table)
        first, total = first + count, total + len(owner)
    for file in files.values():
        file.close()
    return total


def resident() -> float:
    """Memory of this process alone that is in use, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


@contextmanager
def measured(before: float) -> Iterator[dict[str, float]]:
    """Note the seconds that a block takes, and its memory at its highest, looked at every 5 ms."""
    found, ended = {"seconds": 0.0, "megabytes": 0.0}, threading.Event()
    start = time.perf_counter()

    def watch() -> None:
        while not ended.wait(0.005):
            found["megabytes"] = max(found["megabytes"], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        found["seconds"] = time.perf_counter() - start
        ended.set()
        watcher.join()


def measure(options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        # In a process of its own, whose memory is not counted.
        with ProcessPoolExecutor(1, get_context("fork")) as other:
            total = other.submit(write, Path(folder), options).result()
        before = resident()
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
        with measured(before) as unpacking:
            data = StoredData(
                folder,
                batch_size=options.batch_size,
                fractions=(1.0, 0.0, 0.0),
                num_workers=options.num_workers,
            )
        with measured(before) as epoch:
            seen = sum(batch.num_nodes for batch in data.train_dataloader())
        if seen != total:
            raise RuntimeError(f"an epoch must have {total} parts (got {seen})")
        row = {"parts": total, "wholes": len(data.wholes), "tables_megabytes": size}
        for name, found in (("unpacking", unpacking), ("epoch", epoch)):
            row[f"{name}_seconds"] = found["seconds"]
            row[f"{name}_parts_per_second"] = total / found["seconds"]
            row[f"{name}_peak_megabytes"] = found["megabytes"]
        return {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in row.items()}


def main(options: Options) -> None:
    row = measure(options)
    for name in ("unpacking", "epoch"):
        print(
            f"{name}: {row[f'{name}_parts_per_second']:,.0f} parts per second, peak memory "
            f"{row[f'{name}_peak_megabytes']:.0f} MB, of {row['parts']:,} parts"
        )
    command = shlex.join(["python", "-m", "benchmarks.stored", *sys.argv[1:]])
    result = {"origin": origin(command, torch.device("cpu"), (*PACKAGES, "pyarrow")), "rows": [row]}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(OPTIONS)
