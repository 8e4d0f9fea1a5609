"""The norm of a gradient, bounded or only measured."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["bound_gradient"]


def bound_gradient(parameters: Iterable[Tensor], max_norm: float | None) -> Tensor:
    """Scale gradients down to a norm, and return the norm that they had, a scalar.

    Without a bound they are only read.

    Args:
        parameters: What has the gradients; those without are passed over.
        max_norm: The bound; ``None`` for none.

    Example:
        >>> weight = torch.zeros(2)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> bound_gradient([weight], None), weight.grad
        (tensor(5.), tensor([3., 4.]))
        >>> bound_gradient([weight], 1.0), weight.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    if max_norm is None and hasattr(torch.nn.utils, "get_total_norm"):  # from torch 2.6 on
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return torch.nn.utils.clip_grad_norm_(
        parameters, float("inf") if max_norm is None else max_norm
    )
