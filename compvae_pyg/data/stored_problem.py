"""Stored wholes as a problem, to evaluate a model on a split that training has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.problems import Problem

__all__ = ["StoredWholes"]

Array = np.ndarray[Any, Any]
_ROWS = 8  # at most, of an evaluation


class StoredWholes(Problem):
    """Stored wholes as a problem, see :meth:`StoredData.problem`.

    Parts cannot be given to it, and each whole is used once where it can be: an evaluation has
    fewer wholes than asked for where fewer are stored.

    Args:
        wholes: What :class:`~compvae_pyg.training.StoredData` reads: ``wholes.batch(numbers)``.
        indices: Numbers of those to use.
        max_parts: Largest number of parts in training.

    Attributes:
        num_wholes: How many wholes there are of each number of parts.

    Raises:
        ValueError: By :meth:`sample`, if there is no whole of so many parts.

    Example:
        >>> from compvae_pyg import Dots
        >>> from compvae_pyg.training import StoredData
        >>> wholes = Dots().sample(torch.arange(40) % 3 + 1).to_data_list()
        >>> problem = StoredData(wholes, fractions=(0.5, 0.0, 0.5)).problem("test")
        >>> sum(problem.num_wholes.values())
        20
    """

    name: ClassVar = "stored"

    def __init__(self, wholes: Any, indices: Array, max_parts: int) -> None:
        self.wholes, self.indices, self.max_parts = wholes, indices, max_parts
        self.sizes = np.asarray(wholes.sizes)[indices]
        numbers, counts = np.unique(self.sizes[self.sizes > 0], return_counts=True)
        self.num_wholes = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        most = sorted(self.num_wholes, key=lambda number: -self.num_wholes[number])
        self.evaluated_parts = tuple(sorted(most[:_ROWS]))
        self.part_fields = wholes.fields
        self.event_shape = tuple(wholes.batch(indices[:1]).whole.shape[1:])

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Choose one whole for each number of parts in ``num_parts``, ``[S]``, at random."""
        chosen = []
        for number in num_parts.tolist():
            those = self._those(number)
            if not len(those):
                raise ValueError(f"num_parts must be of stored wholes (got {number})")
            chosen.append(those[int(torch.randint(len(those), (), generator=generator))])
        return self.wholes.batch(np.array(chosen))

    def batches(
        self, num_parts: int, num_wholes: int, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield different wholes of so many parts in batches, in random order."""
        those = self._those(num_parts)
        order = those[torch.randperm(len(those), generator=generator)[:num_wholes].numpy()]
        for start in range(0, len(order), batch_size):
            yield self.wholes.batch(order[start : start + batch_size])

    def _those(self, num_parts: int) -> Array:
        return self.indices[self.sizes == num_parts]
