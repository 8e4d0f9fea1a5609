"""Standard normal noise of many rows, which are drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from compvae_pyg.distributions.normal import standard_normal
from compvae_pyg.nn.checks import check_generator

__all__ = ["Noise", "split_rows"]

_ROWS = 4096  # rows that are drawn, or pass networks, at a time


class Noise:
    """Standard normal noise, ``[N, D]``, of which no more is held than is asked for at a time.

    Up to 4096 rows are drawn at once. Of more, a seed is drawn, and each block of rows has a source
    of its own, so that rows are the same whenever, and with whichever others, they are asked for.

    Args:
        num_rows: Number of rows.
        like: Rows of the width, type and device of the noise.
        generator: Source of the randomness; by default the global one.

    Example:
        >>> noise = Noise(10_000, torch.empty(0, 3), torch.Generator().manual_seed(0))
        >>> torch.equal(noise[4000:5000], noise[:][4000:5000])
        True
    """

    def __init__(self, num_rows: int, like: Tensor, generator: torch.Generator | None) -> None:
        self.num_rows, self._number = num_rows, -1
        self._held = like.new_empty(0, like.shape[1])
        self._seed: int | None = None
        if num_rows <= _ROWS:
            self._held = standard_normal(like.new_empty(num_rows, like.shape[1]), generator)
            return
        check_generator(generator, like.device)
        seed = torch.randint(2**62, (), generator=generator, device=like.device)
        self._seed = int(seed)

    def __getitem__(self, rows: slice) -> Tensor:
        """Return consecutive rows."""
        start, stop, _ = rows.indices(self.num_rows)
        if self._seed is None:
            return self._held[start:stop]
        blocks = range(start // _ROWS, -(-stop // _ROWS))
        pieces = [self._block(k)[max(0, start - k * _ROWS) : stop - k * _ROWS] for k in blocks]
        return torch.cat(pieces) if len(pieces) != 1 else pieces[0]

    def _block(self, number: int) -> Tensor:
        if number != self._number:
            source = torch.Generator(self._held.device).manual_seed((self._seed or 0) + number)
            size = min(_ROWS, self.num_rows - number * _ROWS)
            like = self._held.new_empty(size, self._held.shape[1])
            self._number, self._held = number, standard_normal(like, source)
        return self._held


def split_rows(num_rows: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices of so many rows, by default 4096; one, which is empty, of none."""
    size = size or _ROWS
    for start in range(0, max(1, num_rows), size):
        yield slice(start, min(start + size, num_rows))
