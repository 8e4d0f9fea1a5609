"""Time and memory of the encoder, forward and backward, against the number of parts and of sets.

python -m pytest benchmarks/test_scaling.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.layouts import Case, PackedContender
from benchmarks.measure import interleave, peak_bytes

WIDTH = 16
# Of N parts in all, of sets of 8; of one set; and of 10,000 parts in so many sets.
PARTS = (100, 1_000, 10_000, 100_000, 1_000_000)
ONE_SET = (10, 100, 1_000, 10_000, 100_000)
SETS = (1, 10, 100, 1_000, 10_000)


def measure(benchmark, device, axis: str, num_parts: int, num_sets: int) -> None:
    sizes = torch.full((num_sets,), num_parts // num_sets)
    sizes[: num_parts % num_sets] += 1
    run = PackedContender(Case.draw(WIDTH, sizes, device))
    run()
    benchmark.extra_info.update(
        axis=axis,
        width=WIDTH,
        parts=num_parts,
        sets=num_sets,
        bytes={"packed": peak_bytes(run, device)},
    )
    interleave(benchmark, {"packed": run}, device, seconds=2.0)


@pytest.mark.parametrize("num_parts", PARTS)
def test_parts(benchmark, device, num_parts) -> None:
    measure(benchmark, device, "parts", num_parts, -(-num_parts // 8))


@pytest.mark.parametrize("num_parts", ONE_SET)
def test_one_set(benchmark, device, num_parts) -> None:
    measure(benchmark, device, "one set", num_parts, 1)


@pytest.mark.parametrize("num_sets", SETS)
def test_sets(benchmark, device, num_sets) -> None:
    measure(benchmark, device, "sets", 10_000, num_sets)


LARGEST = """
import resource, sys, torch
from benchmarks.layouts import Case, PackedContender
torch.set_num_threads(int(sys.argv[1]))
PackedContender(Case.draw(128, torch.tensor([100_000]), torch.device("cpu")))()
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_process_with_one_set_of_100000_parts(benchmark, device) -> None:
    """Width 128, forward and backward; the memory is that of the process, torch included."""
    if device.type != "cpu":
        pytest.skip("the memory of a process is that of the host")
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", LARGEST, str(torch.get_num_threads())]
    env = {**os.environ, "PYTHONPATH": str(root)}

    def run() -> int:
        done = subprocess.run(
            command, cwd=root, env=env, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    peak = benchmark.pedantic(run)
    benchmark.extra_info.update(
        axis="process", width=128, parts=100_000, sets=1, bytes={"packed": peak}
    )
    benchmark.extra_info["seconds"] = {"packed": list(benchmark.stats.stats.data)}
