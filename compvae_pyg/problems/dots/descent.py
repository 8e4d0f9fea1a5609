"""Descent down the errors of many wholes at once, each in the numbers of its own parts."""

import torch
from torch import Tensor

__all__ = ["lbfgs_step"]

_LONGEST = 1.5  # change of a number in a step
_LEAST = 1e-3  # curvature along a step that is not left out


def lbfgs_step(
    slope: Tensor, steps: list[Tensor], changes: list[Tensor], batch: Tensor, batch_size: int
) -> Tensor:
    r"""Return the next step of the limited-memory method of Broyden, Fletcher, Goldfarb and Shanno.

    With the steps :math:`s_k` so far and the changes :math:`y_k` of the slope over them,

    .. math:: s = -H g, \qquad H y_k = s_k \text{ for the last } k,

    by the recursion of Nocedal (1980), apart for each whole: all products sum over its parts. What
    does not curve upwards is left out, and each number changes by 1.5 at most. A whole of which
    nothing is known steps by :math:`-g / (2 + |g|)`, number by number.

    Args:
        slope: Slope :math:`g` of the error in the number of each part, ``[N]``.
        steps: Steps so far, ``[N]`` each, the last one at the end.
        changes: Changes of the slope over them.
        batch: Whole of each part, ``[N]``.
        batch_size: Number of wholes.

    Returns:
        The step, ``[N]``.

    Example:
        >>> slope, one = torch.tensor([4.0, -1.0]), torch.zeros(2, dtype=torch.long)
        >>> first = lbfgs_step(slope, [], [], one, 1)
        >>> first
        tensor([-0.6667,  0.3333])
        >>> lbfgs_step(slope + 2.0 * first, [first], [2.0 * first], one, 1)  # to the minimum
        tensor([-1.3333,  0.1667])
    """

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return slope.new_zeros(batch_size).index_add_(0, batch, a * b)[batch]

    direction, known, scale = slope, torch.zeros_like(slope), torch.ones_like(slope)
    pairs = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        product = inner(step, change)
        curved = product > _LEAST * inner(step, step)
        inverse = torch.where(curved, 1.0 / torch.where(curved, product, 1.0), 0.0)
        along = inverse * inner(step, direction)
        direction = direction - along * change
        newest = curved & (known == 0)
        size = product * torch.where(newest, 1.0 / inner(change, change), 1.0)
        scale, known = torch.where(newest, size, scale), torch.where(curved, 1.0, known)
        pairs.append((step, change, inverse, along))
    direction = scale * direction
    for step, change, inverse, along in reversed(pairs):
        direction = direction + step * (along - inverse * inner(change, direction))
    small = -slope / (2.0 + slope.abs())
    return torch.where(known > 0, (-direction).clamp(-_LONGEST, _LONGEST), small)
