"""What becomes of an observed whole when a part is removed from it."""

from collections.abc import Sequence
from functools import partial

import torch
from torch_geometric.data import Batch

from compvae_pyg.evaluation.loop import each_row, measure_row
from compvae_pyg.evaluation.rows import ResultRow
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_counts, check_evaluation
from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import Removal, Value
from compvae_pyg.problems.estimate import Estimate, mean_square

__all__ = ["evaluate_removal"]


def evaluate_removal(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] = (2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[ResultRow]:
    """Remove a part from observed wholes, and compare with the ground truth without it.

    The latents of a whole and its parts are inferred, the first part, which stands for any, is
    removed, and the rest decoded (:meth:`Composition.remove`). The ground truth without it is
    rendered from the parts that stay, with the intrinsic features that they have in the observed
    whole (:meth:`Problem.render <compvae_pyg.Problem.render>`). Differences to it are root mean
    squares:

    - ``removal_rmse``, of the whole after the removal; ``settled_rmse``, the same after the latents
      are inferred once more, from this mean whole;
    - ``generated_rmse``, of a whole generated anew from the parts left: what observing gains;
    - ``kept_rmse``, of the reconstruction, nothing removed: how much a part matters;
    - ``reconstruction_rmse``, of the reconstruction, to the observed whole.

    More is measured by :meth:`Problem.measure_removal <compvae_pyg.Problem.measure_removal>`. Other
    arguments and errors are those of :func:`evaluate`, with at least two parts.

    Raises:
        NotImplementedError: If the problem cannot render given parts.

    Example:
        >>> from compvae_pyg import Sines
        >>> few = {"num_parts": [3], "num_wholes": 8}
        >>> row, = evaluate_removal(Sines().build("small"), Sines(), **few)
        >>> row.kept_rmse.mean > 0.0
        True
    """
    how = {"num_wholes": num_wholes, "seed": seed, "batch_size": batch_size}
    check_evaluation(model, problem, Problem, **how)
    check_counts(num_parts, "num_parts", at_least=2)

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        size, first = data.num_graphs, data.ptr[:-1]
        names = (*problem.part_fields, *problem.intrinsic_fields)
        all_parts = PackedParts({k: data[k] for k in names}, data.batch, size, validate=False)
        rest = all_parts.without(first)
        truth = problem.render(**{k: rest[k] for k in names}, batch=rest.batch, batch_size=size)
        parts = rest.with_fields({name: rest[name] for name in problem.part_fields})
        composition = model.infer(data.whole, problem.pack(data))
        kept = composition.decode().mean
        removed = composition.remove(first).decode().mean
        settled = model.infer(removed, parts).decode().mean
        generated = model.generate(parts)
        wholes = {"removal": removed, "settled": settled, "generated": generated, "kept": kept}
        squares = {name: mean_square(whole - truth) for name, whole in wholes.items()}
        squares["reconstruction"] = mean_square(kept - data.whole)
        rmse = {f"{k}_rmse": partial(Estimate.root_mean, v) for k, v in squares.items()}
        removal = Removal(data.whole, truth, kept, removed, all_parts, rest)
        return {**rmse, **problem.measure_removal(removal)}

    rows = []
    for size, tick in each_row(num_parts, "removal"):
        measured, count = measure_row(model, problem, size, measure, tick=tick, **how)
        rows.append(ResultRow({"num_parts": size, "num_wholes": count}, measured))
    return rows
