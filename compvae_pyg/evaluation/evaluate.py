"""How good a model is, on any problem, by the number of parts."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch_geometric.data import Batch

from compvae_pyg.evaluation.codes import compare_codes
from compvae_pyg.evaluation.loop import Measure, each_row, measure_row
from compvae_pyg.evaluation.rows import ResultRow
from compvae_pyg.evaluation.samples import compare_draws, compare_wholes
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_count, check_counts, check_evaluation
from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import Value
from compvae_pyg.problems.estimate import Estimate, mean_square
from compvae_pyg.problems.repeatable import isolated, stream

__all__ = ["evaluate"]


def evaluate(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] | None = None,
    num_wholes: int = 1000,
    num_weighted: int = 64,
    num_samples: int = 64,
    num_part_sets: int = 8,
    num_draws: int | None = None,
    num_classified: int = 4000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[ResultRow]:
    r"""Measure a model on wholes of each number of parts.

    A row has, per whole and in nats, the terms of the ELBO, ``log_likelihood``, ``kl_w``, ``kl_z``
    and ``elbo``; ``log_evidence``, :math:`\log p(x \mid \{\ell_i\})`, a closer lower bound: the
    mean ELBO and what importance samples add to it; and ``reconstruction_rmse``, the root mean
    squared difference of a whole to the mean of :math:`p(x \mid z, \tilde w)`.

    How well codes fill the prior that new wholes are drawn from (see :class:`CodesRow`) is measured
    of one part of each whole: ``code_variance``, 1 if they do, and ``generated_code_distance``, an
    energy distance to the prior beside ``true_code_distance``, of as many draws from it.

    Then samples are compared. ``generated_NAME`` compares generated wholes with true ones, and
    ``true_NAME``, the oracle, as many true ones. Wholes of any parts:

    - ``marginal_energy_distance``, an :func:`energy_distance`, with wholes as far apart as the root
      of their mean squared difference; and ``mmd``, a :func:`maximum_mean_discrepancy`: means over
      ``num_part_sets`` pairs of samples of ``num_draws`` wholes;
    - ``classifier_accuracy`` (C2ST), see :func:`classifier_accuracy`: 0.5 if a classifier cannot
      distinguish the two samples of ``num_classified`` wholes, half of which train it.

    Wholes of the same parts, if the problem has :meth:`~compvae_pyg.Problem.draw`, means over
    ``num_part_sets`` sets of parts:

    - ``energy_distance``, of samples of ``num_draws`` wholes; ``sum_energy_distance``, of sums of
      independent wholes of one part each;
    - ``spread``, the root mean squared difference of two wholes.

    Last comes what the problem measures, ``NAME`` as ``true_NAME``, ``generated_NAME`` and, where
    its :class:`~compvae_pyg.problems.Quantity` says so, ``NAME_ratio``, ``reconstructed_NAME``.

    The result depends on the arguments alone, a row not on the other rows. The global random number
    generators stay as they are.

    Args:
        model: The model, on the device to use.
        problem: Where wholes come from: the ground truth, or stored wholes,
            :meth:`StoredData.problem <compvae_pyg.training.StoredData.problem>`.
        num_parts: Numbers of parts, one row each; by default the problem's ``evaluated_parts``.
        num_wholes: Wholes of a row; fewer if fewer are stored.
        num_weighted: Number of these, at most all, with ``num_samples`` importance samples each.
        num_part_sets: Pairs of samples.
        num_draws: Wholes of each, 0 for no samples; by default the problem's ``num_draws``.
        num_classified: Wholes of each of the two samples for the classifier; 0 leaves it out.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is out of range, or there are no wholes of so many parts.

    Example:
        >>> from compvae_pyg import Dots
        >>> few = {"num_wholes": 8, "num_samples": 2, "num_draws": 2, "num_classified": 0}
        >>> row, = evaluate(Dots().build("small"), Dots(), num_parts=[1], **few)
        >>> row.true_accuracy, row.log_evidence.mean > row.elbo.mean
        (Estimate(mean=1.0, standard_error=0.0), True)
    """
    how = {"num_wholes": num_wholes, "seed": seed, "batch_size": batch_size}
    weights = {"num_weighted": num_weighted, "num_samples": num_samples}
    check_evaluation(model, problem, Problem, **weights, num_part_sets=num_part_sets, **how)
    draws = problem.num_draws if num_draws is None else num_draws
    check_count(draws, "num_draws", at_least=0)
    check_count(num_classified, "num_classified", at_least=0)
    if 0 < num_classified < 4:
        raise ValueError(f"num_classified must be 0 or at least 4 (got {num_classified})")
    sizes = problem.evaluated_parts if num_parts is None else num_parts
    check_counts(sizes, "num_parts")
    rows = []
    for size, tick in each_row(sizes, "evaluation"):
        # Wholes do not depend on what else is drawn.
        streams = stream(seed, size, "importance"), stream(seed, size, "code distance")
        measure = _measure(model, problem, *streams, num_weighted, num_samples, batch_size)
        estimates, count = measure_row(model, problem, size, measure, tick=tick, **how)
        counts = {
            "num_parts": size,
            "num_wholes": count,
            "num_weighted": min(num_weighted, count),
            "num_samples": num_samples,
        }
        if draws and problem.has("draw"):
            how_many = (num_part_sets, draws)
            estimates |= compare_draws(model, problem, size, *how_many, seed, batch_size, tick)
            counts |= {"num_part_sets": num_part_sets, "num_draws": draws}
        numbers = (num_part_sets, draws, num_classified)
        compared, number = compare_wholes(model, problem, size, *numbers, seed, batch_size, tick)
        estimates |= compared
        if number:
            counts["num_classified"] = number
        rows.append(ResultRow(counts, estimates, problem.quantities))
    return rows


def _measure(
    model: CompVAE,
    problem: Problem,
    importance: torch.Generator,
    of_codes: torch.Generator,
    left: int,
    num_samples: int,
    batch_size: int,
) -> Measure:
    measures, compares = problem.has("measure"), problem.has("compare")

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        nonlocal left
        whole, parts = data.whole, problem.pack(data)
        terms = model.elbo(whole, parts)
        count = min(left, parts.batch_size)
        left -= count
        gain = terms.elbo[:count]
        if count:
            _, some = next(parts.split(count))
            with isolated(model, importance):
                evidence = model.log_likelihood(
                    whole[:count], some, num_samples=num_samples, chunk_size=batch_size
                )
            gain = evidence - gain
        reconstruction = terms.likelihood.mean
        values: dict[str, Value] = {
            **{k: getattr(terms, k) for k in ("log_likelihood", "kl_w", "kl_z", "elbo")},
            "log_evidence": partial(Estimate.corrected, terms.elbo, gain),
            "reconstruction_rmse": partial(Estimate.root_mean, mean_square(reconstruction - whole)),
        }
        if terms.posterior is not None:
            w, packed = terms.posterior.w, model.generator.pack(parts)
            values |= compare_codes(w, model.generator.prior_w(packed), packed, of_codes)
        if not (measures or compares):
            return values
        generated = model.generate(parts)
        found = {"true": dict(problem.measure(whole, parts))}
        found["generated"] = dict(problem.measure(generated, parts))
        if compares:
            fields = (data[name] for name in problem.part_fields)
            other = problem.draw(*fields, data.batch, data.num_graphs, source)
            found["true"] |= problem.compare(other, whole, parts)
            found["generated"] |= problem.compare(generated, whole, parts)
        quantities = problem.quantities
        if any(quantity.reconstructed for quantity in quantities.values()):
            again = problem.measure(reconstruction, parts)
            found["reconstructed"] = {k: v for k, v in again.items() if quantities[k].reconstructed}
        for kind, own in found.items():
            values |= {f"{kind}_{name}": value for name, value in own.items()}
        for name, quantity in quantities.items():
            if quantity.ratio:
                pair: Any = [found[kind][name] for kind in ("generated", "true")]
                values[f"{name}_ratio"] = partial(Estimate.ratio, *pair)
        return values

    return measure
