"""Wholes drawn per second: from their parts, and from how many parts of each kind they have.

python -m pytest benchmarks/test_generation.py
"""

from collections.abc import Callable

import pytest
import torch

from benchmarks.measure import interleave
from compvae_pyg import CompVAE, Dots, Sines
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


@pytest.mark.parametrize("amount", [1, 1_000])
def test_from_amounts(benchmark, device, amount) -> None:
    """So many parts of each of ten kinds, beside each part written out.

    What is written out leaves the caches cold, which counts for what follows it.
    """
    model, parts, wholes = ten_kinds(device)
    amounts = torch.full((wholes, 10), amount, device=device)
    category = parts["category"].repeat(wholes * amount)
    batch, _ = pack(torch.full((wholes,), amount * 10), device)
    benchmark.extra_info.update(
        problem="sines", networks="small", wholes=wholes, parts_each=amount * 10
    )
    contenders = {
        "from amounts": lambda: model.generate_amounts(amounts, parts),
        "from parts": lambda: model.generate({"category": category}, batch, wholes),
    }
    interleave(benchmark, contenders, device, seconds=2.0)


def test_amounts(benchmark, device) -> None:
    """Few parts of each of ten kinds and many, in turn."""
    model, parts, wholes = ten_kinds(device)

    def contender(amount: int) -> Callable[[], torch.Tensor]:
        amounts = torch.full((wholes, 10), amount, device=device)
        return lambda: model.generate_amounts(amounts, parts)

    contenders = {f"{amount:,}": contender(amount) for amount in (1, 1_000, 1_000_000)}
    benchmark.extra_info.update(problem="sines", networks="small", wholes=wholes)
    interleave(benchmark, contenders, device, seconds=4.0, max_rounds=400)


def ten_kinds(device: torch.device) -> tuple[CompVAE, dict[str, torch.Tensor], int]:
    """The shipped model of the sines, one part of each category, and a number of wholes."""
    model = CompVAE.from_pretrained("sines-small").to(device)
    return model, {"category": torch.arange(10, device=device)}, 64
