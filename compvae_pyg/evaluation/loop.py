"""The loop of all evaluations: wholes of each number of parts, measured batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn
from torch_geometric.data import Batch

from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import Value
from compvae_pyg.problems.estimate import Estimate
from compvae_pyg.problems.repeatable import isolated, stream
from compvae_pyg.progress import progress

__all__ = ["Measure", "each_row", "measure_row"]

Measure: TypeAlias = Callable[[Batch, torch.Generator], Mapping[str, Value]]


def each_row(sizes: Sequence[int], task: str) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Yield numbers of parts, each with a function to call while it is worked on; show how far.

    Example:
        >>> [size for size, tick in each_row([1, 4], "evaluation")]
        [1, 4]
    """
    with progress(None, task, "rows", total=len(sizes)) as bar:
        for size in sizes:
            bar.set_postfix_str(f"K={size}", refresh=False)
            yield size, partial(bar.update, 0)
            bar.update()


def measure_row(
    model: nn.Module,
    problem: Problem,
    num_parts: int,
    measure: Measure,
    *,
    num_wholes: int,
    seed: int,
    batch_size: int,
    tick: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, Estimate], int]:
    """Return the estimates of a measure, and of how many wholes; these come from the CPU.

    ``measure`` takes a batch of wholes on the model's device, and a ``torch.Generator`` on the CPU.
    ``tick`` is called after each batch.

    Raises:
        ValueError: If there are no wholes of so many parts.
    """
    source, found, count = stream(seed, num_parts), list[Mapping[str, Value]](), 0
    with isolated(model, seed) as device:
        for data in problem.batches(num_parts, num_wholes, batch_size, source):
            found.append(measure(data.to(device), source))
            count += data.num_graphs
            tick()
    if not count:
        raise ValueError(f"num_parts must be one of the wholes that there are (got {num_parts})")
    return {name: _estimate([values[name] for values in found]) for name in found[0]}, count


def _estimate(values: list[Value]) -> Estimate:
    calls = [v if isinstance(v, partial) else partial(Estimate.of, v) for v in values]
    columns = zip(*(call.args for call in calls), strict=True)
    return calls[0].func(*(torch.cat(column).cpu() for column in columns))
