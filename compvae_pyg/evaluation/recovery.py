"""Whether a model tells which parts a whole is made of."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric.data import Batch

from compvae_pyg.evaluation.checks import check_counts, check_evaluation
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator, evaluation_wholes
from compvae_pyg.models import CompVAE, rank_parts
from compvae_pyg.nn.checks import check_choice
from compvae_pyg.problems import Problem

__all__ = ["RecoveryRow", "evaluate_recovery"]


@dataclass(frozen=True)
class RecoveryRow:
    """Wholes of one number of parts, of which one field was hidden.

    Attributes:
        num_parts: Number :math:`K` of parts of each whole.
        num_wholes: Number of wholes that the estimates come from.
        num_candidates: Number of candidates for each whole; by chance one in as many is right.
        num_samples: Number of importance samples of each candidate.
        whole_accuracy: Share of wholes whose true parts are the candidate of the highest posterior.
        part_accuracy: Share of their parts that this candidate has right.
        confidence: Posterior of this candidate: where it tells the truth about itself, it is the
            share of wholes that are right.
        true_probability: Posterior of the true parts.
    """

    num_parts: int
    num_wholes: int
    num_candidates: int
    num_samples: int
    whole_accuracy: Estimate
    part_accuracy: Estimate
    confidence: Estimate
    true_probability: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            "K": str(self.num_parts),
            "candidates": str(self.num_candidates),
            **{
                name: f"{estimate.mean:.3f} ± {estimate.standard_error:.3f}"
                for name, estimate in (
                    ("wholes right", self.whole_accuracy),
                    ("parts right", self.part_accuracy),
                    ("confidence", self.confidence),
                )
            },
        }


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
    """Hide one field of the parts of true wholes, and find it by :func:`rank_parts`.

    All values that the parts can have are candidates, so that there are ``num_values`` to the
    power of the number of parts; fewer where the field is all that describes a part, since their
    order does not matter. The result depends on the arguments alone.

    Args:
        model: The model, on the device that is to be used.
        problem: The ground truth.
        field: Field of the parts that is hidden, for instance the colour of sites; the others are
            known.
        num_values: Number of values that the field can have, numbered from 0.
        num_parts: Numbers :math:`K` of parts, one row each.
        num_wholes: Number of wholes for each :math:`K`.
        num_samples: Number of importance samples of each candidate.
        seed: Seed of the wholes and of what the model draws.
        batch_size: Number of wholes at a time; bounds the memory.

    Returns:
        One row for each :math:`K`.

    Raises:
        ValueError: If ``field`` is not one of the problem's, or a number is not positive.

    Example:
        >>> from compvae_pyg import Dots
        >>> model = CompVAE.from_pretrained("dots-small")
        >>> row, = evaluate_recovery(model, Dots(), "color", 5, num_parts=[2], num_wholes=4)
        >>> row.num_candidates, row.part_accuracy.mean > 0.5
        (25, True)
    """
    check_evaluation(
        model,
        problem,
        seed=seed,
        num_values=num_values,
        num_wholes=num_wholes,
        num_samples=num_samples,
        batch_size=batch_size,
    )
    check_choice(field, "field", problem.part_fields)
    check_counts(num_parts, "num_parts")
    alike = problem.part_fields == (field,)

    def table(size: int) -> Tensor:
        values = range(num_values)
        ordered = itertools.combinations_with_replacement(values, size)
        return torch.tensor([*(ordered if alike else itertools.product(values, repeat=size))])

    def measure(data: Batch) -> dict[str, Tensor]:
        num_sets = data.num_graphs
        truth = data[field].view(num_sets, -1)
        size = truth.shape[1]
        candidates = table(size).to(truth.device)
        count = len(candidates)
        # Every candidate of every whole, with the fields that are known.
        parts = {
            name: value.unflatten(0, (num_sets, size)).repeat_interleave(count, 0).flatten(0, 1)
            for name, value in problem.parts(data).items()
        }
        parts[field] = candidates.repeat(num_sets, 1).flatten()
        sets = torch.arange(num_sets, device=truth.device)
        each = torch.arange(num_sets * count, device=truth.device)
        ranking = rank_parts(
            model,
            data.whole,
            parts,
            each.repeat_interleave(size),
            candidate_batch=sets.repeat_interleave(count),
            num_samples=num_samples,
        )
        if alike:
            truth = truth.sort(dim=1).values
        found = candidates[ranking.best - sets * count]
        is_true = (candidates == truth.unsqueeze(1)).all(dim=2)
        return {
            "whole_accuracy": (found == truth).all(dim=1).double(),
            "part_accuracy": _num_common(found, truth, alike) / size,
            "confidence": ranking.probability[ranking.best],
            "true_probability": ranking.probability.view(num_sets, count)[is_true],
        }

    rows = []
    for size in num_parts:
        source = evaluation_generator(seed, size)
        with isolated(model, seed) as device:
            measured = [
                measure(data)
                for data in evaluation_wholes(problem, size, num_wholes, batch_size, source, device)
            ]
        values = {name: torch.cat([chunk[name] for chunk in measured]) for name in measured[0]}
        rows.append(
            RecoveryRow(
                num_parts=size,
                num_wholes=num_wholes,
                num_candidates=len(table(size)),
                num_samples=num_samples,
                **{name: Estimate.of(value) for name, value in values.items()},
            )
        )
    return rows


def _num_common(found: Tensor, truth: Tensor, alike: bool) -> Tensor:
    """Return how many values two tables, ``[S, K]``, have in common in each row."""
    if not alike:
        return (found == truth).sum(dim=1).double()
    num_values = int(torch.maximum(found.max(), truth.max())) + 1
    counts = (one_hot(values, num_values).sum(dim=1) for values in (found, truth))
    return torch.minimum(*counts).sum(dim=1).double()
