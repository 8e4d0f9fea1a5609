"""Measuring a model without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["isolated"]


@contextmanager
def isolated(model: nn.Module, seed: int) -> Iterator[torch.device]:
    """Put a model into evaluation mode, without gradients and with randomness of its own.

    What the model draws inside depends on ``seed`` alone. Afterwards the global random number
    generators and the modes of the model's modules are what they were.

    Args:
        model: The model, all on one device.
        seed: Seed of what the model draws.

    Yields:
        The device of the model.

    Example:
        >>> model = nn.Dropout()
        >>> with isolated(model, seed=0):
        ...     model.training
        False
        >>> model.training
        True
    """
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    modes = [(module, module.training) for module in model.modules()]
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []), torch.no_grad():
        # torch.manual_seed would also seed the devices whose state is not kept.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        model.eval()
        try:
            yield device
        finally:
            for module, training in modes:
                module.training = training
