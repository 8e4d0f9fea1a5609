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
from compvae_pyg.evaluation.sines import sines_spectrum
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
        reconstruction_rmse: Difference of the reconstruction to the observed whole.
        removal_rmse: Difference of the whole after the removal to that ground truth.
        settled_rmse: The same after the latents are inferred once more, from this mean whole.
        generated_rmse: That of a whole generated anew from the parts left: what observing gains.
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
    """Images, with the :func:`site_accuracy` of the sites that stay, and its ratio to the true."""

    true_accuracy: Estimate
    removal_accuracy: Estimate
    accuracy_ratio: Estimate


@dataclass(frozen=True)
class SinesRemovalRow(RemovalRow):
    """Curves, with amplitudes of the :func:`spectrum` before and after the removal of a wave.

    Curves with another wave of the removed frequency do not count at it.

    Attributes:
        alone_rmse: ``removal_rmse`` of the other curves.
        amplitude, amplitude_left: Mean amplitude of the removed frequency, before and after.
        leak: Mean amplitude, before, of the frequencies that a curve does not have.
        others_error, others_removal_error: Root mean squared difference in the coefficient to the
            observed whole, at the other frequencies of the waves that stay, before and after.
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

    The latents of a whole and its parts are inferred, the first part, which stands for any, is
    removed, and the rest decoded (:meth:`Composition.remove`). Arguments and errors are those of
    :func:`measure_wholes`, with at least two parts.

    Example:
        >>> few = {"num_parts": [3], "num_wholes": 8}
        >>> row, = evaluate_removal(Sines().build("small"), Sines(), **few)
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
    ratio = partial(Estimate.ratio, left, true)
    return {"true_accuracy": true, "removal_accuracy": left, "accuracy_ratio": ratio}


def _waves(
    problem: Sines, data: Batch, rest: PackedParts, truth: Tensor, kept: Tensor, removed: Tensor
) -> dict[str, Value]:
    number = data.ptr.diff()
    there = rest.sum(one_hot(rest["category"], problem.num_categories)) > 0
    gone = one_hot(data.category[data.ptr[:-1]], problem.num_categories) > 0
    true, before = (sines_spectrum(problem, x, number) for x in (data.whole, kept))
    after = sines_spectrum(problem, removed, number - 1)

    def over(which: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over some frequencies of each curve, and their number."""
        return torch.where(which, value, 0.0).sum(dim=1), which.sum(dim=1).double()

    errors = [(found.coefficient - true.coefficient).abs().square() for found in (before, after)]
    alone, others, absent = gone & ~there, there & ~gone, ~there & ~gone
    square = mean_square(removed - truth).unsqueeze(1)
    return {
        "alone_rmse": partial(Estimate.root_mean, *over(alone, square)),
        "amplitude": partial(Estimate.ratio, *over(alone, before.amplitude)),
        "amplitude_left": partial(Estimate.ratio, *over(alone, after.amplitude)),
        "leak": partial(Estimate.ratio, *over(absent, before.amplitude)),
        "others_error": partial(Estimate.root_mean, *over(others, errors[0])),
        "others_removal_error": partial(Estimate.root_mean, *over(others, errors[1])),
    }


# The rows of a problem, and what it measures of a removal beside the differences.
_OF_PROBLEM: dict[str, tuple[type[RemovalRow], Callable[..., dict[str, Value]]]] = {
    "dots": (DotsRemovalRow, _sites),
    "sines": (SinesRemovalRow, _waves),
}
