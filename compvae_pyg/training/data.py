"""Training data that is generated on the fly, the same on every run."""

from collections.abc import Iterator

import lightning as L
import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Batch

from compvae_pyg.problems import Problem, Schedule
from compvae_pyg.training.module import CompVAEModule

__all__ = ["GeneratedData", "GeneratedDataset"]


class GeneratedDataset(Dataset[Batch]):
    """The batches of a course of training: item ``t`` is the batch of step ``t``.

    It depends on ``(seed, rank, t)`` and the kind of device alone, in whatever order items are
    asked for.

    Args:
        problem: Source of the wholes.
        schedule: Says how many wholes, of how many parts.
        seed: Seed of the whole run, not negative.
        rank: Rank of this process among those that train together.
        device: Where batches are generated.

    Example:
        >>> from compvae_pyg.problems import Curriculum, Dots
        >>> data = GeneratedDataset(Dots(), Schedule(10, 4, curriculum=Curriculum(2, 3, every=5)))
        >>> len(data), data[7].whole.shape
        (10, torch.Size([4, 3, 32, 32]))
        >>> torch.equal(data[7].whole, data[7].whole)
        True
    """

    def __init__(
        self,
        problem: Problem,
        schedule: Schedule,
        seed: int = 0,
        rank: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative (got {seed})")
        self.problem = problem
        self.schedule = schedule
        self.seed = seed
        self.rank = rank
        self.device = torch.device(device)

    def __len__(self) -> int:
        return self.schedule.num_steps

    def __getitem__(self, step: int) -> Batch:
        if not 0 <= step < len(self):
            raise IndexError(f"step must lie in [0, {len(self)}) (got {step})")
        words = np.random.SeedSequence([self.seed, self.rank, step]).generate_state(2, np.uint64)
        for_sizes = torch.Generator().manual_seed(int(words[0]))
        for_content = torch.Generator(self.device).manual_seed(int(words[1]))
        # Sizes are drawn on the CPU, where the number of parts in all can be read at no cost.
        sizes = self.schedule.curriculum.sizes(step, self.schedule.batch_size, for_sizes)
        return self.problem.sample(sizes, for_content)


class GeneratedData(L.LightningDataModule):
    """Feeds a :class:`CompVAEModule` the batches of a :class:`GeneratedDataset`.

    They come in order, from the step at which the module stands; each rank has its own.

    Args:
        problem: Source of the wholes.
        schedule: Says how many wholes, of how many parts.
        seed: Seed of the whole run, not negative.
        device: Where batches are generated; by default where the model is trained.
    """

    def __init__(
        self,
        problem: Problem,
        schedule: Schedule,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if seed < 0:
            raise ValueError(f"seed must not be negative (got {seed})")
        self.problem = problem
        self.schedule = schedule
        self.seed = seed
        self.device = device

    def train_dataloader(self) -> "_From":
        """Return the batches that are still to come."""
        if self.trainer is None:
            raise RuntimeError("train_dataloader needs a trainer (got none): pass this to fit()")
        module = self.trainer.lightning_module
        if not isinstance(module, CompVAEModule):
            raise TypeError(
                f"GeneratedData needs a CompVAEModule to feed (got {type(module).__name__})"
            )
        device = self.trainer.strategy.root_device if self.device is None else self.device
        dataset = GeneratedDataset(
            self.problem, self.schedule, self.seed, self.trainer.global_rank, device
        )
        return _From(dataset, module.step)


class _From:
    """The items of a dataset from one on.

    Not a ``DataLoader``: there is nothing to shuffle or collate, and it would draw from the global
    random state and have its sampler replaced when training on several devices.
    """

    def __init__(self, dataset: GeneratedDataset, start: int) -> None:
        self.dataset = dataset
        self.start = start

    def __iter__(self) -> Iterator[Batch]:
        return (self.dataset[step] for step in range(self.start, len(self.dataset)))
