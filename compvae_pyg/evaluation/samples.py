"""Whether generated wholes have the distribution of true ones: of the same parts, and of any."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from compvae_pyg.evaluation.two_sample import (
    classifier_accuracy,
    energy_distance,
    maximum_mean_discrepancy,
)
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.problems import Problem
from compvae_pyg.problems.estimate import Estimate
from compvae_pyg.problems.repeatable import isolated, stream

__all__ = ["compare_draws", "compare_wholes"]


def compare_draws(
    model: CompVAE,
    problem: Problem,
    num_parts: int,
    num_sets: int,
    num_draws: int,
    seed: int,
    batch_size: int,
    tick: Callable[[], Any] = lambda: None,
) -> dict[str, Estimate]:
    """Compare wholes of the same parts, see :func:`evaluate`, for sets of one size."""
    source = stream(seed, num_parts, problem._purpose_of_sets)
    sets = problem.sample_parts(torch.full((num_sets,), num_parts), source)
    repeated = sets.select(torch.arange(num_sets).repeat_interleave(num_draws))
    pieces = [piece for _, piece in repeated.split(batch_size)]
    own = stream(seed, num_parts, "sums")

    def draw(parts: PackedParts, source: torch.Generator) -> Tensor:
        fields = (parts[name] for name in problem.part_fields)
        return problem.draw(*fields, parts.batch, parts.batch_size, source)

    def generate(parts: PackedParts, source: torch.Generator) -> Tensor:
        tick()
        return model.generate(parts.to(device)).cpu()

    def add_up(draw: Callable[..., Tensor], parts: PackedParts) -> Tensor:
        each = (torch.arange(at, parts.num_parts, num_parts) for at in range(num_parts))
        return reduce(torch.add, (draw(parts.take(rows), own) for rows in each))

    with isolated(model, seed) as device:
        wholes = [[f(parts, source) for f in (draw, draw, generate)] for parts in pieces]
        with isolated(model, own):
            sums = [[add_up(f, parts) for f in (draw, generate)] for parts in pieces]
    drawn = [*zip(*wholes, strict=True), *zip(*sums, strict=True)]
    samples = torch.stack([_in_units(torch.cat(chunks)) for chunks in drawn])
    first, *others = samples.unflatten(1, (-1, num_draws))
    names = ("true", "generated", "true_sum", "generated_sum")
    found = {
        f"{name}_energy_distance": Estimate.of(energy_distance(other, first))
        for name, other in zip(names, others, strict=True)
    }
    if num_draws > 1:
        for name, other in zip(names[:2], others, strict=False):
            square = 2.0 * other.var(dim=1).sum(dim=1)
            found[f"{name}_spread"] = Estimate.root_mean(square)
    return found


def compare_wholes(
    model: CompVAE,
    problem: Problem,
    num_parts: int,
    num_sets: int,
    num_draws: int,
    num_classified: int,
    seed: int,
    batch_size: int,
    tick: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, Estimate], int]:
    """Compare wholes of any parts, see :func:`evaluate`; also return how many were classified."""
    number = max(num_sets * num_draws, num_classified)
    if not number:
        return {}, 0
    source = stream(seed, num_parts, "wholes")
    drawn = list(problem.batches(num_parts, 2 * number, batch_size, source))
    wholes = torch.cat([data.whole for data in drawn]).cpu()
    number, seen, made = len(wholes) // 2, 0, list[Tensor]()
    with isolated(model, seed) as device:
        for data in drawn:
            tick()
            seen += data.num_graphs
            # Generated wholes have the parts of those which they are not compared with.
            if seen > number:
                made.append(model.generate(problem.pack(data.to(device))).cpu())
    first, samples = wholes[:number], {"true": wholes[-number:], "generated": torch.cat(made)}
    if problem.value_range is not None:
        samples["generated"] = samples["generated"].clamp(*problem.value_range)
    samples = {name: sample[-number:] for name, sample in samples.items()}
    found: dict[str, Any] = {}
    if num_draws and number > 1:
        sets = min(num_sets, number // 2)
        draws = min(num_draws, number // sets)
        x = _in_units(first[: sets * draws]).unflatten(0, (sets, draws))
        for name, sample in samples.items():
            y = _in_units(sample[: sets * draws]).unflatten(0, (sets, draws))
            found[f"{name}_marginal_energy_distance"] = Estimate.of(energy_distance(x, y))
            if draws > 1:
                found[f"{name}_mmd"] = Estimate.of(maximum_mean_discrepancy(x, y))
    num_classified = min(num_classified, number) if number > 3 else 0
    for name, sample in samples.items() if num_classified else ():
        tick()
        pair = first[:num_classified], sample[:num_classified]
        found[f"{name}_classifier_accuracy"] = classifier_accuracy(*pair, seed=seed)
    return found, num_classified


def _in_units(wholes: Tensor) -> Tensor:
    """Return wholes, ``[n, D]``, as far apart as the root of their mean squared difference."""
    rows = wholes.double().flatten(1)
    return rows / rows.shape[1] ** 0.5
