"""Diagonal Gaussians by their mean and log-variance, and the network that returns one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import NoneType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints, register_kl

from compvae_pyg.distributions.random_source import DrawFrom
from compvae_pyg.nn.checks import (
    check_broadcasts,
    check_count,
    check_generator,
    check_number,
    check_real,
    check_type,
    takes_context,
)
from compvae_pyg.nn.rows import at_least_float32

__all__ = [
    "BoundedScale",
    "LogVarianceNormal",
    "NormalNetwork",
    "StandardNormal",
    "bound_scale",
    "floor_log_variance",
    "normal_sample",
    "sample",
    "soft_minimum",
    "standard_normal",
]

_LOG_2PI = math.log(2.0 * math.pi)
# Deviations are formed in units of so many standard deviations: the reciprocal of the smallest
# number of a type overflows, and that of this multiple of it does not.
_UNIT = 2.0**24


class LogVarianceNormal(Normal):
    r"""Normal distribution of mean :math:`\mu` and log-variance :math:`\nu = \log \sigma^2`.

    .. math::
        \log p(x) = -\tfrac12 \bigl[ (x - \mu)^2 e^{-\nu} + \nu + \log 2\pi \bigr]

    It is a :class:`torch.distributions.Normal` whose densities take neither the logarithm nor the
    square of :math:`\sigma`, so that they are right for scales whose square is not a number of
    the type, and in which a variance that several means share is worked on once.

    Args:
        loc: :math:`\mu`, any shape.
        log_variance: :math:`\nu`, of a shape that broadcasts with that of ``loc``.
        validate_args: As in :class:`torch.distributions.Distribution`.

    Raises:
        TypeError: If a parameter or a value does not hold floating-point numbers.
        ValueError: If shapes do not broadcast, or, with ``validate_args``, a number is out of
            range.

    Example:
        >>> p = LogVarianceNormal(torch.zeros(2, 3), torch.zeros(2, 1))
        >>> p.log_prob(torch.ones(2, 3)).shape, p.stddev.shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    arg_constraints = {  # noqa: RUF012 - the base class's way
        "loc": constraints.real,
        "log_variance": constraints.real,
    }

    def __init__(
        self, loc: Tensor, log_variance: Tensor, validate_args: bool | None = None
    ) -> None:
        check_real(loc, "loc")
        check_real(log_variance, "log_variance")
        check_type(validate_args, "validate_args", bool, NoneType)
        check_broadcasts(log_variance, "log_variance", loc)
        self.log_variance = log_variance
        super().__init__(loc, torch.exp(0.5 * log_variance), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LogVarianceNormal:
        """Return the distribution with parameters expanded to a shape."""
        shape = torch.Size(batch_shape)
        return LogVarianceNormal(
            self.loc.expand(shape), self.log_variance.expand(shape), validate_args=False
        )

    @property
    def variance(self) -> Tensor:
        r"""Variance :math:`e^\nu`, of the shape of ``loc``."""
        return torch.exp(self.log_variance).expand(self._batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density in nats, of the shape of ``value`` and of the parameters."""
        check_real(value, "value")
        if self._validate_args:
            self._validate_sample(value)
        constant = -0.5 * (self.log_variance + _LOG_2PI)
        deviation = (value - self.loc) * _reciprocal_scale(self.log_variance, _UNIT)
        return torch.addcmul(constant, deviation, deviation, value=-0.5 * _UNIT**2)

    def entropy(self) -> Tensor:
        r"""Return :math:`\tfrac12 (1 + \log 2\pi + \nu)` in nats, of the shape of ``loc``."""
        return (0.5 * (1.0 + _LOG_2PI + self.log_variance)).expand(self._batch_shape)


@register_kl(LogVarianceNormal, Normal)
def _kl_log_variance_normal_normal(p: LogVarianceNormal, q: Normal) -> Tensor:
    log_variance = 2.0 * log_scale(q)
    difference = p.log_variance - log_variance
    shift = (p.loc - q.loc) * _reciprocal_scale(log_variance)
    return 0.5 * (torch.expm1(difference) - difference + shift.square())


def log_scale(normal: Normal) -> Tensor:
    """Return the logarithm of the standard deviation, of a shape that broadcasts with the mean."""
    if isinstance(normal, LogVarianceNormal):
        return 0.5 * normal.log_variance
    return normal.scale.log()


def _reciprocal_scale(log_variance: Tensor, unit: float = 1.0) -> Tensor:
    # Held below infinity, so that no deviation remains none: 0 times infinity is NaN.
    largest = math.log(torch.finfo(log_variance.dtype).max) - 1e-3
    return torch.exp((-0.5 * log_variance - math.log(unit)).clamp(max=largest))


class NormalNetwork(nn.Module):
    r"""A network whose output is the mean and log-variance of a diagonal Gaussian.

    .. math::
        p(y \mid c) = \mathcal{N}\bigl(y; \mu, e^{\nu}\bigr), \qquad (\mu, \nu) = \mathrm{net}(c)

    where :math:`\mu` and :math:`\nu` are consecutive channels (dimension 1) of the output, and
    :math:`\nu` passes through :func:`floor_log_variance`, so that :math:`\sigma \geq \sigma_0`.
    Half-precision outputs give a Gaussian in 32 bits.

    Args:
        net: Any module whose output is ``[B, C_mu + C_nu, ...]``.
        min_scale: Smallest standard deviation :math:`\sigma_0`.
        mean_channels: Number of channels :math:`C_\mu`; by default half of them. With
            :math:`C_\nu = 1` all channels of the mean share one variance.
        event_dims: How many trailing dimensions of the Gaussian make one event, whose
            log-density is summed over them.

    Raises:
        TypeError: If an argument is of another type, or ``net`` returns no floating-point tensor.
        ValueError: If a number is out of range, or ``net`` returns too few channels.

    Example:
        >>> net = NormalNetwork(nn.Linear(3, 8), min_scale=0.01)
        >>> net(torch.randn(5, 3)).mean.shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        net: nn.Module,
        min_scale: float,
        mean_channels: int | None = None,
        event_dims: int = 0,
    ) -> None:
        super().__init__()
        check_type(net, "net", nn.Module)
        check_number(min_scale, "min_scale", positive=True)
        if mean_channels is not None:
            check_count(mean_channels, "mean_channels")
        check_count(event_dims, "event_dims", at_least=0)
        self.net = net
        self.min_scale = min_scale
        self.mean_channels = mean_channels
        self.event_dims = event_dims

    @property
    def takes_context(self) -> bool:
        """Whether the network takes the context of the wholes."""
        return takes_context(self.net)

    def forward(self, *args: Any, **kwargs: Any) -> Normal | Independent:
        """Return the Gaussian, wrapped in ``Independent`` when ``event_dims`` is not 0."""
        out = self.net(*args, **kwargs)
        check_type(out, "net must return a tensor: its result", Tensor)
        check_real(out, "net must return numbers: its result")
        mean_channels = self.mean_channels or (out.shape[1] // 2 if out.dim() > 1 else 1)
        if out.dim() < 2 or not 0 < mean_channels < out.shape[1]:
            raise ValueError(
                f"net must return [B, C, ...] with more than {mean_channels or 1} channels C "
                f"(got {list(out.shape)})"
            )
        other = out.shape[1] - mean_channels
        if other not in (1, mean_channels):
            raise ValueError(
                f"net must return as many log-variances as means, or one (got {mean_channels} "
                f"means and {other} log-variances)"
            )
        loc, log_variance = at_least_float32(out).split([mean_channels, other], dim=1)
        normal = LogVarianceNormal(
            loc, floor_log_variance(log_variance, self.min_scale), validate_args=False
        )
        if self.event_dims == 0:
            return normal
        return Independent(normal, self.event_dims, validate_args=False)

    def extra_repr(self) -> str:
        """Show the smallest standard deviation."""
        return f"min_scale={self.min_scale}"


def floor_log_variance(log_variance: Tensor, min_scale: float) -> Tensor:
    r"""Bound log-variances softly from below, so that :math:`\sigma \geq \sigma_0`.

    .. math::
        \nu \mapsto \mathrm{ELU}(\nu - \nu_0 - 1) + 1 + \nu_0, \qquad \nu_0 = 2 \log \sigma_0

    It is the identity for :math:`\nu \geq \nu_0 + 1` and has a positive slope everywhere. The
    variances of a learned prior need it: a divergence from them is unbounded as they vanish
    (paper, section 3.3).

    Args:
        log_variance: :math:`\nu = \log \sigma^2`, any shape.
        min_scale: :math:`\sigma_0 > 0`, a standard deviation.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If ``min_scale`` is not positive and finite.

    Example:
        >>> floor_log_variance(torch.tensor([-100.0, 3.0]), min_scale=0.1).div(2).exp()
        tensor([0.1000, 4.4817])
    """
    check_real(log_variance, "log_variance")
    check_number(min_scale, "min_scale", positive=True)
    shift = 2.0 * math.log(min_scale) + 1.0
    return F.elu(log_variance - shift) + shift


def widened(distribution: Distribution, factor: float) -> Distribution:
    """Return a Gaussian, or an ``Independent`` of one, of a multiple of the standard deviation.

    Example:
        >>> widened(Normal(torch.zeros(2), torch.ones(2)), 3.0).stddev
        tensor([3., 3.])
    """
    dims = distribution.reinterpreted_batch_ndims if isinstance(distribution, Independent) else 0
    inner = distribution.base_dist if isinstance(distribution, Independent) else distribution
    check_type(inner, "likelihood with noise", Normal)
    wide = Normal(inner.mean, factor * inner.stddev, validate_args=False)
    return Independent(wide, dims, validate_args=False) if dims else wide


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


def standard_normal(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw standard normal noise of the shape and type of a tensor, from an explicit source."""
    check_generator(generator, like.device)
    if generator is None:  # which, given, does not compile for shapes that change
        return torch.randn(like.shape, dtype=like.dtype, device=like.device)
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def normal_sample(normal: Normal, generator: torch.Generator | None = None) -> Tensor:
    """Draw from a Gaussian with gradients, from an explicit source of randomness."""
    return normal.mean + normal.stddev * standard_normal(normal.mean, generator)


@torch.no_grad()
def sample(distribution: Distribution, generator: torch.Generator | None = None) -> Tensor:
    """Draw from any distribution, without gradients, from an explicit source of randomness."""
    check_generator(generator)
    if generator is None:
        return distribution.sample()
    inner = distribution.base_dist if isinstance(distribution, Independent) else distribution
    device = distribution.mean.device
    if generator.device.type != device.type:
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
        generator = torch.Generator(device).manual_seed(seed)
    if isinstance(inner, Normal):
        return normal_sample(inner, generator)
    with DrawFrom([generator]):  # other distributions draw from the global source alone
        return distribution.sample()


@torch.no_grad()
def sample_each(distribution: Distribution, seeds: Sequence[int]) -> Tensor:
    """Draw from a batch of distributions, each from a source of its own seed."""
    device = distribution.mean.device
    with DrawFrom([torch.Generator(device).manual_seed(seed) for seed in seeds]):
        return distribution.sample()


def soft_minimum(x: Tensor, largest: Tensor | float) -> Tensor:
    r"""Bound from above, :math:`b - 1 - \mathrm{ELU}(b - 1 - x)`, the identity up to :math:`b - 1`.

    Example:
        >>> soft_minimum(torch.tensor([-20.0, 1e4]), 5.0)
        tensor([-20.,   5.])
    """
    return largest - 1.0 - F.elu(largest - 1.0 - x)


def bound_scale(out: Tensor, largest: float, chunks: int = 2) -> Tensor:
    """Bound standard deviations from above, of which the second chunk are log-variances.

    Divergences grow with the variance: where a network's output is unusual, that of a single part
    may overflow, and spoil the optimiser's averages.

    Example:
        >>> bound_scale(torch.tensor([[5.0, 100.0]]), 1.0)
        tensor([[5., 0.]])
    """
    loc, log_variance, *others = out.chunk(chunks, dim=1)
    log_variance = soft_minimum(log_variance, 2.0 * math.log(largest))
    return torch.cat([loc, log_variance, *others], dim=1)


class BoundedScale(nn.Module):
    """:func:`bound_scale` as a layer, for means and log-variances."""

    def __init__(self, largest: float) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, out: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 D]``."""
        return bound_scale(out, self.largest)


class StandardNormal(nn.Module):
    """Mean and log-variance of a standard normal p(z), whatever the aggregate is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, w_sum: Tensor) -> Tensor:
        """Return means and log-variances, ``[S, 2 D_z]``, of aggregates ``[S, D_w]``."""
        return w_sum.new_zeros(w_sum.shape[0], 2 * self.channels)
