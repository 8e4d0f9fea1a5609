"""Whether a model finds which parts a whole is made of."""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric.data import Batch

from compvae_pyg.evaluation.loop import each_row, measure_row
from compvae_pyg.evaluation.rows import EvaluationRow
from compvae_pyg.models import CompVAE, rank_parts
from compvae_pyg.nn.checks import check_choice, check_counts, check_evaluation
from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import Value
from compvae_pyg.problems.estimate import Estimate

__all__ = ["RecoveryRow", "evaluate_recovery"]

_CANDIDATES = 2_000  # of a batch: seconds of work, after which it is shown how far it is


@dataclass(frozen=True)
class RecoveryRow(EvaluationRow):
    """Wholes of one number of parts, of which one field was hidden.

    Attributes:
        num_candidates: Number of candidates for each whole; by chance one in as many is right.
        whole_accuracy: Share of wholes whose true parts are the candidate of the highest posterior.
        part_accuracy: Share of their parts that this candidate has right.
        confidence: Posterior of this candidate; if calibrated, it is the ``whole_accuracy``.
        true_probability: Posterior of the true parts.

    Example:
        >>> row = RecoveryRow(1, 20, 5, 4, *4 * [Estimate(0.9, 0.05)])
        >>> row.num_candidates, row.formatted()["part accuracy"]
        (5, '0.900 ± 0.050')
    """

    legend: ClassVar = {
        "num candidates": "candidates for each whole, all of the same prior probability",
        "num samples": "importance samples of each candidate",
        "whole accuracy": "share of wholes whose true parts have the highest posterior",
        "part accuracy": "share of parts that are right in the candidate of the highest posterior",
        "confidence": "posterior of this candidate; the whole accuracy, if calibrated",
        "true probability": "posterior of the true parts",
    }

    num_parts: int
    num_wholes: int
    num_candidates: int
    num_samples: int
    whole_accuracy: Estimate
    part_accuracy: Estimate
    confidence: Estimate
    true_probability: Estimate


def evaluate_recovery(
    model: CompVAE,
    problem: Problem,
    field: str,
    num_values: int,
    *,
    num_parts: Sequence[int] = (1, 2, 3),
    num_wholes: int = 100,
    num_samples: int = 4,
    seed: int = 0,
    batch_size: int = 25,
) -> list[RecoveryRow]:
    """Hide one field of the parts of ground-truth wholes, and find it by :func:`rank_parts`.

    ``field``, one of the problem's, has ``num_values`` values, numbered from 0, like the colours of
    sites. All are candidates for each part: ``num_values`` to the power of the number of parts, or
    fewer where the field alone describes a part, since then order does not matter. ``num_samples``
    are those of each candidate; other arguments and errors are those of :func:`evaluate`.

    Raises:
        TypeError, ValueError: As :func:`evaluate`, or if the problem has no such field.

    Example:
        >>> from compvae_pyg import Dots
        >>> model = CompVAE.from_pretrained("dots-small")
        >>> row, = evaluate_recovery(model, Dots(), "color", 5, num_parts=[2], num_wholes=4)
        >>> row.num_candidates, row.part_accuracy.mean > 0.5
        (25, True)
    """
    how = {"num_wholes": num_wholes, "seed": seed, "batch_size": batch_size}
    counts = {"num_values": num_values, "num_samples": num_samples}
    check_evaluation(model, problem, Problem, **counts, **how)
    check_choice(field, "field", problem.part_fields)
    check_counts(num_parts, "num_parts")
    alike = problem.part_fields == (field,)

    def table(size: int) -> Tensor:
        values = range(num_values)
        ordered = itertools.combinations_with_replacement(values, size)
        return torch.tensor([*(ordered if alike else itertools.product(values, repeat=size))])

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        truth = data[field].view(data.num_graphs, -1)
        num_sets, size = truth.shape
        candidates = table(size).to(truth.device)
        count = len(candidates)
        sets = torch.arange(num_sets, device=truth.device)
        owner = sets.repeat_interleave(count)
        # Every candidate of every whole, with the fields that are known.
        copies = problem.pack(data).select(owner)
        parts = {name: copies[name] for name in problem.part_fields}
        parts[field] = candidates.repeat(num_sets, 1).flatten()
        packed = copies.with_fields(parts)
        with warnings.catch_warnings():
            # Too few samples show in the accuracy: no warning for each batch.
            warnings.simplefilter("ignore", UserWarning)
            ranking = rank_parts(
                model, data.whole, packed, candidate_batch=owner, num_samples=num_samples
            )
        found = candidates[ranking.best - sets * count]
        right = (found == truth).sum(dim=1)
        if alike:
            truth = truth.sort(dim=1).values
            multisets = (one_hot(values, num_values).sum(dim=1) for values in (found, truth))
            right = torch.minimum(*multisets).sum(dim=1)
        is_true = (candidates == truth.unsqueeze(1)).all(dim=2)
        return {
            "whole_accuracy": (found == truth).all(dim=1).double(),
            "part_accuracy": right.double() / size,
            "confidence": ranking.probability[ranking.best],
            "true_probability": ranking.probability.view(num_sets, count)[is_true],
        }

    rows = []
    for size, tick in each_row(num_parts, "recovery"):
        candidates = len(table(size))
        how["batch_size"] = max(1, min(batch_size, _CANDIDATES // candidates))
        measured, count = measure_row(model, problem, size, measure, tick=tick, **how)
        rows.append(RecoveryRow(size, count, candidates, num_samples, **measured))
    return rows
