"""How good a model's curves of many parts are: moments, quantiles, peaks, and what parts share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from compvae_pyg.evaluation.loop import each_row
from compvae_pyg.evaluation.rows import EvaluationRow
from compvae_pyg.evaluation.two_sample import energy_distance, maximum_mean_discrepancy
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_counts, check_evaluation, check_real, check_shape
from compvae_pyg.problems import Problem
from compvae_pyg.problems.repeatable import isolated, stream

__all__ = ["EnsembleRow", "compare_curves", "evaluate_ensembles", "nearest_distances"]

_LEVELS = (0.05, 0.5, 0.95)
_COMPARED = 600  # wholes of each sample that distances are taken of


@dataclass(frozen=True)
class EnsembleRow(EvaluationRow):
    r"""A sample of wholes of :math:`K` parts beside a true one.

    Errors are means over the points of the curve, in units of the mean of the true curves.

    Attributes:
        sample: ``"generated"``; ``"true"``, another true sample, the oracle; ``"independent"``,
            sums of true parts each on a day of its own; ``"independent generated"``;
            ``"training"``, training wholes of the same parts, which a model would generate that
            knew these by heart; or ``"gaussian"``, of their mean and covariance.
        num_parts: Number of parts of each whole.
        num_wholes: Number of wholes.
        mean_error, q05_error, q50_error, q95_error: Of the mean and of quantiles at each point.
        variance_ratio: Of the variances of points, generated to true.
        energy_variance_ratio: Of the variances of the mean of a curve, as energy is of power.
        same_day_r: How the energies of two parts of a whole are correlated,
            :math:`r = (V_K / \sum_i V_i - 1) / (K - 1)`; NaN where it is not known.
        admd: Mean of the highest point, for one part (after-diversity maximum demand).
        true_admd: That of the true sample.
        peak_error: Relative error of the 99 % quantile of highest points.
        energy_distance: Of the samples, for one part, with curves as far apart as the root of their
            mean squared difference.
        mmd: Their maximum mean discrepancy.

    Example:
        >>> row = EnsembleRow("generated", 4, 100, *9 * [1.0], -0.02, 0.001, 0.0002)
        >>> row.formatted()["p99 peak"]
        '-0.020'
    """

    sample: str
    num_parts: int
    num_wholes: int
    mean_error: float
    q05_error: float
    q50_error: float
    q95_error: float
    variance_ratio: float
    energy_variance_ratio: float
    same_day_r: float
    admd: float
    true_admd: float
    peak_error: float
    energy_distance: float
    mmd: float

    legend: ClassVar = {
        "sample": "generated or true wholes; or sums of parts each on a day of its own; or a "
        "Gaussian of the mean and covariance of training wholes",
        "mean, q05, q50, q95 error": "of the mean and of quantiles at each point, relative",
        "variance": "of points, relative to the truth",
        "of energy": "variance of the mean of a curve, relative to the truth",
        "same-day r": "correlation of the energies of two parts of a whole",
        "ADMD (true)": "mean of the highest point, for one part; in brackets, of true wholes",
        "p99 peak": "relative error of the 99 % quantile of highest points",
        "energy distance": "of the sample to true wholes, for one part",
        "MMD": "maximum mean discrepancy of the sample and true wholes",
    }

    def formatted(self) -> dict[str, str]:
        """Return what :func:`format_table` shows, by heading."""
        return {
            "K": str(self.num_parts),
            "sample": self.sample,
            "mean, q05, q50, q95 error": ", ".join(
                f"{getattr(self, f'{name}_error'):.3f}" for name in ("mean", "q05", "q50", "q95")
            ),
            "variance": f"{self.variance_ratio:.2f}",
            "of energy": f"{self.energy_variance_ratio:.2f}",
            "same-day r": f"{self.same_day_r:.3f}",
            "ADMD (true)": f"{self.admd:.3f} ({self.true_admd:.3f})",
            "p99 peak": f"{self.peak_error:+.3f}",
            "energy distance": f"{self.energy_distance:.5f}",
            "MMD": f"{self.mmd:.4f}",
        }


def compare_curves(curves: Tensor, truth: Tensor, num_parts: int) -> dict[str, float]:
    """Compare curves with true ones, ``[S, T]`` both: what an :class:`EnsembleRow` holds of them.

    Raises:
        TypeError: If curves are no tensors of floating-point numbers.
        ValueError: If their shapes do not fit.

    Example:
        >>> x = torch.rand(1000, 24, generator=torch.Generator().manual_seed(0))
        >>> found = compare_curves(2.0 * x, x, num_parts=1)
        >>> round(found["mean_error"], 3), round(found["energy_variance_ratio"], 3)
        (1.0, 4.0)
    """
    for name, value in (("curves", curves), ("truth", truth)):
        check_real(value, name)
        check_shape(value, name, ("S", truth.shape[-1]))
    scale = truth.mean()
    levels = torch.tensor(_LEVELS, dtype=truth.dtype)
    errors = (curves.quantile(levels, 0) - truth.quantile(levels, 0)).abs().mean(1) / scale
    peaks, true_peaks = curves.amax(1), truth.amax(1)
    root = math.sqrt(truth.shape[1])
    some, others = curves[:_COMPARED] / root, truth[:_COMPARED] / root
    found = {
        "mean_error": (curves.mean(0) - truth.mean(0)).abs().mean() / scale,
        **{f"q{round(100 * q):02d}_error": e for q, e in zip(_LEVELS, errors, strict=True)},
        "variance_ratio": curves.var(0).mean() / truth.var(0).mean(),
        "energy_variance_ratio": curves.mean(1).var() / truth.mean(1).var(),
        "admd": peaks.mean() / num_parts,
        "true_admd": true_peaks.mean() / num_parts,
        "peak_error": peaks.quantile(0.99) / true_peaks.quantile(0.99) - 1.0,
        "energy_distance": energy_distance(some, others) / num_parts,
        "mmd": maximum_mean_discrepancy(some, others),
    }
    return {name: float(value) for name, value in found.items()}


def evaluate_ensembles(
    model: CompVAE,
    problem: Problem,
    *,
    training: Problem | None = None,
    num_parts: Sequence[int] = (1, 4, 16, 50),
    num_wholes: int = 2000,
    seed: int = 0,
    **ensembles: Any,
) -> list[EnsembleRow]:
    """Measure generated wholes of many parts beside true ones, and beside what is simpler.

    Args:
        model: The model.
        problem: Where true wholes come from, :meth:`~compvae_pyg.Problem.ensembles`: held out.
        training: Where the wholes come from that are compared too, and whose mean and covariance
            the Gaussian has; without it, there are none.
        num_parts: Numbers of parts, the first 1.
        num_wholes: Wholes of a sample.
        seed: Seed of all that is drawn.
        **ensembles: Further arguments of :meth:`~compvae_pyg.Problem.ensembles`.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a number is out of range.

    Example:
        >>> from compvae_pyg.networks import Categorical
        >>> from compvae_pyg.problems.households import Households, Pool
        >>> load, home = torch.rand(5, 4, 24), {"home": torch.arange(5)}
        >>> homes = Households(Pool("mine", load, home, {"home": Categorical(5)}), "hidden")
        >>> model, few = homes.build("small"), {"num_parts": [1, 2], "num_wholes": 20}
        >>> [row.sample for row in evaluate_ensembles(model, homes, **few)]
        ['generated', 'true', 'generated', 'true', 'independent', 'independent generated']
    """
    check_evaluation(model, problem, Problem, seed=seed, num_wholes=num_wholes)
    check_counts(num_parts, "num_parts")
    rows = []
    for size, tick in each_row(num_parts, "ensembles"):
        with isolated(model, stream(seed, size, "ensembles")):
            rows += _rows(model, problem, training, size, num_wholes, ensembles, tick)
    return rows


def _rows(
    model: CompVAE,
    problem: Problem,
    training: Problem | None,
    size: int,
    number: int,
    options: dict[str, Any],
    tick: Callable[[], Any],
) -> list[EnsembleRow]:
    truth = problem.ensembles(size, number, **options).whole
    other = problem.ensembles(size, number, **options)
    tick()
    samples = {"generated": _generate(model, problem, other), "true": other.whole}
    tick()
    alone: dict[str, Tensor] = {}
    if size > 1:
        few = max(200, number // 4)
        apart = problem.ensembles(size, few, own_days=True, **options)
        alone["independent"] = apart.whole.view(few, size, -1).sum(1)
        tick()
        generated = _generate(model, problem, apart)
        alone["independent generated"] = generated.view(few, size, -1).sum(1)
        tick()
    if training is not None:
        seen = training.ensembles(size, number, **options).whole
        factor = torch.linalg.cholesky(seen.T.cov() + 1e-6 * seen.var() * torch.eye(seen.shape[1]))
        samples["training"] = seen
        samples["gaussian"] = seen.mean(0) + torch.randn_like(seen) @ factor.T
    energy = {name: x.mean(1).var() for name, x in {**samples, **alone}.items()}
    rows = []
    for name, x in {**samples, **alone}.items():
        own = {"generated": "independent generated", "true": "independent"}.get(name)
        r = math.nan
        if own in energy:
            r = float((energy[name] / energy[own] - 1.0) / (size - 1))
        found = compare_curves(x, truth, size)
        tick()
        rows.append(EnsembleRow(name, size, len(x), same_day_r=r, **found))
    return rows


def _generate(model: CompVAE, problem: Problem, data: Any, chunk_size: int = 2000) -> Tensor:
    parts = problem.pack(data)
    pieces = [model.generate(some, observation_noise=True) for _, some in parts.split(chunk_size)]
    return torch.cat(pieces)


def nearest_distances(x: Tensor, reference: Tensor) -> Tensor:
    """Return how far each curve, ``[n, T]``, is from the nearest of others, ``[m, T]``: ``[n]``.

    Generated curves of single homes that are nearer to those of training than held-out ones are
    give these away.

    Example:
        >>> nearest_distances(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
        tensor([5.])
    """
    return torch.cat([torch.cdist(some, reference).amin(dim=1) for some in x.split(256)])
