"""How well the codes of wholes fill the prior that new wholes are drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions import SumControlledNormal
from compvae_pyg.evaluation.loop import each_row
from compvae_pyg.evaluation.rows import EvaluationRow
from compvae_pyg.evaluation.two_sample import energy_distance
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_counts, check_evaluation
from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import Value
from compvae_pyg.problems.estimate import Estimate
from compvae_pyg.problems.repeatable import isolated, stream

__all__ = ["CodesRow", "compare_codes", "evaluate_codes"]


@dataclass(frozen=True)
class CodesRow(EvaluationRow):
    r"""Codes of the parts of wholes of one number of parts, in units of their prior.

    The code of a part is :math:`u_i = (w_i - m_{\ell_i}) / s_{\ell_i}`, with :math:`w_i` drawn from
    the posterior. Over many wholes codes are standard normal if the aggregate posterior is the
    prior; where they are not, generated wholes come from latents that no whole has.

    Attributes:
        num_parts: Number of parts of each whole.
        num_wholes: Number of wholes.
        mean: Root mean square of the means of the coordinates, over all parts: 0.
        variance: :math:`\mathbb{E}[u^2]`, mean over the coordinates: 1.
        energy_distance: That of codes to standard normal ones.
        true_energy_distance: That between two standard normal samples as large.
        by_multiplicity: For the sums of codes of :math:`n` parts of a whole that have one
            description, :math:`\mathbb{E}[(\sum u_i)^2] / n`, by :math:`n`: 1 for all if parts are
            independent, and more where equal parts get equal codes.

    Example:
        >>> row = CodesRow(2, 50, 0.01, Estimate(1.02, 0.03), 0.12, 0.11, {"1": 1.02})
        >>> row.formatted()["variance (1)"]
        '1.020 ± 0.030'
    """

    num_parts: int
    num_wholes: int
    mean: float
    variance: Estimate
    energy_distance: float
    true_energy_distance: float
    by_multiplicity: dict[str, float]

    columns: ClassVar = {
        "K": "{0.num_parts}",
        "mean (0)": "{0.mean:.3f}",
        "variance (1)": "{0.variance:.3f±.3f}",
        "energy distance (oracle)": "{0.energy_distance:.3f} ({0.true_energy_distance:.3f})",
        "variance by multiplicity": "{0.shown}",
    }

    legend: ClassVar = {
        "mean (0)": "root mean square of the coordinates' means; 0 if codes fill the prior",
        "variance (1)": "mean square of the coordinates; 1 if codes fill the prior",
        "energy distance (oracle)": "energy distance of codes to standard normal ones",
        "variance by multiplicity": "that of sums of n equal parts, over n; 1 if independent",
    }

    @property
    def shown(self) -> str:
        """The variances by multiplicity in a line."""
        return ", ".join(f"{n}: {value:.2f}" for n, value in self.by_multiplicity.items())


def evaluate_codes(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 16),
    num_wholes: int = 500,
    num_compared: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[CodesRow]:
    """Compare the codes of wholes of each number of parts to their prior.

    Args:
        model: The model, on the device to use.
        problem: Where wholes come from.
        num_parts: Numbers of parts, one row each, of ``num_wholes`` wholes.
        num_wholes: Number of wholes of a row.
        num_compared: Largest number of codes whose energy distance is taken.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Dots
        >>> row, = evaluate_codes(Dots().build("small"), Dots(), num_parts=[2], num_wholes=20)
        >>> row.num_parts, list(row.by_multiplicity)
        (2, ['1'])
    """
    counts = {"num_wholes": num_wholes, "num_compared": num_compared, "batch_size": batch_size}
    check_evaluation(model, problem, Problem, seed=seed, **counts)
    check_counts(num_parts, "num_parts")
    return [
        _row(model, problem, size, num_wholes, num_compared, seed, batch_size, tick)
        for size, tick in each_row(num_parts, "codes")
    ]


@torch.no_grad()
def compare_codes(
    w: SumControlledNormal, prior: Normal, parts: PackedParts, source: torch.Generator
) -> dict[str, Value]:
    """Return what :func:`evaluate` says of codes, of one part of each whole, drawn from ``source``.

    They are :func:`~compvae_pyg.distributions.code_variance`, and the energy distance of codes to
    their prior beside that of as many draws from it, where a coordinate counts by what the
    posterior says of it, see :func:`~compvae_pyg.distributions.code_distance`.
    """
    sizes = parts.sizes().long().cpu()
    row = sizes.cumsum(0) - sizes + (torch.rand(len(sizes), generator=source) * sizes).long()
    row = row[sizes > 0].to(w.loc.device)
    scale = prior.stddev[row].double()
    shift = ((w.loc - prior.mean)[row] / scale).cpu()
    ratio, square = (w.variance[row] / scale.square()).cpu(), scale.square().cpu()
    noise = torch.randn((3, *shift.shape), generator=source, dtype=shift.dtype)
    code = shift + ratio.sqrt() * noise[0]
    factor = (1.0 - ratio).clamp(0.0, 1.0)
    found = (square * (shift.square() + ratio)).sum(dim=1)
    return {
        "code_variance": partial(Estimate.ratio, found, square.sum(dim=1)),
        "generated_code_distance": partial(_energy, code, noise[2], factor),
        "true_code_distance": partial(_energy, noise[1], noise[2], factor),
    }


def _energy(x: Tensor, y: Tensor, factor: Tensor) -> Estimate:
    """Return an energy distance with its error, from up to eight shares of the samples."""
    sets = min(8, len(x))
    each = len(x) // sets
    factor = factor.mean(dim=0)
    pair = ((factor * sample[: sets * each]).unflatten(0, (sets, each)) for sample in (x, y))
    return Estimate.of(energy_distance(*pair))


@torch.no_grad()
def _row(
    model: CompVAE,
    problem: Problem,
    num_parts: int,
    num_wholes: int,
    num_compared: int,
    seed: int,
    batch_size: int,
    tick: Callable[[], Any],
) -> CodesRow:
    source, codes, sums = stream(seed, num_parts, "codes"), [], []
    with isolated(model, seed) as device:
        for drawn in problem.batches(num_parts, num_wholes, batch_size, source):
            data = drawn.to(device)
            parts = model.generator.pack(problem.pack(data))
            prior = model.generator.prior_w(parts)
            w = model.posterior(data.whole, parts, w_prior=prior).w.rsample()
            code = ((w - prior.mean) / prior.stddev).double()
            codes.append(code.cpu())
            sums.append(_sums_of_equal_parts(code, parts))
            tick()
    u = torch.cat(codes)
    rows = u[torch.randperm(len(u), generator=source)[:num_compared]]
    first, second = torch.randn((2, *rows.shape), generator=source, dtype=torch.float64)
    own, true = (float(energy_distance(x, second)) for x in (rows, first))
    number, square = (torch.cat(column) for column in zip(*sums, strict=True))
    by_number = {str(n): square[number == n].mean().item() for n in number.unique().tolist()}
    each = u.square().unflatten(0, (-1, num_parts)).mean(dim=(1, 2))
    mean = u.mean(dim=0).square().mean().sqrt().item()
    return CodesRow(num_parts, len(each), mean, Estimate.of(each), own, true, by_number)


def _sums_of_equal_parts(code: Tensor, parts: PackedParts) -> tuple[Tensor, Tensor]:
    """Return the numbers of equal parts of a set, and the mean squares of their codes' sums."""
    named = not isinstance(parts.fields, Tensor)
    fields: Any = parts.fields if named else {"parts": parts.fields}
    columns = [value.reshape(parts.num_parts, -1) for value in (parts.batch, *fields.values())]
    table = torch.cat([column.double() for column in columns], dim=1)
    _, group, number = table.unique(dim=0, return_inverse=True, return_counts=True)
    total = code.new_zeros(len(number), code.shape[1]).index_add_(0, group, code)
    return number.cpu(), (total.square().mean(dim=1) / number).cpu()
