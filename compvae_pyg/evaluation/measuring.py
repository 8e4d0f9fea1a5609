"""The course of every evaluation: number of parts by number of parts, batch by batch."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator, evaluation_wholes
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Problem

__all__ = ["measure_wholes"]


def measure_wholes(
    model: CompVAE,
    problem: Problem,
    measure: Callable[[Batch, torch.Generator], dict[str, Tensor]],
    *,
    num_parts: Sequence[int],
    num_wholes: int,
    seed: int,
    batch_size: int,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Measure a model on wholes of each number of parts.

    What comes out depends on the arguments alone, for each number of parts independently of the
    others, and the global random number generators stay as they are.

    Args:
        model: The model, on the device that is to be used.
        problem: Source of the wholes.
        measure: Takes a batch on that device, and a source of randomness on the CPU; returns named
            values, one a whole, ``[S]`` each.
        num_parts: Numbers of parts.
        num_wholes: Number of wholes for each of them.
        seed: Seed of the wholes and of what the model draws.
        batch_size: Number of wholes at a time; bounds the memory.

    Yields:
        A number of parts, and the values of all its wholes, ``[num_wholes]`` each, on the CPU.

    Raises:
        ValueError: If a number of parts, ``num_wholes`` or ``batch_size`` is not positive.
    """
    for size in num_parts:
        source = evaluation_generator(seed, size)
        with isolated(model, seed) as device:
            chunks = [
                measure(data, source)
                for data in evaluation_wholes(problem, size, num_wholes, batch_size, source, device)
            ]
        yield size, {name: torch.cat([chunk[name] for chunk in chunks]).cpu() for name in chunks[0]}
