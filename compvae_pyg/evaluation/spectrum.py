"""Which sine waves a curve is made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from compvae_pyg.evaluation.checks import check_positive
from compvae_pyg.models.checks import check_type
from compvae_pyg.nn.checks import check_count, check_real

__all__ = ["Spectrum", "spectrum"]


@dataclass(frozen=True)
class Spectrum:
    r"""The waves of curves, in 64 bits.

    Attributes:
        coefficient: Sum of :math:`a_i e^{\mathrm{i} \kappa_i}` over the waves of each frequency,
            ``[S, L]``, complex.
        outside: Share of a curve's energy that lies outside the frequencies, ``[S]``.
        clipped: Share of a curve's samples beyond the limit that the non-linearity can be undone
            to, ``[S]``.
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
    r"""Find the waves of curves that :func:`~compvae_pyg.problems.render_sines` drew, or a model.

    The non-linearity is undone and what results is fitted by least squares, in 64 bits:

    .. math::
        s(t) = \frac{K}{C} \operatorname{artanh} \frac{x(t)}{K}
            \approx \sum_{\ell=1}^{L} \operatorname{Re}
            \bigl( c_\ell\, e^{2 \pi \mathrm{i} \ell t / T_0} \bigr)

    For true curves the fit is exact. Of inexact ones the saturated stretches tell little, since
    there a small error of :math:`x` is a large one of :math:`s`: samples with
    :math:`|s| > K \cdot \text{reach}` are clipped to that, and their share is returned. Without
    a bound on the reach a sample at or beyond :math:`\pm K` counts as about :math:`\pm 18 K / C`.

    Args:
        whole: Curves, ``[S, T]``.
        num_parts: Number :math:`K \geq 1` of waves of each curve, ``[S]``.
        num_categories: Number :math:`L` of frequencies.
        nonlinearity: :math:`C`.
        period: :math:`T_0`, in samples.
        reach: Largest :math:`|s| / K`; that of waves with amplitudes of at most :math:`a` is at
            most :math:`a`.

    Raises:
        ValueError: If a shape does not fit the others, the samples are too few for the
            frequencies, or ``reach`` is not positive.

    Example:
        >>> from compvae_pyg.problems import render_sines
        >>> waves = torch.tensor([0, 2]), torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])
        >>> x = render_sines(*waves, torch.tensor([0, 0]), 1)
        >>> spectrum(x, torch.tensor([2])).amplitude[0, :4]
        tensor([1.0000, 0.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    check_real(whole, "whole")
    _check_num_parts(num_parts, whole)
    check_count(num_categories, "num_categories")
    check_positive(nonlinearity, "nonlinearity")
    check_positive(period, "period")
    check_type(reach, "reach", float, int)
    if whole.dim() != 2 or num_parts.shape != whole.shape[:1]:
        raise ValueError(
            "whole and num_parts must be [S, T] and [S] "
            f"(got {list(whole.shape)} and {list(num_parts.shape)})"
        )
    if not reach > 0.0:
        raise ValueError(f"reach must be positive (got {reach})")
    num_samples = whole.shape[1]
    if 2 * num_categories >= min(period, num_samples + 1):
        raise ValueError(
            f"{num_categories} frequencies need more than {2 * num_categories} samples a period "
            f"and as many in all (got {period:g} and {num_samples})"
        )
    size = num_parts.to(torch.float64).unsqueeze(-1)
    ratio = whole.to(torch.float64) / size
    limit = min(math.tanh(nonlinearity * reach), 1.0 - torch.finfo(torch.float64).eps)
    total = size / nonlinearity * torch.atanh(ratio.clamp(-limit, limit))
    time = torch.arange(num_samples, dtype=torch.float64, device=whole.device)
    frequency = torch.arange(1, num_categories + 1, device=whole.device).unsqueeze(-1)
    angle = 2.0 * math.pi * torch.remainder(frequency * time, period) / period
    basis = torch.cat([angle.cos(), -angle.sin()])
    fitted = total @ torch.linalg.pinv(basis)
    left = (total - fitted @ basis).square().sum(dim=1)
    energy = total.square().sum(dim=1)
    real, imaginary = fitted.chunk(2, dim=1)
    return Spectrum(
        coefficient=torch.complex(real.contiguous(), imaginary.contiguous()),
        outside=left / energy.clamp(min=torch.finfo(torch.float64).tiny),
        clipped=(ratio.abs() > limit).to(torch.float64).mean(dim=1),
    )


def _check_num_parts(num_parts: Tensor, whole: Tensor) -> None:
    check_type(num_parts, "num_parts", Tensor)
    if num_parts.is_floating_point() or num_parts.is_complex() or num_parts.dtype == torch.bool:
        raise TypeError(f"num_parts must hold integers (got {num_parts.dtype})")
    if num_parts.device != whole.device:
        raise ValueError(
            f"num_parts must be on the device of whole (got {num_parts.device}, "
            f"expected {whole.device})"
        )
    # On the CPU, where that costs no synchronisation.
    if num_parts.device.type == "cpu" and bool((num_parts < 1).any()):
        raise ValueError(f"num_parts must be at least 1 (got {int(num_parts.min())})")
