"""What a whole costs by its amounts: as much for a million parts as for one.

    python -m pytest benchmarks/test_amounts.py

Beside them, for the amounts that can be written out, the same wholes part by part.
"""

import pytest
import torch

from compvae_pyg import CompVAE, Sines

NUM_WHOLES = 64
AMOUNTS = (1, 1_000, 1_000_000)
ROUNDS = {"rounds": 30, "iterations": 5, "warmup_rounds": 3}


@pytest.fixture(scope="module")
def model() -> CompVAE:
    torch.manual_seed(0)
    return Sines().build("small").eval()


@pytest.fixture(scope="module")
def kinds() -> torch.Tensor:
    return torch.arange(Sines().num_categories)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_by_amounts(benchmark, model: CompVAE, kinds: torch.Tensor, amount: int) -> None:
    amounts = torch.full((NUM_WHOLES, kinds.shape[0]), amount)
    benchmark.extra_info["parts a whole"] = amount * kinds.shape[0]
    benchmark.pedantic(lambda: model.generate_amounts(amounts, {"category": kinds}), **ROUNDS)


@pytest.mark.parametrize("amount", AMOUNTS[:2])
def test_part_by_part(benchmark, model: CompVAE, kinds: torch.Tensor, amount: int) -> None:
    category = kinds.repeat(NUM_WHOLES * amount)
    batch = torch.arange(NUM_WHOLES).repeat_interleave(amount * kinds.shape[0])
    benchmark.extra_info["parts a whole"] = amount * kinds.shape[0]
    run = {**ROUNDS, "rounds": 3, "iterations": 1, "warmup_rounds": 1}
    benchmark.pedantic(lambda: model.generate({"category": category}, batch, NUM_WHOLES), **run)
