"""How many parts the wholes of a batch have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from compvae_pyg.nn.checks import check_choice, check_count, check_type

__all__ = ["Curriculum"]

Per = Literal["whole", "batch"]


@dataclass(frozen=True)
class Curriculum:
    """Numbers of parts of the wholes of a batch, from 1 to a bound that rises.

    Attributes:
        first: Bound at the first step.
        last: Bound in the end.
        every: Steps from one increment to the next; 0 starts at ``last``.
        per: One number for each ``"whole"``, or one for all of a ``"batch"`` (as in the paper).
        log_uniform: Whether few parts are drawn more often: uniformly in the logarithm.

    Raises:
        TypeError, ValueError: If a value is of another type or out of range, or ``first`` exceeds
            ``last``.

    Example:
        >>> curriculum = Curriculum(first=2, last=8, every=3000)
        >>> [curriculum.max_parts(step) for step in (0, 3000, 100_000)]
        [2, 3, 8]
    """

    first: int = 2
    last: int = 8
    every: int = 3000
    per: Per = "whole"
    log_uniform: bool = False

    def __post_init__(self) -> None:
        check_choice(self.per, "per", get_args(Per))
        check_type(self.log_uniform, "log_uniform", bool)
        for name, at_least in (("first", 1), ("last", 1), ("every", 0)):
            check_count(getattr(self, name), name, at_least)
        if self.first > self.last:
            raise ValueError(f"first must not exceed last (got {self.first} and {self.last})")

    def max_parts(self, step: int) -> int:
        """Return the largest number of parts at a step."""
        return min(self.first + step // self.every, self.last) if self.every else self.last

    def sizes(self, step: int, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """Draw the numbers of parts of one batch, ``[batch_size]``, on the CPU."""
        shape = (1 if self.per == "batch" else batch_size,)
        largest = self.max_parts(step)
        if self.log_uniform:
            uniform = torch.rand(shape, generator=generator)
            sizes = ((largest + 1.0) ** uniform).long().clamp(1, largest)
        else:
            sizes = torch.randint(1, largest + 1, shape, generator=generator)
        return sizes.expand(batch_size)
