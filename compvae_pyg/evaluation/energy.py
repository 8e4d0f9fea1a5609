"""Whether generated wholes of given parts have the distribution of the ground truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, TypeAlias, TypeVar

import torch
from torch import Tensor

from compvae_pyg.evaluation.elbo import ElboRow, measure_wholes
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.loop import Measure, isolated, stream
from compvae_pyg.evaluation.two_sample import energy_distance
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_sizes
from compvae_pyg.problems import Problem

__all__ = ["SampledRow", "compare_samples", "evaluate_samples"]

PartSets: TypeAlias = Callable[[Tensor, torch.Generator], PackedParts]
R = TypeVar("R", bound="SampledRow")


@dataclass(frozen=True)
class SampledRow(ElboRow):
    """An :class:`ElboRow`, and how far samples of wholes of the same parts lie apart.

    Each distance is the :func:`energy_distance` of a sample of ``num_draws`` wholes to one of the
    ground truth, mean over ``num_part_sets`` sets of parts: for another ground-truth sample, the
    oracle, ``true``, for ``generated`` wholes, and for sums of independent wholes of one part each.
    Two wholes are as far apart as the root of their mean squared difference.

    ``panels`` maps titles of the panels of :func:`~compvae_pyg.plots.plot_quality` to what they
    show, a quantity or a ratio; ``chance`` maps fields to their values by chance.
    """

    num_part_sets: int
    num_draws: int
    true_energy_distance: Estimate
    generated_energy_distance: Estimate
    true_sum_energy_distance: Estimate
    generated_sum_energy_distance: Estimate

    panels: ClassVar[Mapping[str, str]] = {}
    chance: ClassVar[Mapping[str, float]] = {}


def compare_samples(
    model: CompVAE,
    problem: Any,
    sets: PackedParts,
    source: torch.Generator,
    num_draws: int,
    seed: int,
    batch_size: int,
) -> dict[str, Estimate]:
    """Return :class:`SampledRow`'s distances for sets of one size, true wholes from ``source``."""
    num_parts = sets.num_parts // sets.batch_size
    repeated = sets.select(torch.arange(sets.batch_size).repeat_interleave(num_draws))
    pieces = [piece for _, piece in repeated.split(batch_size)]
    own = stream(seed, num_parts, "sums")

    def draw(parts: PackedParts, source: torch.Generator) -> Tensor:
        fields = (parts[name] for name in problem.part_fields)
        return problem.draw(*fields, parts.batch, parts.batch_size, source)

    def generate(parts: PackedParts, source: torch.Generator) -> Tensor:
        return model.generate(parts.to(device)).cpu()

    def add_up(draw: Callable[..., Tensor], parts: PackedParts) -> Tensor:
        each = (torch.arange(at, parts.num_parts, num_parts) for at in range(num_parts))
        return reduce(torch.add, (draw(parts.take(rows), own) for rows in each))

    with isolated(model, seed) as device:
        wholes = [[f(parts, source) for f in (draw, draw, generate)] for parts in pieces]
        with isolated(model, own):
            sums = [[add_up(f, parts) for f in (draw, generate)] for parts in pieces]
    drawn = [*zip(*wholes, strict=True), *zip(*sums, strict=True)]
    samples = torch.stack([torch.cat(chunks).double().flatten(1) for chunks in drawn])
    first, *others = samples.unflatten(1, (-1, num_draws)) / samples.shape[-1] ** 0.5
    names = ("true", "generated", "true_sum", "generated_sum")
    return {
        f"{name}_energy_distance": Estimate.of(energy_distance(other, first))
        for name, other in zip(names, others, strict=True)
    }


def evaluate_samples(
    kind: type[R],
    model: CompVAE,
    problem: Problem,
    measure: Measure,
    part_sets: PartSets,
    purpose: str,
    num_parts: Sequence[int],
    num_part_sets: int,
    num_draws: int,
    *,
    seed: int = 0,
    batch_size: int = 250,
    **options: Any,
) -> list[R]:
    """Return rows of the estimates of :func:`measure_wholes` and :func:`compare_samples`.

    ``part_sets`` draws sets of given sizes, from the stream of a ``purpose``, as their wholes are.
    """
    check_sizes(num_part_sets=num_part_sets, num_draws=num_draws)
    options |= {"num_parts": num_parts, "seed": seed, "batch_size": batch_size}
    rows = []
    for row in measure_wholes(model, problem, measure, **options):
        source = stream(seed, row.bound.num_parts, purpose)
        sets = part_sets(torch.full((num_part_sets,), row.bound.num_parts), source)
        compared = compare_samples(model, problem, sets, source, num_draws, seed, batch_size)
        fields: dict[str, Any] = {**vars(row.bound), **row.measured, **compared}
        rows.append(kind(num_part_sets=num_part_sets, num_draws=num_draws, **fields))
    return rows
