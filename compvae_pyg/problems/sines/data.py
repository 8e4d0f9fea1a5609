"""Sums of sine waves, saturated (paper, section 4.2 and A.1)."""

import math

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_categories, check_count, check_feature, check_number

__all__ = ["render_sines"]


def render_sines(
    category: Tensor,
    amplitude: Tensor,
    phase: Tensor,
    batch: Tensor,
    batch_size: int,
    *,
    nonlinearity: float = 3.0,
    period: float = 100.0,
    num_categories: int = 10,
    num_samples: int = 200,
) -> Tensor:
    r"""Draw curves that are made of sine waves, each by the number :math:`K` of its own waves.

    .. math::
        x(t) = K \tanh\Bigl( \frac{C}{K} \sum_{i=1}^K
            a_i \cos\bigl( 2 \pi \ell_i t / T_0 + \kappa_i \bigr) \Bigr), \qquad t = 0, 1, 2, \dots

    (paper, section 4.2, whose sum starts at 0 by a slip).

    Args:
        category: Category of each wave, ``[N]``, in ``[0, num_categories)``: the frequency is
            :math:`\ell = \text{category} + 1`.
        amplitude: Amplitude :math:`a` of each wave, ``[N]``.
        phase: Phase :math:`\kappa` of each wave, in radians, ``[N]``.
        batch: Curve of each wave, ``[N]``, sorted.
        batch_size: Number of curves :math:`S`.
        nonlinearity: :math:`C`.
        period: Period :math:`T_0` of the lowest frequency, in samples.
        num_categories: Number of frequencies.
        num_samples: Number of samples of a curve.

    Returns:
        Curves ``[S, num_samples]`` in :math:`[-K, K]`; one without waves is zero.

    Raises:
        TypeError: If ``category`` does not hold 64-bit integers.
        ValueError: If a category is out of range; looked at on the CPU.

    Example:
        >>> waves = torch.tensor([0, 0]), torch.tensor([1.0, 1.0]), torch.tensor([0.0, math.pi])
        >>> x = render_sines(*waves, torch.tensor([0, 1]), 2)
        >>> x[:, [0, 50]]
        tensor([[ 0.9951, -0.9951],
                [-0.9951,  0.9951]])
    """
    check_count(num_categories, "num_categories")
    check_count(num_samples, "num_samples")
    check_number(nonlinearity, "nonlinearity", positive=True)
    check_number(period, "period", positive=True)
    check_categories({"category": category}, num_categories)
    check_feature(amplitude, "amplitude", category)
    check_feature(phase, "phase", category)
    parts = PackedParts(category, batch, batch_size)
    angle = torch.outer(
        torch.arange(1, num_categories + 1, dtype=torch.float64, device=phase.device),
        torch.arange(num_samples, dtype=torch.float64, device=phase.device),
    ).mul_(2.0 * math.pi / period)
    basis = torch.cat([torch.cos(angle), torch.sin(angle)]).to(amplitude.dtype)
    # cos(a + b) = cos(a) cos(b) - sin(a) sin(b): the waves of one frequency add up to one wave.
    own = torch.stack([amplitude * torch.cos(phase), -amplitude * torch.sin(phase)], dim=-1)
    row = batch * num_categories + category
    of_frequency = scatter(own, row, 0, batch_size * num_categories, reduce="sum")
    total = of_frequency.view(batch_size, num_categories, 2).mT.flatten(1) @ basis
    count = parts.sizes(amplitude.dtype).unsqueeze(-1)
    return count * torch.tanh(nonlinearity / count.clamp(min=1.0) * total)
