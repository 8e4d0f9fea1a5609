"""Parts that are described by a category alone."""

import torch
from torch import Tensor

from compvae_pyg.models import Parts

__all__ = ["check_categories"]


def check_categories(parts: Parts, num_categories: int) -> Tensor:
    """Return the category of each part, ``[N]``, checked.

    Values are checked on the CPU, where that costs no synchronisation.

    Args:
        parts: A dict with ``category``, ``[N]``.
        num_categories: Number of categories; they are numbered from 0.

    Raises:
        TypeError: If ``parts`` lacks the field, or it does not hold 64-bit integers.
        ValueError: If the shape or a value is out of range.

    Example:
        >>> check_categories({"category": torch.tensor([3, 12])}, 10)
        Traceback (most recent call last):
        ...
        ValueError: category must lie in [0, 10) (got 12 at part 1)
    """
    if isinstance(parts, Tensor) or "category" not in parts:
        got = "a tensor" if isinstance(parts, Tensor) else sorted(parts)
        raise TypeError(f"parts must be a dict with 'category' (got {got})")
    category = parts["category"]
    if category.dtype != torch.long:
        raise TypeError(f"category must hold 64-bit integers (got {category.dtype})")
    if category.dim() != 1:
        raise ValueError(f"category must be [N] (got {list(category.shape)})")
    if category.device.type == "cpu" and not torch.compiler.is_compiling():
        outside = (category < 0) | (category >= num_categories)
        if bool(outside.any()):
            at = int(outside.nonzero()[0])
            raise ValueError(
                f"category must lie in [0, {num_categories}) (got {int(category[at])} at part {at})"
            )
    return category
