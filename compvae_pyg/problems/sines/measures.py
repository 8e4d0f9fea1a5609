"""The waves of curves: how much of each frequency they have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from compvae_pyg.nn import PackedParts, checks
from compvae_pyg.problems.base import Quantity, Removal, Value
from compvae_pyg.problems.estimate import Estimate, mean_square

__all__ = ["QUANTITIES", "Spectrum", "compare_spectra", "measure_spectrum", "spectrum"]

QUANTITIES = {
    "amplitude": Quantity(
        "amplitude (ground truth)",
        ".2f",
        "amplitude of a wave: mean",
        meaning="mean amplitude of the waves that are given",
    ),
    "amplitude_std": Quantity(
        "its sd (ground truth)",
        ".2f",
        "amplitude of a wave: standard deviation",
        meaning="standard deviation of these amplitudes",
    ),
    "leak": Quantity(
        "leak (ground truth)",
        ".2f",
        "leak: amplitude of absent waves",
        meaning="mean amplitude of the waves that are not",
    ),
    "outside": Quantity("outside (ground truth)", ".2f", "energy outside all frequencies"),
    "clipped": Quantity("clipped (ground truth)", ".2f", meaning="share of values at a bound"),
    "energy_distance": Quantity(
        "energy distance (oracle)",
        meaning="energy distance of generated curves to true ones of the same waves",
    ),
    "generated_sum_energy_distance": Quantity(
        "of summed parts", meaning="that of sums of generated curves of one wave each"
    ),
}


@dataclass(frozen=True)
class Spectrum:
    r"""The waves of curves, in 64 bits.

    ``coefficient``, complex, ``[S, L]``, is the sum of :math:`a_i e^{\mathrm{i} \kappa_i}` over the
    waves of each frequency; ``outside`` and ``clipped``, ``[S]``, are the shares of a curve's
    energy outside the frequencies and of its samples beyond the reach.

    Example:
        >>> from compvae_pyg import Sines
        >>> curves = Sines().draw(torch.tensor([0, 4]), torch.tensor([0, 0]), 1)
        >>> spectrum(curves, torch.tensor([2])).clipped.shape
        torch.Size([1])
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
    r"""Find the waves of curves like those of :func:`~compvae_pyg.problems.sines.render_sines`.

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

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes or devices do not fit, a number is out of range, or there are too few
            samples for so many frequencies.

    Example:
        >>> from compvae_pyg.problems.sines import render_sines
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


def measure_spectrum(found: Spectrum, parts: PackedParts) -> dict[str, Value]:
    """Return what :meth:`Sines.measure` does, of curves whose spectrum was found."""
    times = parts.sum(one_hot(parts["category"], found.coefficient.shape[1]))
    once, absent = (times == 1).double(), (times == 0).double()
    num_once, num_absent = once.sum(dim=1), absent.sum(dim=1)
    each = once * found.amplitude, once * found.amplitude.square(), absent * found.amplitude
    amplitude, square, leak = (values.sum(dim=1) for values in each)
    return {
        "amplitude": partial(Estimate.ratio, amplitude, num_once),
        "amplitude_std": partial(_deviation, amplitude, square, num_once),
        "leak": partial(Estimate.ratio, leak, num_absent),
        "outside": found.outside,
        "clipped": found.clipped,
    }


def _deviation(total: Tensor, square: Tensor, count: Tensor) -> Estimate:
    mean = Estimate.ratio(total, count).mean
    # The sum of squared deviations from the mean: its own error does not count, to first order.
    return Estimate.root_mean(square - 2.0 * mean * total + mean**2 * count, count)


def compare_spectra(spectra: Sequence[Spectrum], removal: Removal) -> dict[str, Value]:
    """Return what :meth:`Sines.measure_removal` does, by spectra: observed, kept and removed."""
    true, before, after = spectra
    parts, rest, num_categories = removal.parts, removal.rest, true.coefficient.shape[1]
    there = rest.sum(one_hot(rest["category"], num_categories)) > 0
    gone = parts.sum(one_hot(parts["category"], num_categories))
    gone = gone - rest.sum(one_hot(rest["category"], num_categories)) > 0

    def over(which: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over some frequencies of each curve, and their number."""
        return torch.where(which, value, 0.0).sum(dim=1), which.sum(dim=1).double()

    errors = [(found.coefficient - true.coefficient).abs().square() for found in (before, after)]
    alone, others, absent = gone & ~there, there & ~gone, ~there & ~gone
    square = mean_square(removal.removed - removal.truth).unsqueeze(1)
    return {
        "alone_rmse": partial(Estimate.root_mean, *over(alone, square)),
        "amplitude": partial(Estimate.ratio, *over(alone, before.amplitude)),
        "amplitude_left": partial(Estimate.ratio, *over(alone, after.amplitude)),
        "leak": partial(Estimate.ratio, *over(absent, before.amplitude)),
        "others_error": partial(Estimate.root_mean, *over(others, errors[0])),
        "others_removal_error": partial(Estimate.root_mean, *over(others, errors[1])),
    }
