"""Wholes drawn from their parts, per second.

python -m pytest benchmarks/test_generation.py
"""

import pytest
import torch

from benchmarks.measure import interleave
from compvae_pyg import Dots, Sines

PROBLEMS = {"dots": Dots(), "sines": Sines()}


@pytest.mark.parametrize("num_parts", [1, 8, 64])
@pytest.mark.parametrize("networks", ["small", "paper"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_generation(benchmark, device, name, networks, num_parts) -> None:
    problem = PROBLEMS[name]
    model = problem.build(networks).to(device).eval()
    wholes = 256 if networks == "small" else 64
    data = problem.sample(torch.full((wholes,), num_parts)).to(device)
    parts = problem.parts(data)

    def generate() -> torch.Tensor:
        return model.generate(parts, data.batch, wholes)

    benchmark.extra_info.update(
        problem=name, networks=networks, wholes=wholes, parts_each=num_parts
    )
    interleave(benchmark, {"from parts": generate}, device, seconds=3.0)
