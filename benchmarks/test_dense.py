"""Packing against the program of the paper's appendix: sub-batches of one K, at the paper's width.

    python -m pytest benchmarks/test_dense.py

Both contenders' outputs and gradients are checked to be equal first.
"""

import pytest

from benchmarks.layouts import CONTENDERS, SIZES, Case
from benchmarks.measure import check_equal, interleave, peak_bytes

WIDTH = 2048
NAMES = ("packed", "one K per sub-batch, dense")


@pytest.mark.parametrize(
    ("sets", "sizes"), [(8, "all 4"), (32, "all 4"), (32, "all 8"), (32, "uniform 1–8")]
)
def test_dense(benchmark, device, sets, sizes) -> None:
    case = Case.draw(WIDTH, SIZES[sizes](sets), device)
    contenders = {name: CONTENDERS[name](case) for name in NAMES}
    check_equal(contenders)
    benchmark.extra_info.update(
        width=WIDTH,
        sets=sets,
        sizes=sizes,
        parts=int(case.sizes.sum()),
        bytes={name: peak_bytes(run, device) for name, run in contenders.items()},
    )
    interleave(benchmark, contenders, device, seconds=90.0)
