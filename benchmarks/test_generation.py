"""Wholes drawn per second: from their parts, and from how many parts of each kind they have.

python -m pytest benchmarks/test_generation.py
"""

import pytest
import torch

from benchmarks.measure import interleave
from compvae_pyg import Dots, Sines
from compvae_pyg.problems import pack

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


@pytest.mark.parametrize("amount", [1, 1_000, 1_000_000])
def test_from_amounts(benchmark, device, amount) -> None:
    """So many parts of each of ten kinds; beside it, where that can be, each part written out."""
    problem, wholes = Sines(), 64
    model = problem.build("small").to(device).eval()
    kinds = torch.arange(problem.num_categories, device=device)
    amounts = torch.full((wholes, len(kinds)), amount, device=device)

    def from_amounts() -> torch.Tensor:
        return model.generate_amounts(amounts, {"category": kinds})

    contenders = {"from amounts": from_amounts}
    if amount <= 1_000:
        category = kinds.repeat(wholes * amount)
        batch, _ = pack(torch.full((wholes,), amount * len(kinds)), device)
        contenders["from parts"] = lambda: model.generate({"category": category}, batch, wholes)
    benchmark.extra_info.update(
        problem="sines", networks="small", wholes=wholes, parts_each=amount * len(kinds)
    )
    interleave(benchmark, contenders, device, seconds=2.0)
