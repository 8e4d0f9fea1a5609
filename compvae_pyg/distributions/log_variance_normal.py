"""A Gaussian that is told by its log-variance."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, constraints

__all__ = ["LogVarianceNormal"]

_LOG_2PI = math.log(2.0 * math.pi)


class LogVarianceNormal(Normal):
    r"""Normal law of mean :math:`\mu` and log-variance :math:`\nu = \log \sigma^2`.

    .. math::
        \log p(x) = -\tfrac12 \bigl[ (x - \mu)^2 e^{-\nu} + \nu + \log 2\pi \bigr]

    It is a :class:`torch.distributions.Normal`; its density takes neither the logarithm nor the
    square of :math:`\sigma`, and a variance that several means share is worked on once.

    Args:
        loc: :math:`\mu`, any shape.
        log_variance: :math:`\nu`, of a shape that broadcasts with that of ``loc``.
        validate_args: As in :class:`torch.distributions.Distribution`.

    Example:
        >>> law = LogVarianceNormal(torch.zeros(2, 3), torch.zeros(2, 1))
        >>> law.log_prob(torch.ones(2, 3)).shape, law.stddev.shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    arg_constraints = {  # noqa: RUF012 - the base class's way
        "loc": constraints.real,
        "log_variance": constraints.real,
    }

    def __init__(
        self, loc: Tensor, log_variance: Tensor, validate_args: bool | None = None
    ) -> None:
        self.log_variance = log_variance
        super().__init__(loc, torch.exp(0.5 * log_variance), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LogVarianceNormal":
        """Return the law with parameters expanded to a shape."""
        shape = torch.Size(batch_shape)
        return LogVarianceNormal(
            self.loc.expand(shape), self.log_variance.expand(shape), validate_args=False
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density in nats, of the shape of ``value`` and of the parameters."""
        if self._validate_args:
            self._validate_sample(value)
        # What is small, if several means share a variance, is halved, and not the result.
        half_precision = 0.5 * torch.exp(-self.log_variance)
        constant = -0.5 * (self.log_variance + _LOG_2PI)
        return torch.addcmul(constant, (value - self.loc).square(), half_precision, value=-1)
