"""Means over a sample, with their standard errors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import Tensor

from compvae_pyg.nn.checks import check_annotations, check_methods

__all__ = ["Estimate", "mean_square"]


@check_methods
@dataclass(frozen=True)
class Estimate:
    r"""A mean over independent wholes and its standard error, ``nan`` for a single whole.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If there are no values, or a correction is not of 1 to all of them.

    Example:
        >>> import torch
        >>> Estimate.of(torch.tensor([1.0, 2.0, 3.0]))
        Estimate(mean=2.0, standard_error=0.577)
        >>> Estimate.ratio(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
        Estimate(mean=0.5, standard_error=0.0)
        >>> f"{Estimate(4.0, 0.4).root():.1f}, {Estimate(4.0, 0.4):.1f±.2f}"
        '2.0, 4.0 ± 0.40'
    """

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """Return the mean of values, one per whole, ``[S]``, or raise a ValueError."""
        if values.dim() != 1 or values.numel() == 0:
            raise ValueError(f"values must be a vector, not empty (got {list(values.shape)})")
        values = values.double()
        if values.numel() == 1:
            return cls(values.item(), math.nan)
        return cls(values.mean().item(), values.std().item() / math.sqrt(values.numel()))

    @classmethod
    def ratio(cls, values: Tensor, reference: Tensor) -> Estimate:
        r"""Return the ratio of two means over the same wholes, ``[S]`` each.

        .. math::
            r = \bar a / \bar b, \qquad \mathrm{se}(r) \approx \mathrm{se}(a - r b) / |\bar b|

        to first order, so that what the two have in common does not count as an error.
        """
        values, reference = values.double(), reference.double()
        below = reference.mean().item()
        if below == 0.0:
            return cls(math.nan, math.nan)
        quotient = cls.of(values).mean / below
        return cls(quotient, cls.of(values - quotient * reference).standard_error / abs(below))

    @classmethod
    def root_mean(cls, squares: Tensor, reference: Tensor | None = None) -> Estimate:
        """Return the root of the mean of squares, ``[S]``, or of their ratio to a reference."""
        return (cls.of(squares) if reference is None else cls.ratio(squares, reference)).root()

    @classmethod
    def corrected(cls, values: Tensor, correction: Tensor) -> Estimate:
        r"""Return the mean of values plus that of a correction, known for the first wholes alone.

        .. math::
            \frac1n \sum_{s=1}^{n} a_s + \frac1m \sum_{s=1}^{m} b_s, \qquad
            \mathrm{se}^2 = \frac{n - m}{n^2} \operatorname{Var}(a)
                + m \operatorname{Var}\Bigl(\frac{a_s}{n} + \frac{b_s}{m}\Bigr)

        for values :math:`a`, ``[n]``, and a correction :math:`b`, ``[m]``, that is costly and
        varies little, or raise a ValueError unless it is that of 1 to :math:`n` wholes.
        """
        n, m = values.numel(), correction.numel()
        if not 1 <= m <= n:
            raise ValueError(f"correction must have 1 to {n} values, one per whole (got {m})")
        values, correction = values.double(), correction.double()
        mean = cls.of(values).mean + cls.of(correction).mean
        if m == 1:
            return cls(mean, math.nan)
        both = (values[:m] / n + correction / m).var().item()
        return cls(mean, math.sqrt((n - m) / n**2 * values.var().item() + m * both))

    def root(self) -> Estimate:
        """Return the square root of the estimate, its error to first order; 0 below zero."""
        if math.isnan(self.mean):
            return self
        root = math.sqrt(max(self.mean, 0.0))
        return Estimate(root, self.standard_error / (2.0 * root) if root > 0.0 else 0.0)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit, ``factor`` of which make one of this."""
        return Estimate(self.mean * factor, self.standard_error * abs(factor))

    def __format__(self, spec: str) -> str:
        """Format the mean, and behind a ``±`` the standard error; without a minus before zero."""
        if not spec:
            return str(self)
        shown = map(format, (self.mean, self.standard_error), spec.split("±"))
        return " ± ".join(re.sub(r"^-(?=[0.]+%?$)", "", text) for text in shown)


@check_annotations
def mean_square(difference: Tensor) -> Tensor:
    """Return the mean square of each whole's values, ``[S, *event]`` to ``[S]``.

    Raises:
        TypeError: If the argument is no tensor.

    Example:
        >>> import torch
        >>> mean_square(torch.tensor([[1.0, 3.0], [0.0, 2.0]]))
        tensor([5., 2.])
    """
    return difference.square().flatten(1).mean(dim=1)
