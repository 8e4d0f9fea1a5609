"""Batches that are generated on the fly, the same on every run (with the extra ``train``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Batch

from compvae_pyg.networks import Normalization, fit_normalization
from compvae_pyg.nn.checks import check_count
from compvae_pyg.problems import Problem
from compvae_pyg.problems.base import sample_of

if TYPE_CHECKING:
    from compvae_pyg.training.schedule import Schedule

__all__ = ["GeneratedData", "GeneratedDataset"]

_NUM_FITTED = 2048  # wholes of which moments are taken


class GeneratedDataset(Dataset[Batch]):
    """The batches of a training schedule: item ``t`` is the batch of step ``t``.

    It depends on ``(seed, rank, t)`` and the kind of device alone.

    Args:
        problem: Source of the wholes.
        schedule: Says how many wholes, of how many parts.
        seed: Seed of the whole run, not negative.
        rank: Rank of this process among those that train together.
        device: Where batches are generated.
        accumulate: Number of batches in a step: item ``i`` is of step ``i // accumulate``.

    Raises:
        TypeError, ValueError: If ``seed`` is not an integer, or negative.
        IndexError: If there is no such item.

    Example:
        >>> from compvae_pyg import Dots
        >>> from compvae_pyg.training import Schedule
        >>> data = GeneratedDataset(Dots(), Schedule(10, batch_size=4))
        >>> len(data), data[7].whole.shape, torch.equal(data[7].whole, data[7].whole)
        (10, torch.Size([4, 3, 32, 32]), True)
    """

    def __init__(
        self,
        problem: Problem,
        schedule: Schedule,
        seed: int = 0,
        rank: int = 0,
        device: torch.device | str = "cpu",
        accumulate: int = 1,
    ) -> None:
        check_count(seed, "seed", at_least=0)
        self.problem, self.schedule, self.seed, self.rank = problem, schedule, seed, rank
        self.device, self.accumulate = torch.device(device), accumulate

    def __len__(self) -> int:
        return self.schedule.num_steps * self.accumulate

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"step must lie in [0, {len(self)}) (got {index})")
        words = np.random.SeedSequence([self.seed, self.rank, index]).generate_state(2, np.uint64)
        for_sizes = torch.Generator().manual_seed(int(words[0]))
        for_content = torch.Generator(self.device).manual_seed(int(words[1]))
        # Sizes are drawn on the CPU, where the number of parts in all can be read at no cost.
        curriculum, step = self.schedule.curriculum, index // self.accumulate
        sizes = curriculum.sizes(step, self.schedule.batch_size, for_sizes)
        return sample_of(self.problem, sizes, for_content)


class GeneratedData(L.LightningDataModule):
    """Feeds a :class:`~compvae_pyg.training.CompVAEModule` a :class:`GeneratedDataset`.

    The batches come in order, from the step at which the module stands; each rank has its own.
    When training begins, :func:`~compvae_pyg.networks.fit_normalization` sets what the model has of
    :class:`~compvae_pyg.networks.Normalization` by 2,048 wholes or more, of numbers of parts as in
    the last step, unless it is set already.

    Args:
        problem: Source of the wholes.
        schedule: Says how many wholes, of how many parts.
        seed: Seed of the whole run, not negative.
        device: Where batches are generated; by default where the model is trained.

    Raises:
        TypeError, ValueError: If ``seed`` is not an integer, or negative.
        RuntimeError: If batches are asked for without a Trainer.

    Example:
        >>> from compvae_pyg import Dots
        >>> from compvae_pyg.training import Schedule
        >>> data = GeneratedData(Dots(), Schedule(10, batch_size=4), seed=1)
        >>> type(data.problem).__name__, data.schedule.num_steps
        ('Dots', 10)
    """

    def __init__(
        self,
        problem: Problem,
        schedule: Schedule,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_count(seed, "seed", at_least=0)
        self.problem, self.schedule, self.seed, self.device = problem, schedule, seed, device

    def setup(self, stage: str) -> None:
        """Fit the normalisation of the model that is to be trained, if it is not fitted yet."""
        if stage != "fit" or self.trainer is None or self.trainer.ckpt_path:
            return
        module = self.trainer.lightning_module
        found = [m for m in module.modules() if isinstance(m, Normalization)]
        if any(int(m.num_rows) == 0 for m in found):
            fit_normalization(module, self._wholes(_NUM_FITTED))

    def _wholes(self, number: int) -> Iterator[Batch]:
        """Draw wholes of the last step, the same on all ranks, in batches."""
        source, schedule = torch.Generator().manual_seed(self.seed), self.schedule
        for _ in range(-(-number // schedule.batch_size)):
            last = schedule.num_steps - 1
            sizes = schedule.curriculum.sizes(last, schedule.batch_size, source)
            yield sample_of(self.problem, sizes, source)

    def train_dataloader(self) -> _InOrder:
        """Return the batches that are still to come."""
        trainer = self.trainer
        if trainer is None:
            raise RuntimeError("train_dataloader needs a trainer (got none): pass this to fit()")
        device = self.device or trainer.strategy.root_device
        where = trainer.global_rank, device, trainer.accumulate_grad_batches
        return _InOrder(GeneratedDataset(self.problem, self.schedule, self.seed, *where), trainer)


class _InOrder:
    """The batches of a dataset from the step on at which the module stands.

    Not a ``DataLoader``: there is nothing to shuffle or collate, and it would draw from the global
    random state and have its sampler replaced when training on several devices.
    """

    def __init__(self, dataset: GeneratedDataset, trainer: L.Trainer) -> None:
        self.dataset = dataset
        self.module: Any = trainer.lightning_module
        # A trainer that resumes counts the batches before its checkpoint as its own.
        self.before = 0 if trainer.ckpt_path else self._next()

    def _next(self) -> int:
        return self.module.step * self.dataset.accumulate

    def __len__(self) -> int:
        return len(self.dataset) - self.before

    def __iter__(self) -> Iterator[Batch]:
        for index in range(self._next(), len(self.dataset)):
            yield self.dataset[index]

    def state_dict(self) -> dict[str, Any]:
        """Tell Lightning that this can be resumed: the step of the module is all its state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state_dict` returns."""
