"""Variances that are small, or zero."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from compvae_pyg.nn.checks import check_number, check_real

__all__ = ["floor_log_variance", "root"]


def floor_log_variance(log_variance: Tensor, min_scale: float) -> Tensor:
    r"""Bound log-variances softly from below, so that :math:`\sigma \geq \sigma_0`.

    .. math::
        \nu \mapsto \mathrm{ELU}(\nu - \nu_0 - 1) + 1 + \nu_0, \qquad \nu_0 = 2 \log \sigma_0

    It is the identity for :math:`\nu \geq \nu_0 + 1` and has a positive slope everywhere. The
    variances of a learnt prior need it: a divergence from them is unbounded as they vanish
    (paper, section 3.3).

    Args:
        log_variance: :math:`\nu = \log \sigma^2`, any shape.
        min_scale: :math:`\sigma_0 > 0`, a standard deviation.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``min_scale`` is not positive and finite.

    Example:
        >>> import torch
        >>> floor_log_variance(torch.tensor([-100.0, 3.0]), min_scale=0.1).div(2).exp()
        tensor([0.1000, 4.4817])
    """
    check_real(log_variance, "log_variance")
    check_number(min_scale, "min_scale")
    if not min_scale > 0:
        raise ValueError(f"min_scale must be positive (got {min_scale})")
    shift = 2.0 * math.log(min_scale) + 1.0
    return F.elu(log_variance - shift) + shift


def root(variance: Tensor) -> Tensor:
    """Return the root of variances, whose gradient is zero, and not NaN, where there is none.

    Example:
        >>> variance = torch.tensor([4.0, 0.0], requires_grad=True)
        >>> root(variance).sum().backward()
        >>> variance.grad
        tensor([0.2500, 0.0000])
    """
    none = variance == 0.0
    return torch.where(none, 0.0, torch.where(none, 1.0, variance).sqrt())
