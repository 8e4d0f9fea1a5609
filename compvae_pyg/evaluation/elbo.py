"""The evidence lower bound by the number of parts, and what every evaluation shares."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.checks import check_counts, check_evaluation
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import drawn_seed, evaluation_generator, evaluation_wholes
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Problem

__all__ = ["ElboRow", "MeasuredRow", "evaluate_elbo", "mean_square", "measure_wholes"]

NATS_TO_BITS = 1.0 / math.log(2.0)


@dataclass(frozen=True)
class ElboRow:
    r"""The bound on wholes of one number of parts, per whole, in nats.

    Attributes:
        num_parts: Number :math:`K` of parts of each whole.
        num_wholes: Number of wholes that the estimates come from.
        num_weighted: Number of them that importance sampling was applied to.
        num_samples: Number of importance samples for each of these.
        log_likelihood: :math:`\log p(x \mid z, \tilde w)` at latents drawn from the posterior.
        kl_w: Divergence of the parts' latents.
        kl_z: Divergence of the whole's latent.
        elbo: The bound, ``log_likelihood - kl_w - kl_z``.
        log_evidence: :math:`\log p(x \mid \{\ell_i\})` by importance sampling: the mean bound of
            all wholes and what importance sampling adds to it for the first ``num_weighted``. A
            lower bound as well, and the closer one.
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

    @property
    def kl_w_bits(self) -> Estimate:
        """Information in the latents of the parts, in bits."""
        return self.kl_w.scaled(NATS_TO_BITS)

    @property
    def kl_z_bits(self) -> Estimate:
        """Information in the latent of the whole, in bits."""
        return self.kl_z.scaled(NATS_TO_BITS)

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            "K": str(self.num_parts),
            "rec. rmse": f"{self.reconstruction_rmse.mean:.3f}",
            "log-lik.": f"{self.log_likelihood.mean:.0f}",
            "KL_w (bits)": f"{_tenths(self.kl_w)} ({_tenths(self.kl_w_bits)})",
            "KL_z (bits)": f"{_tenths(self.kl_z)} ({_tenths(self.kl_z_bits)})",
            "ELBO": f"{self.elbo.mean:.0f}",
            "log p(x)": f"{self.log_evidence.mean:.0f} ± {self.log_evidence.standard_error:.1f}",
        }


@dataclass(frozen=True)
class MeasuredRow:
    """The bound on wholes of one number of parts, beside measures of a problem of your own.

    Attributes:
        bound: The bound.
        measured: Estimates, by the names under which a table shows them.

    Example:
        >>> one = Estimate(1.0, 0.1)
        >>> row = MeasuredRow(ElboRow(4, 100, 64, 64, one, one, one, one, one, one), {"mine": one})
        >>> list(row.cells().items())[:2]
        [('K', '4'), ('mine', '1.000 ± 0.100')]
    """

    bound: ElboRow
    measured: dict[str, Estimate]

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        bound = self.bound.cells()
        shown = {
            name: f"{value.mean:.3f} ± {value.standard_error:.3f}"
            for name, value in self.measured.items()
        }
        columns = ("rec. rmse", "KL_w (bits)", "KL_z (bits)", "ELBO")
        return {"K": bound["K"], **shown, **{name: bound[name] for name in columns}}


def mean_square(difference: Tensor) -> Tensor:
    """Return the mean square of each whole's values, ``[S, *event]`` to ``[S]``.

    Example:
        >>> mean_square(torch.tensor([[3.0, 3.0], [0.0, 2.0]]))
        tensor([9., 2.])
    """
    return difference.square().flatten(1).mean(dim=1)


def measure_wholes(
    model: CompVAE,
    problem: Problem,
    measure: Callable[[Batch, torch.Generator], dict[str, Tensor]],
    *,
    num_parts: Sequence[int],
    num_wholes: int = 1000,
    num_weighted: int = 64,
    num_samples: int = 64,
    seed: int = 0,
    batch_size: int = 250,
) -> Iterator[tuple[ElboRow, dict[str, Tensor]]]:
    """Measure a model on wholes of each number of parts: the bound, and what ``measure`` adds.

    What comes out depends on the arguments alone, for each number of parts independently of the
    others, and the global random number generators stay as they are. Importance sampling has
    random numbers of its own, on which nothing else depends.

    Args:
        model: The model, on the device that is to be used.
        problem: Source of the wholes.
        measure: Takes a batch on that device, and a source of randomness on the CPU; returns named
            values, one a whole, ``[S]`` each.
        num_parts: Numbers of parts.
        num_wholes: Number of wholes for each of them.
        num_weighted: Number of these that importance sampling is applied to; of fewer, to all.
        num_samples: Number of importance samples.
        seed: Seed of the wholes and of what the model draws.
        batch_size: Number of wholes at a time; bounds the memory.

    Yields:
        The bound for a number of parts, and the other values of all its wholes, ``[num_wholes]``
        each, on the CPU.

    Raises:
        ValueError: If one of the numbers is not positive.
    """
    check_evaluation(
        model,
        problem,
        seed=seed,
        num_wholes=num_wholes,
        num_weighted=num_weighted,
        num_samples=num_samples,
        batch_size=batch_size,
    )
    check_counts(num_parts, "num_parts")
    for size in num_parts:
        source = evaluation_generator(seed, size)
        weights_source = evaluation_generator(seed, size, "importance")
        bounds, measured, gains, weighted = [], [], [], 0
        with isolated(model, seed) as device:
            for data in evaluation_wholes(problem, size, num_wholes, batch_size, source, device):
                bound = _bound(model, problem, data)
                bounds.append(bound)
                measured.append(measure(data, source))
                count = min(num_weighted - weighted, data.num_graphs)
                if count > 0:
                    weighted += count
                    evidence = _evidence(model, problem, data, count, num_samples, weights_source)
                    gains.append(evidence - bound["elbo"][:count])
        values, gain = _joined(bounds), torch.cat(gains).cpu()
        means = {
            name: Estimate.of(values[name]) for name in ("log_likelihood", "kl_w", "kl_z", "elbo")
        }
        row = ElboRow(
            num_parts=size,
            num_wholes=num_wholes,
            num_weighted=weighted,
            num_samples=num_samples,
            **means,
            log_evidence=Estimate.corrected(values["elbo"], gain),
            reconstruction_rmse=Estimate.root_mean(values["square"]),
        )
        yield row, _joined(measured)


def evaluate_elbo(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    num_weighted: int = 64,
    num_samples: int = 64,
    seed: int = 0,
    batch_size: int = 250,
) -> list[ElboRow]:
    r"""Estimate the bound and its terms for wholes of each number of parts.

    The result depends on the arguments alone: wholes and latents are drawn from ``seed``, a row
    does not depend on the other rows, and the global random number generators stay as they are.

    Args:
        model: The model, on the device that is to be used.
        problem: Source of the wholes.
        num_parts: Numbers :math:`K` of parts, one row each.
        num_wholes: Number of wholes for each :math:`K`.
        num_weighted: Number of these that importance sampling is applied to; of fewer, to all.
        num_samples: Number of importance samples.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Returns:
        One row for each :math:`K`.

    Raises:
        ValueError: If one of the numbers is not positive.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> dots = Dots()
        >>> row, = evaluate_elbo(
        ...     dots.build("small"), dots, num_parts=[3], num_wholes=8, num_samples=4
        ... )
        >>> row.kl_w.mean > 0.0, row.log_evidence.mean > row.elbo.mean
        (True, True)
    """
    measured = measure_wholes(
        model,
        problem,
        lambda data, source: {},
        num_parts=num_parts,
        num_wholes=num_wholes,
        num_weighted=num_weighted,
        num_samples=num_samples,
        seed=seed,
        batch_size=batch_size,
    )
    return [row for row, _ in measured]


def _bound(model: CompVAE, problem: Problem, data: Batch) -> dict[str, Tensor]:
    terms = model.elbo(data.whole, problem.parts(data), data.batch, data.num_graphs)
    return {
        "log_likelihood": terms.log_likelihood,
        "kl_w": terms.kl_w,
        "kl_z": terms.kl_z,
        "elbo": terms.elbo,
        "square": mean_square(terms.likelihood.mean - data.whole),
    }


def _evidence(
    model: CompVAE,
    problem: Problem,
    data: Batch,
    count: int,
    num_samples: int,
    source: torch.Generator,
) -> Tensor:
    """Weigh the first wholes of a batch, ``[count]``, the seed drawn from ``source``."""
    last = int(data.ptr[count])
    parts = {name: value[:last] for name, value in problem.parts(data).items()}
    with isolated(model, drawn_seed(source)):
        return model.log_likelihood(
            data.whole[:count], parts, data.batch[:last], count, num_samples=num_samples
        )


def _joined(chunks: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([chunk[name] for chunk in chunks]).cpu() for name in chunks[0]}


def _tenths(estimate: Estimate) -> str:
    # The sum turns a negative zero into a positive one.
    return f"{round(estimate.mean, 1) + 0.0:.1f}"
