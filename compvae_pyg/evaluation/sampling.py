"""The wholes that a model is measured on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch_geometric.data import Batch

from compvae_pyg.problems import Problem

__all__ = ["drawn_seed", "evaluation_generator", "evaluation_wholes"]

# Sets the streams of evaluation apart from those of a training with the same seed.
_STREAM = 0x65766C


def evaluation_generator(seed: int, num_parts: int, purpose: str = "") -> torch.Generator:
    """Return the source of the wholes of ``num_parts`` parts each, on the CPU.

    Whatever else an evaluation draws for them has a stream of its own by its ``purpose``, so that
    nothing else changes with it.

    Example:
        >>> evaluation_generator(0, 4).initial_seed() == evaluation_generator(0, 4).initial_seed()
        True
        >>> evaluation_generator(0, 4, "sums").initial_seed() == evaluation_generator(
        ...     0, 4
        ... ).initial_seed()
        False
    """
    entropy = [_STREAM, seed, num_parts, *purpose.encode()]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def drawn_seed(source: torch.Generator) -> int:
    """Draw a seed for what has no generator as an argument.

    Example:
        >>> source = torch.Generator().manual_seed(0)
        >>> drawn_seed(source) == drawn_seed(source)
        False
    """
    return int(torch.randint(2**62, (), generator=source))


def evaluation_wholes(
    problem: Problem,
    num_parts: int,
    num_wholes: int,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[Batch]:
    """Draw wholes of one number of parts in batches.

    They are drawn on the CPU, so that a GPU is measured on the same wholes.

    Args:
        problem: Source of the wholes.
        num_parts: Number :math:`K` of parts of each whole.
        num_wholes: Number of wholes in all.
        batch_size: Number of wholes at a time; bounds the memory.
        generator: Source of the randomness, on the CPU.
        device: Where the batches go.

    Raises:
        ValueError: If ``num_parts``, ``num_wholes`` or ``batch_size`` is not positive.
    """
    if min(num_parts, num_wholes, batch_size) < 1:
        raise ValueError(
            "num_parts, num_wholes and batch_size must be at least 1 "
            f"(got {num_parts}, {num_wholes} and {batch_size})"
        )
    for start in range(0, num_wholes, batch_size):
        sizes = torch.full((min(batch_size, num_wholes - start),), num_parts)
        yield problem.sample(sizes, generator).to(device)
