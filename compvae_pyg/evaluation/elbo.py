"""The evidence lower bound by the number of parts, and measures of your own beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.loop import Measure, Value, isolated, measure_row, packed_parts, stream
from compvae_pyg.evaluation.rows import EvaluationRow
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_annotations, check_counts, check_evaluation
from compvae_pyg.problems import Problem

__all__ = ["CustomRow", "ElboRow", "evaluate_elbo", "mean_square", "measure_wholes"]

NATS_TO_BITS = 1.0 / math.log(2.0)


@dataclass(frozen=True)
class ElboRow(EvaluationRow):
    r"""The ELBO on ``num_wholes`` wholes of ``num_parts`` parts each, per whole, in nats.

    Attributes:
        log_likelihood: :math:`\log p(x \mid z, \tilde w)` at latents drawn from the posterior.
        kl_w, kl_z: Divergences of the latents of the parts and of the whole.
        elbo: ``log_likelihood - kl_w - kl_z``.
        log_evidence: :math:`\log p(x \mid \{\ell_i\})`, a closer lower bound: the mean ELBO and
            what ``num_samples`` importance samples add to it for the first ``num_weighted``.
        reconstruction_rmse: Root mean squared difference of a whole to the mean of
            :math:`p(x \mid z, \tilde w)`, at the same latents.
    """

    num_parts: int
    num_wholes: int
    num_weighted: int
    num_samples: int
    log_likelihood: Estimate
    kl_w: Estimate
    kl_z: Estimate
    elbo: Estimate
    log_evidence: Estimate
    reconstruction_rmse: Estimate

    columns: ClassVar = {
        "K": "{0.num_parts}",
        "rec. rmse": "{0.reconstruction_rmse:.3f}",
        "log-lik.": "{0.log_likelihood:.0f}",
        "KL_w (bits)": "{0.kl_w:.1f} ({0.kl_w_bits:.1f})",
        "KL_z (bits)": "{0.kl_z:.1f} ({0.kl_z_bits:.1f})",
        "ELBO": "{0.elbo:.0f}",
        "log p(x)": "{0.log_evidence:.0f±.1f}",
    }

    @property
    def kl_w_bits(self) -> Estimate:
        """Information in the latents of the parts, in bits."""
        return self.kl_w.scaled(NATS_TO_BITS)

    @property
    def kl_z_bits(self) -> Estimate:
        """Information in the latent of the whole, in bits."""
        return self.kl_z.scaled(NATS_TO_BITS)


@dataclass(frozen=True)
class CustomRow(EvaluationRow):
    """The ELBO, and what :func:`measure_wholes` estimates beside it, by headings in a table."""

    bound: ElboRow
    measured: dict[str, Estimate]

    def formatted(self) -> dict[str, str]:
        """Return what :func:`format_table` shows, by heading."""
        elbo = self.bound.formatted()
        own = {name: f"{estimate:.3f±.3f}" for name, estimate in self.measured.items()}
        del elbo["log-lik."], elbo["log p(x)"]
        return {"K": elbo.pop("K"), **own, **elbo}


@check_annotations
def mean_square(difference: Tensor) -> Tensor:
    """Return the mean square of each whole's values, ``[S, *event]`` to ``[S]``."""
    return difference.square().flatten(1).mean(dim=1)


def measure_wholes(
    model: CompVAE,
    problem: Problem,
    measure: Measure,
    *,
    num_parts: Sequence[int],
    num_wholes: int = 1000,
    num_weighted: int = 64,
    num_samples: int = 64,
    seed: int = 0,
    batch_size: int = 250,
) -> list[CustomRow]:
    """Estimate the ELBO on wholes of each number of parts, and what a measure of your own adds.

    The result depends on the arguments alone, a row not on the other rows, and nothing else on
    importance sampling. The global random number generators stay as they are. All numbers but the
    seed must be positive.

    Args:
        model: The model, on the device to use.
        problem: The ground truth.
        measure: Takes a batch of wholes on that device, and a ``torch.Generator`` on the CPU;
            returns named values, one per whole, ``[S]``, whose means are estimated, or other calls
            like ``partial(Estimate.ratio, values, reference)``, made with those of all batches.
        num_parts: Numbers of parts, one row each, of ``num_wholes`` wholes.
        num_weighted: Number of these, at most all, with ``num_samples`` importance samples each.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Example:
        >>> from compvae_pyg import Dots
        >>> def measure(data, source):
        ...     return {"brightness": data.whole.flatten(1).mean(dim=1)}
        >>> few = {"num_parts": [2], "num_wholes": 8, "num_samples": 2}
        >>> row, = measure_wholes(Dots().build("small"), Dots(), measure, **few)
        >>> 0.0 < row.measured["brightness"].mean < 1.0
        True
    """
    how = {"num_wholes": num_wholes, "seed": seed, "batch_size": batch_size}
    weights = {"num_weighted": num_weighted, "num_samples": num_samples}
    check_evaluation(model, problem, Problem, **weights, **how)
    check_counts(num_parts, "num_parts")
    numbers = (min(num_weighted, num_wholes), num_samples)
    rows = []
    for size in num_parts:
        of_elbo = _elbo_measure(model, problem, stream(seed, size, "importance"), *numbers)
        elbo, own = measure_row(model, problem, size, of_elbo, measure, **how)
        rows.append(CustomRow(ElboRow(size, num_wholes, *numbers, **elbo), own))
    return rows


def evaluate_elbo(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    **options: int,
) -> list[ElboRow]:
    """Estimate the ELBO and its terms on wholes of each number of parts.

    Arguments, options and errors are those of :func:`measure_wholes`.

    Example:
        >>> from compvae_pyg import Dots
        >>> few = {"num_parts": [3], "num_wholes": 8, "num_samples": 4}
        >>> row, = evaluate_elbo(Dots().build("small"), Dots(), **few)
        >>> row.kl_w.mean > 0.0, row.log_evidence.mean > row.elbo.mean
        (True, True)
    """
    rows = measure_wholes(model, problem, lambda *_: {}, num_parts=num_parts, **options)
    return [row.bound for row in rows]


def _elbo_measure(
    model: CompVAE, problem: Problem, importance: torch.Generator, left: int, num_samples: int
) -> Measure:
    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        nonlocal left
        whole, parts = data.whole, packed_parts(problem, data)
        terms = model.elbo(whole, parts)
        count = min(left, parts.batch_size)
        left -= count
        gain = terms.elbo[:count]
        if count:
            _, some = next(parts.split(count))
            with isolated(model, importance):
                evidence = model.log_likelihood(whole[:count], some, num_samples=num_samples)
            gain = evidence - gain
        square = mean_square(terms.likelihood.mean - whole)
        return {
            **{k: getattr(terms, k) for k in ("log_likelihood", "kl_w", "kl_z", "elbo")},
            "log_evidence": partial(Estimate.corrected, terms.elbo, gain),
            "reconstruction_rmse": partial(Estimate.root_mean, square),
        }

    return measure
