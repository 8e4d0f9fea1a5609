"""Batches that are filled up to a number of parts."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from compvae_pyg.nn.checks import check_count, check_counts

__all__ = ["PartBudgetSampler"]

Batches = list[list[int]]


class PartBudgetSampler(Sampler[list[int]]):
    """Draws batches of sets that have at most so many parts in all.

    Where some sets are far larger than others, a fixed number of sets gives batches of very
    different cost. Here each batch has as many sets as fit into a budget of parts; a set that is
    larger than the budget is a batch of its own. In each epoch every set is drawn once. The number
    of batches, that of the best-fit-decreasing packing, is the same in all epochs and for all
    ranks: shuffling exchanges sets between batches within the budget. (PyG's
    ``DynamicBatchSampler`` fills up batches in the order of the data: it has no length unless
    batches are left out, reads every datum to learn its size, cannot be seeded, and gives all ranks
    the same batches.)

    Use it as a ``batch_sampler``. Each time that it is iterated over is another epoch, which is
    shuffled anew; Lightning names the epoch, by :meth:`set_epoch`. When several processes train
    together each draws its own share: give Lightning's ``Trainer``
    ``use_distributed_sampler=False``.

    Args:
        sizes: Number of parts of each datum, ``[M]``.
        max_parts: Number of parts of a batch at most.
        shuffle: Whether batches are drawn anew in each epoch, or else filled in the order of the
            data, once and for all.
        seed: Seed of the order, not negative; the same on all ranks.
        rank: Rank of this process; by default that of ``torch.distributed``, or 0.
        num_ranks: Number of processes that train together; by default likewise, or 1.

    Raises:
        TypeError: If ``sizes`` or a number is of another type.
        ValueError: If an argument is out of range; on drawing, if there are fewer sets than ranks.

    Example:
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.loader import DataLoader
        >>> data = [Data(num_nodes=n) for n in (3, 9, 1, 2, 4, 40)]
        >>> sampler = PartBudgetSampler([d.num_nodes for d in data], max_parts=10, seed=1)
        >>> loader = DataLoader(data, batch_sampler=sampler)
        >>> len(loader), sorted(batch.num_nodes for batch in loader)
        (3, [9, 10, 40])
    """

    def __init__(
        self,
        sizes: Sequence[int] | Tensor,
        max_parts: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        num_ranks: int | None = None,
    ) -> None:
        listed = sizes.tolist() if isinstance(sizes, (Tensor, np.ndarray)) else sizes
        check_counts(listed, "sizes", at_least=0)
        if not listed:
            raise ValueError("sizes must hold at least one (got none)")
        check_count(max_parts, "max_parts")
        check_count(seed, "seed", at_least=0)
        if (rank is None) != (num_ranks is None):
            raise ValueError(f"rank and num_ranks go together (got {rank} and {num_ranks})")
        if rank is not None and num_ranks is not None:
            check_count(num_ranks, "num_ranks")
            check_count(rank, "rank", at_least=0)
            if rank >= num_ranks:
                raise ValueError(f"rank must lie in [0, {num_ranks}) (got {rank})")
        self.sizes = [int(size) for size in listed]
        self.max_parts = max_parts
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.epoch = 0
        fill = _best_fit_decreasing if shuffle else _next_fit
        self._filled = fill(self.sizes, max_parts)

    @property
    def sampler(self) -> "PartBudgetSampler":
        """Itself: where Lightning looks for :meth:`set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is drawn next, the same on all ranks; the ones after it follow."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches that this rank draws in an epoch."""
        _, num_ranks = self._place()
        return -(-len(self._filled) // num_ranks)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._draw(epoch)

    def _draw(self, epoch: int) -> Iterator[list[int]]:
        rank, num_ranks = self._place()
        batches = self._split(num_ranks)
        if self.shuffle:
            random = np.random.default_rng([self.seed, epoch])
            batches = self._exchange(batches, random)
            batches = [batches[b] for b in random.permutation(len(batches))]
        return iter(batches[rank::num_ranks])

    def _place(self) -> tuple[int, int]:
        """Return rank and number of ranks, which a launcher may set after construction."""
        if self.rank is not None and self.num_ranks is not None:
            return self.rank, self.num_ranks
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _split(self, num_ranks: int) -> Batches:
        """Halve batches until their number can be shared out."""
        batches = [list(batch) for batch in self._filled]
        if len(self.sizes) < len(self) * num_ranks:
            raise ValueError(
                f"sizes must hold at least {len(self)} sets for each of {num_ranks} ranks (got "
                f"{len(self.sizes)})"
            )
        while len(batches) % num_ranks:
            at = max(range(len(batches)), key=lambda b: len(batches[b]))
            half = len(batches[at]) // 2
            batches[at : at + 1] = [batches[at][:half], batches[at][half:]]
        return batches

    def _exchange(self, batches: Batches, random: np.random.Generator) -> Batches:
        """Deal the sets of pairs of batches anew, until every set can have come anywhere."""
        # After each round a set may be in twice as many batches as before.
        for _ in range(2 * len(batches).bit_length()):
            order = random.permutation(len(batches)).tolist()
            for a, b in zip(order[::2], order[1::2], strict=False):
                batches[a], batches[b] = self._deal(batches[a], batches[b], random)
        return batches

    def _deal(
        self, one: list[int], other: list[int], random: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        pool = one + other
        hands: tuple[list[int], list[int]] = ([], [])
        room = [self.max_parts, self.max_parts]
        sides = random.integers(2, size=len(pool)).tolist()
        for at, side in zip(random.permutation(len(pool)).tolist(), sides, strict=True):
            size = self.sizes[pool[at]]
            if size > room[side]:
                side = 1 - side
            if size > room[side]:
                return one, other
            room[side] -= size
            hands[side].append(pool[at])
        return hands if hands[0] and hands[1] else (one, other)


def _next_fit(sizes: Sequence[int], max_parts: int) -> Batches:
    batches: Batches = []
    room = -1
    for index, size in enumerate(sizes):
        if not batches or size > room:
            batches.append([])
            room = max_parts
        batches[-1].append(index)
        room -= size
    return batches


def _best_fit_decreasing(sizes: Sequence[int], max_parts: int) -> Batches:
    batches: Batches = []
    rooms: list[tuple[int, int]] = []  # what is left in a batch, and the batch, in order
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        size = sizes[index]
        at = bisect_left(rooms, (size, -1))
        if at < len(rooms):
            room, batch = rooms.pop(at)
        else:
            room, batch = max_parts, len(batches)
            batches.append([])
        batches[batch].append(index)
        if room >= size:
            insort(rooms, (room - size, batch))
    return batches
