"""Distributions of wholes by their moments, and any distribution as a map from normal noise."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import ExpTransform, Transform

from compvae_pyg.nn.checks import check_choice, check_real, check_same_shape, check_type

__all__ = ["CurveLogNormal", "Family", "from_noise", "observation"]

Family = Literal["normal", "lognormal", "power"]
_MAX_VARIANCE = 0.2  # of a root of mean 1


class CurveLogNormal(TransformedDistribution):
    r"""Positive curves whose logarithms are Gaussian, with correlation along the curve.

    Args:
        base: Distribution of the logarithms, a Gaussian over ``[S, T]`` of event shape ``[T]``.

    Raises:
        TypeError: If ``base`` is no distribution.

    Example:
        >>> zero, one = torch.zeros(2, 5), torch.ones(2, 5)
        >>> curves = CurveLogNormal(LowRankMultivariateNormal(zero, one.unsqueeze(2), one))
        >>> curves.sample().shape, curves.mean[0, 0]  # e
        (torch.Size([2, 5]), tensor(2.7183))
    """

    def __init__(self, base: Distribution) -> None:
        check_type(base, "base", Distribution)
        super().__init__(base, ExpTransform(), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CurveLogNormal:
        """Return the distribution with parameters expanded to a shape."""
        return CurveLogNormal(self.base_dist.expand(batch_shape))

    @property
    def mean(self) -> Tensor:
        r"""Mean :math:`e^{\mu + \sigma^2 / 2}`, ``[S, T]``."""
        return torch.exp(self.base_dist.mean + 0.5 * self.base_dist.variance)

    @property
    def variance(self) -> Tensor:
        r"""Variance :math:`(e^{\sigma^2} - 1) e^{2 \mu + \sigma^2}`, ``[S, T]``."""
        return torch.expm1(self.base_dist.variance) * self.mean.square()


class CurvePower(TransformedDistribution):
    r"""Positive curves that are fifth powers of Gaussian ones.

    .. math::
        x = a\, y^5, \qquad y \sim \mathcal{N}(\mu, \Sigma)

    a power transform (Box and Cox, 1964) whose tail lies between those of gamma distributions,
    nearly a cube, and of lognormal ones. What little falls below zero is drawn as zero.

    Args:
        base: Distribution of the roots, a Gaussian over ``[S, T]`` of event shape ``[T]``.
        scale: :math:`a`, ``[S, T]``.

    Example:
        >>> roots = Independent(Normal(torch.ones(2, 5), 0.2), 1)
        >>> CurvePower(roots, torch.ones(2, 5)).mean[0, 0]
        tensor(1.4240)
    """

    def __init__(self, base: Distribution, scale: Tensor) -> None:
        self.scale = scale
        super().__init__(base, _Fifth(scale), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CurvePower:
        """Return the distribution with parameters expanded to a shape."""
        shape = torch.Size(batch_shape)
        scale = self.scale.expand(*shape, *self.event_shape)
        return CurvePower(self.base_dist.expand(shape), scale)

    @property
    def mean(self) -> Tensor:
        r"""Mean :math:`a (\mu^5 + 10 \mu^3 v + 15 \mu v^2)`, v the variance of y."""
        m, v = self.base_dist.mean, self.base_dist.variance
        return self.scale * m * (m**4 + 10.0 * m.square() * v + 15.0 * v.square())

    @property
    def variance(self) -> Tensor:
        """Variance, ``[S, T]``, by the moments of a Gaussian."""
        square, v = self.base_dist.mean.square(), self.base_dist.variance
        terms, total = (25.0, 500.0, 2850.0, 4500.0, 945.0), torch.zeros_like(v)
        for k, factor in enumerate(terms):
            total = total + factor * square ** (4 - k) * v ** (k + 1)
        return self.scale.square() * total


class _Fifth(Transform):
    domain = constraints.real
    codomain = constraints.nonnegative
    bijective = True
    sign = 1

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = scale

    def _call(self, x: Tensor) -> Tensor:
        return self.scale * x.clamp(min=0.0) ** 5

    def _inverse(self, y: Tensor) -> Tensor:
        return (y / self.scale) ** 0.2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (5.0 * self.scale).log() + 4.0 * x.abs().log()


def observation(
    family: Family, mean: Tensor, std: Tensor, factor: Tensor | None = None
) -> Distribution:
    r"""Return a distribution over curves of given means and standard deviations.

    With a factor :math:`F_t` of rank :math:`R`, what lies at different points is correlated: the
    Gaussian, of the curve or of its logarithm, has the correlations

    .. math::
        \rho_{tu} = \frac{F_t \cdot F_u}{\sqrt{(1 + |F_t|^2)(1 + |F_u|^2)}}, \qquad t \neq u

    Args:
        family: ``"normal"``; ``"lognormal"``, :math:`\sigma_{\log}^2 = \log(1 + s^2 / m^2)`; or
            ``"power"``, a :class:`CurvePower` whose deviation is :math:`s` to 6 %, and no more than
            :math:`2 m` or so.
        mean, std: :math:`m` and :math:`s`, ``[S, T]``.
        factor: :math:`F`, ``[S, T, R]``; without it, points are independent.

    Raises:
        TypeError, ValueError: If an argument is of another type or shape.

    Example:
        >>> m, s = torch.full((1, 2), 3.0), torch.full((1, 2), 0.5)
        >>> loads = observation("lognormal", m, s, torch.ones(1, 2, 1))
        >>> loads.mean, loads.stddev
        (tensor([[3., 3.]]), tensor([[0.5000, 0.5000]]))
    """
    check_choice(family, "family", get_args(Family))
    check_same_shape(("S", "T"), mean=mean, std=std)
    scale = mean
    if family == "power":
        of_root = (std / mean).square() / 25.0
        of_root = of_root / (1.0 + (of_root / _MAX_VARIANCE) ** 4) ** 0.25
        scale = mean / (1.0 + 10.0 * of_root + 15.0 * of_root.square())
        mean, std = torch.ones_like(mean), of_root.sqrt()
    if family == "lognormal":
        variance = torch.log1p((std / mean).square())
        mean, std = mean.log() - 0.5 * variance, variance.sqrt()
    base: Distribution
    if factor is None:
        base = Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
    else:
        check_real(factor, "factor")
        own = 1.0 / (1.0 + factor.square().sum(dim=2))
        shared = std.unsqueeze(2) * factor * own.sqrt().unsqueeze(2)
        base = LowRankMultivariateNormal(mean, shared, std.square() * own, validate_args=False)
    if family == "power":
        return CurvePower(base, scale)
    return CurveLogNormal(base) if family == "lognormal" else base


def from_noise(distribution: Distribution, noise: Tensor) -> Tensor:
    r"""Return what standard normal noise becomes in a distribution.

    Gaussians are shifted and scaled, what is transformed follows, and all else is mapped point by
    point by its inverse distribution function, :math:`F^{-1}(\Phi(\varepsilon))`, which is found by
    bisection where it is not known: draws of any distribution as a function of normal noise.

    Args:
        distribution: Of batch shape ``[S]``.
        noise: Standard normal, ``[S, *event]``.

    Raises:
        TypeError: If an argument is of another type, or the distribution has neither an ``icdf``
            nor a ``cdf``.

    Example:
        >>> wait = torch.distributions.Exponential(torch.ones(3))
        >>> from_noise(wait, torch.tensor([-1.0, 0.0, 1.0]))  # the median is log 2
        tensor([0.1728, 0.6931, 1.8410])
    """
    check_type(distribution, "distribution", Distribution)
    check_real(noise, "noise")
    if isinstance(distribution, Independent):
        return from_noise(distribution.base_dist, noise)
    if isinstance(distribution, TransformedDistribution):
        value = from_noise(distribution.base_dist, noise)
        for transform in distribution.transforms:
            value = transform(value)
        return value
    if isinstance(distribution, Normal):
        return distribution.mean + distribution.stddev * noise
    if isinstance(distribution, (LowRankMultivariateNormal, MultivariateNormal)):
        return distribution.mean + (distribution.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    # In 64 bits, in which a share of 1e-9 from the top is not 1.
    share = torch.special.ndtr(noise.double())
    try:
        return distribution.icdf(share).to(noise.dtype)
    except NotImplementedError:
        return _quantile(distribution, share).to(noise.dtype)


def _quantile(distribution: Distribution, share: Tensor) -> Tensor:
    """Return where the distribution function reaches shares, by bisection."""
    lowest = getattr(distribution.support, "lower_bound", -torch.inf)

    def below(value: Tensor) -> Tensor:
        try:
            return distribution.cdf(value) < share
        except NotImplementedError:
            name = type(distribution).__name__
            raise TypeError(
                f"decoder must return a distribution with an icdf or a cdf (got {name})"
            ) from None

    mean = distribution.mean.double().expand(share.shape)
    step = distribution.stddev.double().expand(share.shape)
    low, high = (mean - step).clamp(min=lowest), mean + step
    for _ in range(60):
        short, long = below(high), ~below(low) & (low > lowest)
        if not bool((short | long).any()):
            break
        step = 2.0 * step
        high = torch.where(short, mean + step, high)
        low = torch.where(long, mean - step, low).clamp(min=lowest)
    for _ in range(80):
        middle = 0.5 * (low + high)
        above = below(middle)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return 0.5 * (low + high)
