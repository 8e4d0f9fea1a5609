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

from compvae_pyg.nn.checks import check_choice, check_real, check_same_shape

__all__ = ["CurveLogNormal", "Family", "from_noise", "observation"]

Family = Literal["normal", "lognormal", "gamma"]
_MAX_NINTH = 0.5  # of the squared ratio of standard deviation and mean, over nine


class CurveLogNormal(TransformedDistribution):
    r"""Positive curves whose logarithms are Gaussian, with correlation along the curve.

    Args:
        base: Distribution of the logarithms, a Gaussian over ``[S, T]`` of event shape ``[T]``.

    Example:
        >>> zero, one = torch.zeros(2, 5), torch.ones(2, 5)
        >>> curves = CurveLogNormal(LowRankMultivariateNormal(zero, one.unsqueeze(2), one))
        >>> curves.sample().shape, curves.mean[0, 0]  # e
        (torch.Size([2, 5]), tensor(2.7183))
    """

    def __init__(self, base: Distribution) -> None:
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


class CurveGamma(TransformedDistribution):
    r"""Positive curves whose cube roots are Gaussian, as those of gamma distributions nearly are.

    .. math::
        x = a\, y^3, \qquad y \sim \mathcal{N}(\mu, \Sigma)

    (Wilson and Hilferty, 1931): the tail of a gamma distribution, with correlation along the curve.
    What little falls below zero is drawn as zero.

    Args:
        base: Distribution of the cube roots, a Gaussian over ``[S, T]`` of event shape ``[T]``.
        scale: :math:`a`, ``[S, T]``.

    Example:
        >>> roots = Independent(Normal(torch.full((2, 5), 0.9), 0.3), 1)
        >>> CurveGamma(roots, torch.ones(2, 5)).mean[0, 0]
        tensor(0.9720)
    """

    def __init__(self, base: Distribution, scale: Tensor) -> None:
        self.scale = scale
        super().__init__(base, _Cube(scale), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CurveGamma:
        """Return the distribution with parameters expanded to a shape."""
        shape = torch.Size(batch_shape)
        scale = self.scale.expand(*shape, *self.event_shape)
        return CurveGamma(self.base_dist.expand(shape), scale)

    @property
    def mean(self) -> Tensor:
        r"""Mean :math:`a (\mu^3 + 3 \mu \sigma^2)`, ``[S, T]``."""
        m, v = self.base_dist.mean, self.base_dist.variance
        return self.scale * (m**3 + 3.0 * m * v)

    @property
    def variance(self) -> Tensor:
        r"""Variance :math:`a^2 \sigma^2 (9 \mu^4 + 36 \mu^2 \sigma^2 + 15 \sigma^4)`."""
        m, v = self.base_dist.mean, self.base_dist.variance
        return self.scale.square() * v * (9.0 * m**4 + 36.0 * m.square() * v + 15.0 * v.square())


class _Cube(Transform):
    domain = constraints.real
    codomain = constraints.nonnegative
    bijective = True
    sign = 1

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = scale

    def _call(self, y: Tensor) -> Tensor:
        return self.scale * y.clamp(min=0.0) ** 3

    def _inverse(self, x: Tensor) -> Tensor:
        return (x / self.scale) ** (1.0 / 3.0)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return (3.0 * self.scale).log() + 2.0 * x.abs().log()


def observation(
    family: Family, mean: Tensor, std: Tensor, factor: Tensor | None = None
) -> Distribution:
    r"""Return a distribution over curves of given means and standard deviations.

    With a factor :math:`F_t` of rank :math:`R`, what lies at different points is correlated: the
    Gaussian, of the curve or of its logarithm, has the correlations

    .. math::
        \rho_{tu} = \frac{F_t \cdot F_u}{\sqrt{(1 + |F_t|^2)(1 + |F_u|^2)}}, \qquad t \neq u

    Args:
        family: ``"normal"``; ``"lognormal"`` or ``"gamma"`` for positive curves, of the same
            moments: :math:`\sigma_{\log}^2 = \log(1 + s^2 / m^2)`, or a :class:`CurveGamma` of
            shape :math:`m^2 / s^2`, which is held below :math:`s = 2 m` or so.
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
    if family == "gamma":
        ninth = (std / mean).square() / 9.0
        ninth = ninth / (1.0 + (ninth / _MAX_NINTH) ** 4) ** 0.25  # the identity where it is small
        scale = mean / (1.0 - ninth**3)
        mean, std = 1.0 - ninth, ninth.sqrt()
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
    if family == "gamma":
        return CurveGamma(base, scale)
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
        TypeError: If the distribution has neither an ``icdf`` nor a ``cdf``.

    Example:
        >>> wait = torch.distributions.Exponential(torch.ones(3))
        >>> from_noise(wait, torch.tensor([-1.0, 0.0, 1.0]))  # the median is log 2
        tensor([0.1728, 0.6931, 1.8410])
    """
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
