"""The loop of all evaluations: wholes of each number of parts, measured batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.nn import PackedParts
from compvae_pyg.problems import Problem

__all__ = ["Measure", "Value", "isolated", "measure_row", "packed_parts", "stream"]

Value: TypeAlias = Tensor | partial[Estimate]
Measure: TypeAlias = Callable[[Batch, torch.Generator], Mapping[str, Value]]

# Sets the streams of evaluation apart from those of a training with the same seed.
_STREAM = 0x65766C


def measure_row(
    model: nn.Module,
    problem: Problem,
    num_parts: int,
    *measures: Measure,
    num_wholes: int,
    seed: int,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Return the estimates of measures as in :func:`measure_wholes`; wholes come from the CPU."""
    source = stream(seed, num_parts)
    batches = []
    with isolated(model, seed) as device:
        for start in range(0, num_wholes, batch_size):
            sizes = torch.full((min(batch_size, num_wholes - start),), num_parts)
            data = problem.sample(sizes, source).to(device)
            batches.append([measure(data, source) for measure in measures])
    return [
        {name: _estimate([values[name] for values in found]) for name in found[0]}
        for found in zip(*batches, strict=True)
    ]


def _estimate(values: Sequence[Value]) -> Estimate:
    calls = [v if isinstance(v, partial) else partial(Estimate.of, v) for v in values]
    columns = zip(*(call.args for call in calls), strict=True)
    return calls[0].func(*(torch.cat(column).cpu() for column in columns))


@contextmanager
def isolated(model: nn.Module, seed: int | torch.Generator) -> Iterator[torch.device]:
    """Evaluate a model without gradients, all randomness from ``seed`` or drawn from a generator.

    Yields the model's device, and restores the global random number generators and all modes.
    """
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed))
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


def stream(seed: int, num_parts: int, purpose: str = "") -> torch.Generator:
    """Return the source, on the CPU, of wholes of ``num_parts`` parts, or for another purpose."""
    entropy = [_STREAM, seed, num_parts, *purpose.encode()]
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state) >> 1)


def packed_parts(problem: Problem, data: Batch) -> PackedParts:
    """Return the parts of a batch."""
    return PackedParts(problem.parts(data), data.batch, data.num_graphs, validate=False)
