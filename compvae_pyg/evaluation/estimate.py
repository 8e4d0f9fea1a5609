"""Means over a sample, with their standard errors."""

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Estimate", "pair"]


@dataclass(frozen=True)
class Estimate:
    r"""A quantity estimated from independent wholes.

    Attributes:
        mean: The estimate.
        standard_error: Its standard error; ``nan`` when it comes from a single whole.

    Example:
        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 2.0, 3.0]))
        Estimate(mean=2.0, standard_error=0.577)
    """

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Return the mean of values, one a whole, ``[S]``.

        Raises:
            ValueError: If there is no value, or more than one dimension.
        """
        if values.dim() != 1 or values.numel() == 0:
            raise ValueError(f"values must be a vector, not empty (got {list(values.shape)})")
        values = values.double()
        if values.numel() == 1:
            return cls(values.item(), math.nan)
        return cls(values.mean().item(), values.std().item() / math.sqrt(values.numel()))

    @classmethod
    def ratio(cls, values: Tensor, reference: Tensor) -> "Estimate":
        r"""Return the ratio of two means over the same wholes, ``[S]`` each.

        .. math::
            r = \bar a / \bar b, \qquad \mathrm{se}(r) \approx \mathrm{se}(a - r b) / |\bar b|

        to first order, so that what the two have in common does not count as an error.

        Example:
            >>> import torch
            >>> Estimate.ratio(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
            Estimate(mean=0.5, standard_error=0.0)
        """
        values, reference = values.double(), reference.double()
        below = reference.mean().item()
        if below == 0.0:
            return cls(math.nan, math.nan)
        quotient = cls.of(values).mean / below
        return cls(quotient, cls.of(values - quotient * reference).standard_error / abs(below))

    @classmethod
    def root_mean(cls, squares: Tensor) -> "Estimate":
        r"""Return the root of the mean of squares, ``[S]``, its error to first order.

        Example:
            >>> import torch
            >>> Estimate.root_mean(torch.tensor([4.0, 4.0]))
            Estimate(mean=2.0, standard_error=0.0)
        """
        return cls.of(squares).root()

    @classmethod
    def corrected(cls, values: Tensor, correction: Tensor) -> "Estimate":
        r"""Return the mean of values plus that of a correction, known for the first wholes alone.

        .. math::
            \frac1n \sum_{s=1}^{n} a_s + \frac1m \sum_{s=1}^{m} b_s, \qquad
            \mathrm{se}^2 = \frac{n - m}{n^2} \operatorname{Var}(a)
                + m \operatorname{Var}\Bigl(\frac{a_s}{n} + \frac{b_s}{m}\Bigr)

        What is costly for a whole and varies little between wholes need not be had for all.

        Args:
            values: The values :math:`a`, ``[n]``.
            correction: The correction :math:`b` of the first of the same wholes, ``[m]``.

        Raises:
            ValueError: If there is no correction, or there are more than values.

        Example:
            >>> import torch
            >>> Estimate.corrected(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0.5, 0.5]))
            Estimate(mean=3.5, standard_error=0.943)
        """
        n, m = values.numel(), correction.numel()
        if not 1 <= m <= n:
            raise ValueError(f"correction must have 1 to {n} values, one a whole (got {m})")
        values, correction = values.double(), correction.double()
        mean = cls.of(values).mean + cls.of(correction).mean
        if m == 1:
            return cls(mean, math.nan)
        both = (values[:m] / n + correction / m).var().item()
        return cls(mean, math.sqrt((n - m) / n**2 * values.var().item() + m * both))

    def root(self) -> "Estimate":
        """Return the square root of the estimate, its error to first order; 0 below zero.

        Example:
            >>> Estimate(4.0, 0.4).root()
            Estimate(mean=2.0, standard_error=0.1)
        """
        if math.isnan(self.mean):
            return self
        root = math.sqrt(max(self.mean, 0.0))
        return Estimate(root, self.standard_error / (2.0 * root) if root > 0.0 else 0.0)

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate in another unit, ``factor`` of which make one of this."""
        return Estimate(self.mean * factor, self.standard_error * abs(factor))


def pair(value: Estimate, reference: Estimate, digits: int) -> str:
    """Return a mean beside that of a reference.

    Example:
        >>> pair(Estimate(0.5, 0.1), Estimate(-0.001, 0.1), 2)
        '0.50 (0.00)'
    """
    # The sum turns a negative zero into a positive one.
    own, other = (round(estimate.mean, digits) + 0.0 for estimate in (value, reference))
    return f"{own:.{digits}f} ({other:.{digits}f})"
