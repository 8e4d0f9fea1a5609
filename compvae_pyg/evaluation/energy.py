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
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_count, check_device, check_real
from compvae_pyg.problems import Problem

__all__ = ["SampledRow", "compare_samples", "energy_distance", "evaluate_samples"]

PartSets: TypeAlias = Callable[[int, int, int], tuple[PackedParts, torch.Generator]]
R = TypeVar("R", bound="SampledRow")


@dataclass(frozen=True)
class SampledRow(ElboRow):
    """An :class:`ElboRow`, and how far samples of wholes of the same parts lie apart.

    Distances are the :func:`energy_distance` of a sample to one of the ground truth, mean over
    several sets of parts. Two wholes are as far apart as the root of their mean squared difference.

    Attributes:
        num_part_sets: Number of sets of parts.
        num_draws: Number of wholes of each sample.
        true_energy_distance: Between two ground-truth samples: the oracle.
        generated_energy_distance: Of a sample of generated wholes.
        true_sum_energy_distance: Of sums of ground-truth wholes of one part each, independent.
        generated_sum_energy_distance: Of sums of generated wholes of one part each.
        panels: Titles of the four panels of :func:`~compvae_pyg.plots.plot_quality`, and what they
            show: a quantity, ``true_`` and ``generated_``, or a ratio.
        chance: Value of a field by chance.
    """

    num_part_sets: int
    num_draws: int
    true_energy_distance: Estimate
    generated_energy_distance: Estimate
    true_sum_energy_distance: Estimate
    generated_sum_energy_distance: Estimate

    panels: ClassVar[Mapping[str, str]] = {}
    chance: ClassVar[Mapping[str, float]] = {}


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the energy distance of two samples, in 64 bits (Székely and Rizzo, 2013).

    .. math::
        \frac{2}{nm} \sum_{i,j} \lVert x_i - y_j \rVert
            - \frac{1}{n^2} \sum_{i,j} \lVert x_i - x_j \rVert
            - \frac{1}{m^2} \sum_{i,j} \lVert y_i - y_j \rVert \geq 0

    for samples ``[*, n, D]`` and ``[*, m, D]``, as ``[*]``. It is zero for equal samples, and of
    the order of :math:`1/n + 1/m` for two of one distribution: compare samples of equal sizes.

    Raises:
        ValueError: If the samples differ in other sizes than their own, or one is empty.

    Example:
        >>> energy_distance(torch.zeros(2, 1), torch.ones(3, 1))
        tensor(2., dtype=torch.float64)
    """
    check_real(x, "x")
    check_real(y, "y")
    check_device(y, "y", x.device, "x")
    if (
        min(x.dim(), y.dim()) < 2
        or (x.shape[:-2], x.shape[-1]) != (y.shape[:-2], y.shape[-1])
        or min(x.shape[-2], y.shape[-2]) == 0
    ):
        raise ValueError(
            f"x and y must be [*, n, D] and [*, m, D] (got {list(x.shape)} and {list(y.shape)})"
        )

    def distance(first: Tensor, second: Tensor) -> Tensor:
        # Through a matrix product, equal points would not be at the distance 0.
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(first.double(), second.double(), compute_mode=exact).mean(dim=(-2, -1))

    return 2.0 * distance(x, y) - distance(x, x) - distance(y, y)


def compare_samples(
    model: CompVAE,
    problem: Any,
    sets: PackedParts,
    source: torch.Generator,
    num_draws: int,
    seed: int,
    batch_size: int,
) -> dict[str, Estimate]:
    """Return the distances of :class:`SampledRow` for a few sets of equally many parts.

    ``problem.draw`` draws ground-truth wholes of them from ``source``, on the CPU. What the model
    draws, and all that the sums are made of, comes from ``seed``.
    """
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
    first, *others = (_sample(chunks, num_draws) for chunks in drawn)
    names = ("true", "generated", "true_sum", "generated_sum")
    return {
        f"{name}_energy_distance": Estimate.of(energy_distance(other, first))
        for name, other in zip(names, others, strict=True)
    }


def _sample(chunks: Sequence[Tensor], num_draws: int) -> Tensor:
    """Return wholes as ``[sets, draws, D]``, as far apart as :class:`SampledRow` says."""
    wholes = torch.cat(list(chunks)).double().flatten(1)
    return wholes.unflatten(0, (-1, num_draws)) / wholes.shape[1] ** 0.5


def evaluate_samples(
    kind: type[R],
    model: CompVAE,
    problem: Problem,
    measure: Measure,
    part_sets: PartSets,
    num_parts: Sequence[int],
    num_part_sets: int,
    num_draws: int,
    *,
    seed: int = 0,
    batch_size: int = 250,
    **options: Any,
) -> list[R]:
    """Return rows of the estimates of :func:`measure_wholes` and :func:`compare_samples`.

    ``part_sets`` draws so many sets of so many parts each from a seed, and returns the source of
    their ground-truth wholes as well.
    """
    check_count(num_part_sets, "num_part_sets")
    check_count(num_draws, "num_draws")
    options |= {"num_parts": num_parts, "seed": seed, "batch_size": batch_size}
    rows = []
    for row in measure_wholes(model, problem, measure, **options):
        sets, source = part_sets(num_part_sets, row.bound.num_parts, seed)
        fields: dict[str, Any] = {
            **vars(row.bound),
            **row.measured,
            **compare_samples(model, problem, sets, source, num_draws, seed, batch_size),
        }
        rows.append(kind(num_part_sets=num_part_sets, num_draws=num_draws, **fields))
    return rows
