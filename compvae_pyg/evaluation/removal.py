"""What becomes of an observed whole when a part is removed from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric.data import Batch

from compvae_pyg.evaluation.dots import accuracy_per_image
from compvae_pyg.evaluation.elbo import mean_square
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.loop import Value, measure_row, packed_parts
from compvae_pyg.evaluation.rows import EvaluationRow
from compvae_pyg.evaluation.sines import Spectrum, sines_spectrum
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_counts, check_evaluation
from compvae_pyg.problems import Dots, Problem, Sines

__all__ = ["DotsRemovalRow", "RemovalRow", "SinesRemovalRow", "evaluate_removal"]


@dataclass(frozen=True)
class RemovalRow(EvaluationRow):
    """Observed wholes of one number of parts, from which one part is removed.

    The ground truth without it is drawn again from the parts that stay, with the intrinsic features
    that they have in the observed whole. Differences to it are root mean squares.

    Attributes:
        num_parts: Number :math:`K` of parts of each observed whole.
        num_wholes: Number of wholes that the estimates come from.
        reconstruction_rmse: Difference of the reconstruction to the observed whole.
        removal_rmse: Difference of the whole after the removal to that ground truth.
        settled_rmse: The same after the latents of the parts that stay are inferred once more, from
            the mean whole that they decode to.
        generated_rmse: That of a whole generated from the parts that stay, with intrinsic features
            of its own: what is gained by having observed.
        kept_rmse: That of the reconstruction, nothing removed: how much a part matters.
    """

    num_parts: int
    num_wholes: int
    reconstruction_rmse: Estimate
    removal_rmse: Estimate
    settled_rmse: Estimate
    generated_rmse: Estimate
    kept_rmse: Estimate


@dataclass(frozen=True)
class DotsRemovalRow(RemovalRow):
    """Images of one number of sites, from which one site is removed.

    Attributes:
        true_accuracy: :func:`site_accuracy` of the sites that stay, in the ground truth.
        removal_accuracy: That of the image after the removal.
        accuracy_ratio: The second over the first.
    """

    true_accuracy: Estimate
    removal_accuracy: Estimate
    accuracy_ratio: Estimate


@dataclass(frozen=True)
class SinesRemovalRow(RemovalRow):
    r"""Curves of one number of waves, from which one wave is removed.

    :math:`c_\ell` is the coefficient of a frequency in the :func:`spectrum`. Curves with another
    wave of the removed frequency do not count there: what is to be left is not known.

    Attributes:
        alone_rmse: ``removal_rmse`` of the curves that have no other wave of the removed frequency.
        amplitude: Mean of :math:`|c_\ell|` at the removed frequency, in the reconstruction.
        amplitude_left: That after the removal.
        leak: That of the frequencies that a curve does not have, in the reconstruction.
        others_error: Root mean squared difference in :math:`c_\ell` of the reconstruction to the
            observed whole, at the frequencies of the waves that stay, without the removed one.
        others_removal_error: That of the whole after the removal.
    """

    alone_rmse: Estimate
    amplitude: Estimate
    amplitude_left: Estimate
    leak: Estimate
    others_error: Estimate
    others_removal_error: Estimate


def evaluate_removal(
    model: CompVAE,
    problem: Dots | Sines,
    *,
    num_parts: Sequence[int] = (2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[RemovalRow]:
    """Remove a part from observed wholes, and compare with the ground truth without it.

    The latents of a whole and of its parts are inferred, the first part is removed, and the rest is
    decoded (:meth:`Composition.remove`); parts come in random order, so that the first one stands
    for any. Arguments and errors are those of :func:`measure_wholes`, with at least two parts.

    Example:
        >>> sines = Sines()
        >>> row, = evaluate_removal(sines.build("small"), sines, num_parts=[3], num_wholes=8)
        >>> row.kept_rmse.mean > 0.0
        True
    """
    how = {"num_wholes": num_wholes, "seed": seed, "batch_size": batch_size}
    check_evaluation(model, problem, Problem, **how)
    check_counts(num_parts, "num_parts", at_least=2)
    kind, measure_more = _OF_PROBLEM.get(problem.name, (RemovalRow, lambda *_: {}))

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        size, first = data.num_graphs, data.ptr[:-1]
        names = (*problem.part_fields, *problem.intrinsic_fields)
        all_parts = PackedParts({k: data[k] for k in names}, data.batch, size, validate=False)
        rest = all_parts.without(first)
        truth = problem.render(**{k: rest[k] for k in names}, batch=rest.batch, batch_size=size)
        parts = rest.with_fields({name: rest[name] for name in problem.part_fields})
        composition = model.infer(data.whole, packed_parts(problem, data))
        kept = composition.decode().mean
        removed = composition.remove(first).decode().mean
        settled = model.infer(removed, parts).decode().mean
        generated = model.generate(parts)
        wholes = {"removal": removed, "settled": settled, "generated": generated, "kept": kept}
        squares = {name: mean_square(whole - truth) for name, whole in wholes.items()}
        squares["reconstruction"] = mean_square(kept - data.whole)
        rmse = {f"{k}_rmse": partial(Estimate.root_mean, v) for k, v in squares.items()}
        return {**rmse, **measure_more(problem, data, rest, truth, kept, removed)}

    return [
        kind(size, num_wholes, **measured)
        for size in num_parts
        for measured in measure_row(model, problem, size, measure, **how)
    ]


def _sites(
    problem: Dots, data: Batch, rest: PackedParts, truth: Tensor, kept: Tensor, removed: Tensor
) -> dict[str, Value]:
    true, left = (accuracy_per_image(images, rest) for images in (truth, removed))
    return {
        "true_accuracy": true,
        "removal_accuracy": left,
        "accuracy_ratio": partial(Estimate.ratio, left, true),
    }


def _waves(
    problem: Sines, data: Batch, rest: PackedParts, truth: Tensor, kept: Tensor, removed: Tensor
) -> dict[str, Value]:
    number = data.ptr.diff()
    there = rest.sum(one_hot(rest["category"], problem.num_categories)) > 0
    gone = one_hot(data.category[data.ptr[:-1]], problem.num_categories) > 0
    true, before = (sines_spectrum(problem, x, number) for x in (data.whole, kept))
    after = sines_spectrum(problem, removed, number - 1)

    def over(which: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of values over some frequencies of each curve, and their number."""
        return torch.where(which, value, 0.0).sum(dim=1), which.sum(dim=1).double()

    def square_error(waves: Spectrum) -> Tensor:
        return (waves.coefficient - true.coefficient).abs().square()

    alone, others, absent = gone & ~there, there & ~gone, ~there & ~gone
    num_alone = alone.sum(dim=1).double()
    square = mean_square(removed - truth)
    return {
        "alone_rmse": partial(Estimate.root_mean, num_alone * square, num_alone),
        "amplitude": partial(Estimate.ratio, *over(alone, before.amplitude)),
        "amplitude_left": partial(Estimate.ratio, *over(alone, after.amplitude)),
        "leak": partial(Estimate.ratio, *over(absent, before.amplitude)),
        "others_error": partial(Estimate.root_mean, *over(others, square_error(before))),
        "others_removal_error": partial(Estimate.root_mean, *over(others, square_error(after))),
    }


# The rows of a problem, and what it measures of a removal beside the differences.
_OF_PROBLEM: dict[str, tuple[type[RemovalRow], Callable[..., dict[str, Value]]]] = {
    "dots": (DotsRemovalRow, _sites),
    "sines": (SinesRemovalRow, _waves),
}
