"""Wholes drawn per second: from their parts, and from the counts of each kind of part.

python -m pytest benchmarks/test_generation.py
"""

from collections.abc import Callable

import pytest
import torch

from benchmarks.measure import interleave
from compvae_pyg import CompVAE, Dots, Sines
from compvae_pyg.nn import pack

PROBLEMS = {"dots": Dots(), "sines": Sines()}


@pytest.mark.parametrize("num_parts", [1, 8, 64])
@pytest.mark.parametrize("networks", ["small", "paper"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_from_parts(benchmark, device, name, networks, num_parts) -> None:
    problem = PROBLEMS[name]
    model = problem.build(networks).to(device).eval()
    wholes = 256 if networks == "small" else 32
    data = problem.sample(torch.full((wholes,), num_parts)).to(device)
    parts = problem.parts(data)

    def generate() -> torch.Tensor:
        return model.generate(parts, data.batch, wholes)

    benchmark.extra_info.update(
        problem=name, networks=networks, wholes=wholes, parts_each=num_parts
    )
    interleave(benchmark, {"from parts": generate}, device, seconds=2.0)


@pytest.mark.parametrize("count", [1, 1_000])
def test_from_counts(benchmark, device, count) -> None:
    """Counts of each of ten kinds, beside one row for each part.

    Many rows leave the caches cold, which counts for what follows.
    """
    model, parts, wholes = ten_kinds(device)
    counts = torch.full((wholes, 10), count, device=device)
    category = parts["category"].repeat(wholes * count)
    batch, _ = pack(torch.full((wholes,), count * 10), device)
    benchmark.extra_info.update(
        problem="sines", networks="small", wholes=wholes, parts_each=count * 10
    )
    contenders = {
        "from counts": lambda: model.generate_counts(counts, parts),
        "from parts": lambda: model.generate({"category": category}, batch, wholes),
    }
    interleave(benchmark, contenders, device, seconds=2.0)


def test_counts(benchmark, device) -> None:
    """Few parts of each of ten kinds and many, in turn."""
    model, parts, wholes = ten_kinds(device)

    def contender(count: int) -> Callable[[], torch.Tensor]:
        counts = torch.full((wholes, 10), count, device=device)
        return lambda: model.generate_counts(counts, parts)

    contenders = {f"{count:,}": contender(count) for count in (1, 1_000, 1_000_000)}
    benchmark.extra_info.update(problem="sines", networks="small", wholes=wholes)
    interleave(benchmark, contenders, device, seconds=4.0, max_rounds=400)


def ten_kinds(device: torch.device) -> tuple[CompVAE, dict[str, torch.Tensor], int]:
    """The shipped model of the sines, one part of each category, and a number of wholes."""
    model = CompVAE.from_pretrained("sines-small").to(device)
    return model, {"category": torch.arange(10, device=device)}, 64
