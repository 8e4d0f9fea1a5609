"""Random numbers of evaluations and figures, that depend on a seed alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from compvae_pyg.distributions.random_source import DrawFrom

__all__ = ["isolated", "stream"]

# Sets the streams of evaluation apart from those of a training with the same seed.
_STREAM = 0x65766C


@contextmanager
def isolated(model: nn.Module, seed: int | torch.Generator) -> Iterator[torch.device]:
    """Evaluate a model without gradients, all randomness from ``seed`` or drawn from a generator.

    Yields the model's device, and restores all modes. The global sources of random numbers, and
    what other threads draw, are not touched, see :class:`~compvae_pyg.distributions.DrawFrom`.
    """
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed, device=seed.device))
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    modes = [(module, module.training) for module in model.modules()]
    sources: dict[torch.device, torch.Generator] = {}

    def source_of(device: torch.device) -> torch.Generator:
        if device not in sources:
            sources[device] = torch.Generator(device).manual_seed(seed)
        return sources[device]

    with DrawFrom(source_of), torch.no_grad():
        model.eval()
        try:
            yield device
        finally:
            for module, training in modes:
                module.training = training


def stream(seed: int, num_parts: int, purpose: str = "") -> torch.Generator:
    """Return the source, on the CPU, of wholes of ``num_parts`` parts, or for another purpose."""
    entropy = [_STREAM, seed, num_parts, *purpose.encode()]
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) >> 1)
