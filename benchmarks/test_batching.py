"""Packing against the other ways to run sets of many sizes: one encoder, forward and backward.

    python -m pytest benchmarks/test_batching.py

All contenders' outputs and gradients are checked to be equal first.
"""

import pytest

from benchmarks.layouts import COMPILED, CONTENDERS, SIZES, Case
from benchmarks.measure import check_equal, interleave, peak_bytes

# Width, number of sets, their sizes, contenders. Padding to the outlier takes gigabytes at width
# 128 and with more sets.
OUTLIER = "one of 1,000"
# Compiling takes a minute; wide layers, where products are nearly all, gain little.
COMPILED_WIDTH = 128
CASES = [
    (64, 256, sizes, tuple(CONTENDERS))
    if sizes == OUTLIER
    else (128, 1024, sizes, tuple(CONTENDERS))
    for sizes in SIZES
]
# Some of them on wider layers, and where rows are so few that what does not depend on them shows.
CASES += [
    (width, sets, sizes, ("packed", "padded"))
    for width, sets, sizes in (
        (512, 256, "uniform 1–16"),
        (1024, 128, "uniform 1–16"),
        *((128, 256, sizes) for sizes in SIZES if sizes != OUTLIER),
    )
]


@pytest.mark.parametrize(("width", "sets", "sizes", "names"), CASES)
def test_batching(benchmark, device, compiling, width, sets, sizes, names) -> None:
    case = Case.draw(width, SIZES[sizes](sets), device)
    contenders = {name: CONTENDERS[name](case) for name in names}
    if compiling and width == COMPILED_WIDTH:
        contenders |= {name: contender(case) for name, contender in COMPILED.items()}
    check_equal(contenders)
    num_parts, longest = int(case.sizes.sum()), int(case.sizes.max())
    benchmark.extra_info.update(
        width=width,
        sets=sets,
        sizes=sizes,
        parts=num_parts,
        real_share=num_parts / (sets * longest),
        bytes={name: peak_bytes(run, device) for name, run in contenders.items()},
    )
    interleave(benchmark, contenders, device, seconds=15.0)
