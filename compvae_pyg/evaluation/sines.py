"""How well a model composes curves of sine waves, and curves that show it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import ElboRow
from compvae_pyg.evaluation.energy import SampledRow, evaluate_samples
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.loop import Value, isolated, packed_parts, stream
from compvae_pyg.evaluation.rows import beside
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, checks
from compvae_pyg.problems import Sines

__all__ = [
    "SinesNonlinearity",
    "SinesRecomposition",
    "SinesRow",
    "SinesVariety",
    "Spectrum",
    "evaluate_sines",
    "recompose_sines",
    "sines_nonlinearity",
    "sines_spectrum",
    "sines_variety",
    "spectrum",
]

# Amplitudes further above their mean, in standard deviations, occur once in 30,000 waves.
_REACH = 4.0


@dataclass(frozen=True)
class Spectrum:
    r"""The waves of curves, in 64 bits.

    ``coefficient``, complex, ``[S, L]``, is the sum of :math:`a_i e^{\mathrm{i} \kappa_i}` over the
    waves of each frequency; ``outside`` and ``clipped``, ``[S]``, are the shares of a curve's
    energy outside the frequencies and of its samples beyond the reach.
    """

    coefficient: Tensor
    outside: Tensor
    clipped: Tensor

    @property
    def amplitude(self) -> Tensor:
        """Amplitude of each frequency, ``[S, L]``."""
        return self.coefficient.abs()


def spectrum(
    whole: Tensor,
    num_parts: Tensor,
    *,
    num_categories: int = 10,
    nonlinearity: float = 3.0,
    period: float = 100.0,
    reach: float = math.inf,
) -> Spectrum:
    r"""Find the waves of curves like those of :func:`~compvae_pyg.problems.render_sines`.

    The non-linearity is inverted and the result fitted by least squares, in 64 bits:

    .. math::
        s(t) = \frac{K}{C} \operatorname{artanh} \frac{x(t)}{K}
            \approx \sum_{\ell=1}^{L} \operatorname{Re}
            \bigl( c_\ell\, e^{2 \pi \mathrm{i} \ell t / T_0} \bigr)

    For ground-truth curves the fit is exact. In saturated stretches of others, a small error of
    :math:`x` is a large one of :math:`s`: samples with :math:`|s| > K \cdot \text{reach}` are
    clipped. Without a bound, a sample at or beyond :math:`\pm K` counts as about
    :math:`\pm 18 K / C`.

    Args:
        whole: Curves, ``[S, T]``.
        num_parts: Number :math:`K \geq 1` of waves of each curve, ``[S]``.
        num_categories: Number :math:`L` of frequencies, less than half the samples of a period and
            of the curve.
        nonlinearity: :math:`C`.
        period: :math:`T_0`, in samples.
        reach: Bound of :math:`|s| / K`.

    Example:
        >>> from compvae_pyg.problems import render_sines
        >>> waves = torch.tensor([0, 2]), torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])
        >>> x = render_sines(*waves, torch.tensor([0, 0]), 1)
        >>> spectrum(x, torch.tensor([2])).amplitude[0, :4]
        tensor([1.0000, 0.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    checks.check_real(whole, "whole")
    checks.check_shape(whole, "whole", ("S", "T"))
    checks.check_type(num_parts, "num_parts", Tensor)
    if num_parts.is_floating_point() or num_parts.is_complex() or num_parts.dtype == torch.bool:
        raise TypeError(f"num_parts must hold integers (got {num_parts.dtype})")
    checks.check_shape(num_parts, "num_parts", whole.shape[:1])
    checks.check_device(num_parts, "num_parts", whole.device, "whole")
    checks.check_values(num_parts, num_parts >= 1, "num_parts must be at least 1")
    checks.check_count(num_categories, "num_categories")
    checks.check_number(nonlinearity, "nonlinearity", positive=True)
    checks.check_number(period, "period", positive=True)
    if reach != math.inf:
        checks.check_number(reach, "reach", positive=True)
    num_samples = whole.shape[1]
    if 2 * num_categories >= min(period, num_samples + 1):
        raise ValueError(
            f"{num_categories} frequencies need more than {2 * num_categories} samples a period "
            f"and as many in all (got {period:g} and {num_samples})"
        )
    size = num_parts.double().unsqueeze(-1)
    ratio = whole.double() / size
    limit = min(math.tanh(nonlinearity * reach), 1.0 - torch.finfo(torch.float64).eps)
    total = size / nonlinearity * torch.atanh(ratio.clamp(-limit, limit))
    time = torch.arange(num_samples, dtype=torch.float64, device=whole.device)
    frequency = torch.arange(1, num_categories + 1, device=whole.device).unsqueeze(-1)
    angle = 2.0 * math.pi * torch.remainder(frequency * time, period) / period
    basis = torch.cat([angle.cos(), -angle.sin()])
    fitted = total @ torch.linalg.pinv(basis)
    left = (total - fitted @ basis).square().sum(dim=1)
    energy = total.square().sum(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
    real, imaginary = (half.contiguous() for half in fitted.chunk(2, dim=1))
    clipped = (ratio.abs() > limit).double().mean(dim=1)
    return Spectrum(torch.complex(real, imaginary), left / energy, clipped)


def sines_spectrum(problem: Sines, whole: Tensor, num_parts: Tensor) -> Spectrum:
    """Find the waves of a problem's curves, ``[S, T]``, as far as amplitudes that occur reach."""
    known = {"nonlinearity": problem.nonlinearity, "period": problem.period}
    reach = problem.amplitude_mean + _REACH * problem.amplitude_std
    number = problem.num_categories
    return spectrum(whole, num_parts, num_categories=number, reach=reach, **known)


@dataclass(frozen=True)
class SinesRow(SampledRow):
    """Curves of one number of waves, ``generated``, beside ``true`` ones of the same waves.

    From :func:`spectrum`, with amplitudes up to four standard deviations above their mean:
    ``amplitude`` and ``amplitude_std``, mean and standard deviation of the categories that a curve
    has exactly once; ``leak``, the mean amplitude of those that it does not have; the share of the
    energy ``outside`` the frequencies, and of the samples that were ``clipped`` for all this.
    """

    true_amplitude: Estimate
    generated_amplitude: Estimate
    true_amplitude_std: Estimate
    generated_amplitude_std: Estimate
    true_leak: Estimate
    generated_leak: Estimate
    true_outside: Estimate
    generated_outside: Estimate
    true_clipped: Estimate
    generated_clipped: Estimate

    columns: ClassVar = {
        "K": "{0.num_parts}",
        "amplitude (ground truth)": beside("amplitude", ".2f"),
        "its sd (ground truth)": beside("amplitude_std", ".2f"),
        "leak (ground truth)": beside("leak", ".2f"),
        "outside (ground truth)": beside("outside", ".2f"),
        "clipped (ground truth)": beside("clipped", ".2f"),
        "energy distance (oracle)": beside("energy_distance", ".3f"),
        "of summed parts": "{0.generated_sum_energy_distance:.3f}",
        **ElboRow.columns,
    }
    panels: ClassVar = {
        "amplitude of a wave: mean": "amplitude",
        "amplitude of a wave: standard deviation": "amplitude_std",
        "leak: amplitude of absent waves": "leak",
        "energy outside all frequencies": "outside",
    }


def evaluate_sines(
    model: CompVAE,
    problem: Sines,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 16, 24, 30),
    num_part_sets: int = 8,
    num_draws: int = 250,
    **options: int,
) -> list[SinesRow]:
    """Compare generated to ground-truth curves of the same waves, and estimate the ELBO.

    Other arguments and errors are those of :func:`measure_wholes`, see :class:`SampledRow` as well.
    Where no curve has a category exactly once, or all have all, the estimates of that are ``nan``.

    Example:
        >>> sines, few = Sines(), {"num_wholes": 8, "num_draws": 2, "num_samples": 2}
        >>> row, = evaluate_sines(sines.build("small"), sines, num_parts=[4], **few)
        >>> row.true_leak.mean < 1e-3
        True
    """

    def part_sets(sizes: Tensor, source: torch.Generator) -> PackedParts:
        batch = torch.arange(len(sizes)).repeat_interleave(sizes)
        category = torch.randint(problem.num_categories, batch.shape, generator=source)
        return PackedParts({"category": category}, batch)

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        waves = packed_parts(problem, data)
        generated = model.generate(waves)
        times = waves.sum(one_hot(data.category, problem.num_categories))
        once, absent = (times == 1).double(), (times == 0).double()
        num_once, num_absent = once.sum(dim=1), absent.sum(dim=1)
        measured: dict[str, Value] = {}
        for name, whole in (("true", data.whole), ("generated", generated)):
            found = sines_spectrum(problem, whole, data.ptr.diff())
            each = once * found.amplitude, once * found.amplitude.square(), absent * found.amplitude
            amplitude, square, leak = (values.sum(dim=1) for values in each)
            measured |= {
                f"{name}_amplitude": partial(Estimate.ratio, amplitude, num_once),
                f"{name}_amplitude_std": partial(_deviation, amplitude, square, num_once),
                f"{name}_leak": partial(Estimate.ratio, leak, num_absent),
                f"{name}_outside": found.outside,
                f"{name}_clipped": found.clipped,
            }
        return measured

    evaluate = partial(evaluate_samples, SinesRow, model, problem, measure, part_sets, "")
    return evaluate(num_parts, num_part_sets, num_draws, **options)


def _deviation(total: Tensor, square: Tensor, count: Tensor) -> Estimate:
    mean = Estimate.ratio(total, count).mean
    # The sum of squared deviations from the mean: its own error does not count, to first order.
    return Estimate.root_mean(square - 2.0 * mean * total + mean**2 * count, count)


@dataclass(frozen=True)
class SinesRecomposition:
    """A curve taken apart and put together again, all on the CPU.

    Curves, ``[K, T]``, are the ground truth, ``true``, and what inferred latents decode to: of each
    wave alone, ``parts``; of the first 1, 2, … K, ``wholes``, the last of which the model observes;
    and of all but one, ``without``.
    """

    category: Tensor
    true_parts: Tensor
    true_wholes: Tensor
    true_without: Tensor
    parts: Tensor
    wholes: Tensor
    without: Tensor


@dataclass(frozen=True)
class SinesVariety:
    """Many curves, ``[C, num_draws, T]``, of one wave of each category, all on the CPU."""

    category: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class SinesNonlinearity:
    r"""Ground-truth curves of the same :math:`K` waves that saturate more and more.

    For each nonlinearity :math:`C`, ``whole`` lies in :math:`[-K, K]`, and ``linear`` is the sum of
    the parts, :math:`C \sum_i a_i \cos(\dots)`, both ``[len(nonlinearity), T]``.
    """

    nonlinearity: tuple[float, ...]
    whole: Tensor
    linear: Tensor
    num_parts: int


def recompose_sines(
    model: CompVAE, problem: Sines, *, category: Sequence[int] = (0, 2, 1, 5, 3, 7), seed: int = 0
) -> SinesRecomposition:
    r"""Infer the latents of a curve's waves, and decode some of them (paper, Fig. 6).

    The model observes the curve of all waves, at least one, and their categories. Choices of them
    are decoded as in :func:`recompose_dots`, with the inferred :math:`\varepsilon` of :math:`z`.
    Amplitudes, phases and latents are drawn from ``seed``.

    Example:
        >>> recompose_sines(Sines().build("small"), Sines(), category=[0, 2, 2]).without.shape
        torch.Size([3, 200])
    """
    checks.check_evaluation(model, problem, Sines, seed=seed)
    waves, num_parts = _waves(problem, category), len(category)
    amplitude, phase = problem.features(num_parts, stream(seed, num_parts))
    alone = torch.eye(num_parts, dtype=torch.bool)
    # Which waves each curve is made of, [3K, K]: one, those so far, all but one.
    chosen = torch.cat([alone, torch.ones_like(alone).tril(), ~alone])
    batch, wave = chosen.nonzero(as_tuple=True)
    truth = problem.render(waves[wave], amplitude[wave], phase[wave], batch, len(chosen))
    with isolated(model, seed) as device:
        observed = truth[2 * num_parts - 1 : 2 * num_parts].to(device)
        seen = model.infer(observed, {"category": waves.to(device)})
        copies = seen.select(torch.zeros(len(chosen), dtype=torch.long, device=device))
        decoded = copies.remove(~chosen.flatten().to(device)).decode().mean.cpu()
    return SinesRecomposition(waves, *truth.chunk(3), *decoded.chunk(3))


def sines_variety(
    model: CompVAE,
    problem: Sines,
    *,
    category: Sequence[int] = (0, 1, 3),
    num_draws: int = 25,
    seed: int = 0,
) -> SinesVariety:
    """Draw ``num_draws`` curves of one wave of each category from ``seed`` (paper, Fig. 5).

    Example:
        >>> sines_variety(Sines().build("small"), Sines(), num_draws=5).generated.shape
        torch.Size([3, 5, 200])
    """
    checks.check_evaluation(model, problem, Sines, seed=seed, num_draws=num_draws)
    kinds = _waves(problem, category)
    waves = kinds.repeat_interleave(num_draws)
    batch = torch.arange(len(waves))
    truth = problem.draw(waves, batch, len(waves), stream(seed, 1, "variety"))
    with isolated(model, seed) as device:
        generated = model.generate({"category": waves.to(device)}, batch.to(device), len(waves))
    samples = (curves.unflatten(0, (-1, num_draws)) for curves in (truth, generated.cpu()))
    return SinesVariety(kinds, *samples)


def sines_nonlinearity(
    problem: Sines,
    *,
    nonlinearity: Sequence[float] = (0.3, 1.0, 3.0, 10.0),
    category: Sequence[int] = (0, 1, 2, 4),
    seed: int = 0,
) -> SinesNonlinearity:
    """Draw the same waves with one nonlinearity after the other (paper, Fig. 10).

    Amplitudes and phases are drawn from ``seed``; the other parameters are those of the problem.
    ``nonlinearity`` must hold positive numbers, and ``category`` at least one of the categories.

    Example:
        >>> weak, strong = sines_nonlinearity(Sines(), nonlinearity=[0.01, 10.0]).whole
        >>> float(weak.abs().max()) < 0.1, float(strong.abs().max()) > 3.9
        (True, True)
    """
    checks.check_type(problem, "problem", Sines)
    checks.check_count(seed, "seed", at_least=0)
    checks.check_numbers(nonlinearity, "nonlinearity")
    kinds, num_parts = _waves(problem, category), len(category)
    features = problem.features(num_parts, stream(seed, num_parts))

    def draw(value: float) -> Tensor:
        batch = torch.zeros(num_parts, dtype=torch.long)
        return replace(problem, nonlinearity=value).render(kinds, *features, batch, 1)

    # With so weak a nonlinearity, tanh is its argument to the precision of 32 bits.
    linear = torch.tensor(list(nonlinearity)).unsqueeze(1) * (draw(1e-4) / 1e-4)
    whole = torch.cat([draw(value) for value in nonlinearity])
    return SinesNonlinearity(tuple(nonlinearity), whole, linear, num_parts)


def _waves(problem: Sines, category: Sequence[int]) -> Tensor:
    checks.check_counts(category, "category", at_least=0)
    if len(category) == 0:
        raise ValueError("category must not be empty (got none)")
    return checks.check_categories({"category": torch.tensor(category)}, problem.num_categories)
