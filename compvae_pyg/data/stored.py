"""Wholes that are stored, in memory or on disk: splits, batches, resumption (extra ``train``)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data

from compvae_pyg.data.parquet import ParquetWholes
from compvae_pyg.data.part_budget_sampler import PartBudgetSampler
from compvae_pyg.data.stored_problem import StoredWholes
from compvae_pyg.networks import Normalization, fit_normalization
from compvae_pyg.nn.checks import (
    check_choice,
    check_count,
    check_field_names,
    check_left_out,
    check_number,
    check_type,
)
from compvae_pyg.progress import progress

__all__ = ["StoredData", "split_wholes"]

SPLITS = ("train", "val", "test")
Array = np.ndarray[Any, Any]


def split_wholes(
    num_wholes: int,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    groups: Sequence[Any] | Array | None = None,
    seed: int = 0,
) -> list[Array]:
    """Split wholes at random; a group of them, such as those of one day, is never divided.

    Args:
        num_wholes: Number of wholes M.
        fractions: Share of each split, which sum to 1; one of 0 is empty. With groups, splits come
            as near to their shares as whole groups do.
        groups: What group each whole is of, ``[M]``; by default each is its own.
        seed: Seed of the order, not negative.

    Returns:
        The numbers of the wholes of each split, in their order.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If fractions do not sum to 1, or a split of a positive share would be empty.

    Example:
        >>> days = ["mon", "mon", "tue", "wed", "wed", "thu"]
        >>> [split.tolist() for split in split_wholes(6, (0.5, 0.5), groups=days)]
        [[0, 1, 2], [3, 4, 5]]
    """
    check_count(num_wholes, "num_wholes")
    check_count(seed, "seed", at_least=0)
    check_type(fractions, "fractions", tuple, list)
    for fraction in fractions:
        check_number(fraction, "fractions")
    if min(fractions, default=-1.0) < 0.0 or abs(sum(fractions) - 1.0) > 1e-6:
        raise ValueError(f"fractions must sum to 1, none negative (got {tuple(fractions)})")
    owner, sizes = np.arange(num_wholes), np.ones(num_wholes, np.int64)
    if groups is not None:
        check_type(groups, "groups", tuple, list, np.ndarray)
        if len(groups) != num_wholes:
            raise ValueError(f"groups must be [{num_wholes}], one a whole (got [{len(groups)}])")
        _, owner, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.random.default_rng([seed, 0]).permutation(len(sizes))
    # Where, in this order of the groups, the shares end: at the nearest end of a group.
    ends = np.concatenate([[0], np.cumsum(sizes[order])])
    cuts = [int(np.abs(ends - share * num_wholes).argmin()) for share in np.cumsum(fractions)]
    place, start, out = np.empty(len(sizes), np.int64), 0, []
    place[order] = np.arange(len(order))
    for fraction, cut in zip(fractions, cuts, strict=True):
        found = np.flatnonzero((start <= place[owner]) & (place[owner] < cut))
        if fraction > 0.0 and not len(found):
            raise ValueError(
                f"fractions must leave something for each split (got {tuple(fractions)} of "
                f"{len(sizes)} {'wholes' if groups is None else 'groups'})"
            )
        out.append(found)
        start = max(start, cut)
    return out


class StoredData(L.LightningDataModule):
    """Wholes that are stored, in splits and in batches: for ``train``, or any Trainer of Lightning.

    An epoch is the training split, each whole once, in an order that depends on ``(seed, epoch)``
    alone. It is shared out among the ranks, without repetition, so that all have as many batches.
    A batch holds the fields of the parts and ``whole``. Training that is resumed goes on with the
    batch after the last one, in the middle of an epoch too. Validation and test keep the order of
    the data. No loader draws from torch's global random state.

    Of the schedule of a :class:`~compvae_pyg.training.CompVAEModule` the ``batch_size`` holds,
    unless this class is given one, or ``max_parts``; each of several devices sees as many wholes a
    batch. The curriculum does not: a stored whole has the parts that it has.

    When training begins, :func:`~compvae_pyg.networks.fit_normalization` sets what the model has of
    :class:`~compvae_pyg.networks.Normalization` by the training split, unless it is set already.

    Args:
        wholes: A sequence or map-style ``Dataset`` of ``Data`` objects, each with fields of its
            parts, ``whole`` (``[1, *event]``) and ``num_nodes``, of which integers come in 64 bits;
            any other iterable of such, which is read into memory;
            :class:`~compvae_pyg.data.ParquetWholes`; or a folder with its tables,
            ``wholes.parquet`` and ``parts.parquet``.
        batch_size: Number of wholes in a batch at most; numbers of batches differ by at most one.
        max_parts: Number of parts in a batch at most instead, see
            :class:`~compvae_pyg.data.PartBudgetSampler`.
        fractions: Shares of training, validation and test.
        group: A column of the wholes' table, or attribute of ``Data``, such as a day or a home,
            whose groups of wholes are not divided, see :func:`split_wholes`.
        fields: Names of the fields that describe the parts; by default all that there are.
            ``ParquetWholes`` have their own.
        seed: Seed of splits and orders, not negative.
        num_workers: Processes that read batches; what is read is the same for any number.

    Attributes:
        indices: Numbers of the wholes of ``"train"``, ``"val"`` and ``"test"``.
        fields: Names of the parts' fields: of ``Data``, the attributes with a row for each part.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If there are no wholes, a ``Data`` does not match the first, or an argument is
            out of range.

    Example:
        >>> from compvae_pyg import Sines
        >>> stored = Sines().sample(torch.arange(10)).to_data_list()
        >>> data = StoredData(stored, batch_size=4)
        >>> [len(indices) for indices in data.indices.values()], len(data.train_dataloader())
        ([8, 1, 1], 2)
    """

    def __init__(
        self,
        wholes: Sequence[Data] | Dataset[Data] | Iterable[Data] | str | PathLike[str],
        *,
        batch_size: int | None = None,
        max_parts: int | None = None,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        group: str | None = None,
        fields: Sequence[str] | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        for name, count in (("batch_size", batch_size), ("max_parts", max_parts)):
            if count is not None:
                check_count(count, name)
        if batch_size is not None and max_parts is not None:
            raise ValueError("max_parts must be left out beside batch_size (got both)")
        check_count(num_workers, "num_workers", at_least=0)
        check_type(fractions, "fractions", tuple, list)
        check_type(group, "group", str, NoneType)
        if len(fractions) != len(SPLITS):
            raise ValueError(f"fractions must be three numbers (got {fractions})")
        if isinstance(wholes, (str, PathLike)):
            folder = Path(wholes)
            tables = folder / "wholes.parquet", folder / "parts.parquet"
            self.wholes: Any = ParquetWholes(*tables, fields=fields)
        elif isinstance(wholes, ParquetWholes):
            check_left_out(wholes, fields=fields)
            self.wholes = wholes
        else:
            self.wholes = _Listed(wholes, group, fields)
        self.batch_size, self.max_parts, self.num_workers = batch_size, max_parts, num_workers
        self.fractions, self.group, self.seed = tuple(fractions), group, seed
        self.fields: tuple[str, ...] = self.wholes.fields
        groups = None
        if group is not None:
            groups = self.wholes.column(group).tolist()
            if None in groups:
                raise ValueError(f"{group} must have no missing values (got one, as a group)")
        split = split_wholes(len(self.wholes), fractions, groups=groups, seed=seed)
        self.indices = dict(zip(SPLITS, split, strict=True))
        # Epochs that were begun, and of the last one, where training is resumed, the batches done.
        self._begun = 0
        self._done: int | None = None

    @property
    def most_parts(self) -> int:
        """Number of parts of the largest whole of the training split."""
        return int(self.wholes.sizes[self.indices["train"]].max())

    def parts(self, data: Data) -> dict[str, Tensor]:
        """Return the fields of a ``Data`` or ``Batch`` that describe its parts."""
        return {name: data[name] for name in self.fields}

    def problem(self, split: str = "test") -> StoredWholes:
        """Return the wholes of a split as a problem, for evaluations and reports.

        Raises:
            ValueError: If there is no such split, or it is empty.

        Example:
            >>> from compvae_pyg import Sines
            >>> stored = StoredData(Sines().sample(torch.arange(1, 11)).to_data_list())
            >>> stored.problem("train").event_shape
            (200,)
        """
        check_choice(split, "split", SPLITS)
        if not len(self.indices[split]):
            raise ValueError(f"split must have wholes (got none in {split!r})")
        return StoredWholes(self.wholes, self.indices[split], self.most_parts)

    def setup(self, stage: str) -> None:
        """Fit the normalisation of the model that is to be trained, if it is not fitted yet."""
        if stage == "fit":
            self._begun, self._done = 0, None
        if stage != "fit" or self.trainer is None or self.trainer.ckpt_path:
            return
        modules = self.trainer.lightning_module.modules()
        found = [module for module in modules if isinstance(module, Normalization)]
        if any(int(module.num_rows) == 0 for module in found):
            size = self._sizes()
            batches = _even(self.indices["train"], size.get("batch_size", 256), 0, 1)
            shown = progress(batches, "normalisation", "batches")
            every = (self.wholes.batch(numbers) for numbers in shown)
            fit_normalization(self.trainer.lightning_module, every)

    def train_dataloader(self) -> _Loader:
        """Return the batches of the training split, in another order in each epoch."""
        return _Loader(self, "train")

    def val_dataloader(self) -> _Loader | list[Any]:
        """Return the batches of the validation split, if there is one."""
        return _Loader(self, "val") if len(self.indices["val"]) else []

    def test_dataloader(self) -> _Loader | list[Any]:
        """Return the batches of the test split, if there is one."""
        return _Loader(self, "test") if len(self.indices["test"]) else []

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these data and splits from others, in plain values."""
        sizes = np.ascontiguousarray(self.wholes.sizes)
        digests = {name: self.wholes.digests[name] for name in ("whole", *self.fields)}
        return {
            "num_wholes": len(sizes),
            "num_parts": int(sizes.sum()),
            "content": {"sizes": zlib.crc32(sizes.tobytes()), **digests},
            "fractions": list(self.fractions),
            "group": self.group,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "max_parts": self.max_parts,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands, and what says which batches there are."""
        done = self._progress().processed if self.trainer is not None else 0
        return {"begun": self._begun, "done": done, **self.identity, **self._sizes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where training stood.

        Raises:
            ValueError: If it would go on with other batches than it began with.
        """
        if self.trainer is None or self.trainer.state.fn != "fit":
            return
        for name, here in {**self.identity, **self._sizes()}.items():
            if (there := state_dict.get(name)) != here:
                raise ValueError(f"data must be those of the run: {name} is {here}, not {there}")
        self._begun, self._done = state_dict["begun"], state_dict["done"]

    def _next(self) -> tuple[int, int]:
        """Begin an epoch, or resume one: return its number, and that of its first batch."""
        ready = self._progress().ready if self.trainer is not None and self.trainer.training else 0
        # The Trainer knows how many batches of an epoch are done, but not always which epoch it is:
        # where it resumes at the end of one, its count depends on how often it did so before.
        if self._done is None or (self._done and not ready):
            self._begun += 1
        self._done = None
        return max(0, self._begun - 1), ready

    def _progress(self) -> Any:
        return self.trainer.fit_loop.epoch_loop.batch_progress.current  # type: ignore[union-attr]

    def _sizes(self) -> dict[str, int]:
        """Return what limits a batch, by its name."""
        if self.max_parts is not None:
            return {"max_parts": self.max_parts}
        size = self.batch_size
        if size is None and self.trainer is not None:
            schedule = getattr(self.trainer.lightning_module, "schedule", None)
            size = getattr(schedule, "batch_size", None)
        return {} if size is None else {"batch_size": size}


class _Loader:
    """The batches of a split, epoch after epoch, from where the Trainer stands if there is one.

    Not a ``DataLoader``, whose sampler Lightning would replace on several devices, and which has no
    way to begin in the middle of an epoch; one is made for each epoch.
    """

    def __init__(self, data: StoredData, split: str) -> None:
        self.data, self.numbers = data, data.indices[split]
        self.trainer = data.trainer
        self.rank, self.num_ranks = 0, 1
        if self.trainer is not None:
            self.rank, self.num_ranks = self.trainer.global_rank, self.trainer.world_size
        elif torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank, self.num_ranks = (
                torch.distributed.get_rank(),
                torch.distributed.get_world_size(),
            )
        limit = data._sizes()
        if not limit:
            raise ValueError(
                "batch_size or max_parts must be given where no schedule is (got none)"
            )
        if len(self.numbers) < self.num_ranks:
            raise ValueError(
                f"fractions must leave {split} a whole for each of {self.num_ranks} ranks (got "
                f"{len(self.numbers)})"
            )
        self.shuffle = split == "train"
        self.batch_size = limit.get("batch_size", 0)
        self.budget: PartBudgetSampler | None = None
        if "max_parts" in limit:
            self.budget = PartBudgetSampler(
                torch.from_numpy(data.wholes.sizes[self.numbers]),
                limit["max_parts"],
                shuffle=self.shuffle,
                seed=data.seed,
                rank=self.rank,
                num_ranks=self.num_ranks,
            )

    def batches(self, epoch: int) -> list[Array]:
        """Return the numbers of the wholes of each batch of an epoch."""
        if self.budget is not None:
            self.budget.set_epoch(epoch)
            return [self.numbers[batch] for batch in self.budget]
        order = self.numbers
        if self.shuffle:
            order = np.random.default_rng([self.data.seed, 1, epoch]).permutation(order)
        return _even(order, self.batch_size, self.rank, self.num_ranks)

    def __len__(self) -> int:
        if self.budget is not None:
            return len(self.budget)
        return _num_batches(len(self.numbers), self.batch_size, self.num_ranks)

    def __iter__(self) -> Iterator[Batch]:
        # Nothing happens before the first batch is asked for: the Trainer asks for the iterator
        # before it knows how many batches of the epoch are done.
        epoch, start = self.data._next() if self.shuffle else (0, 0)
        if getattr(self.trainer, "overfit_batches", 0):
            epoch = 0  # the same few batches in each
        yield from DataLoader(
            _Batches(self.data.wholes),
            batch_size=None,
            sampler=self.batches(epoch)[start:],
            num_workers=self.data.num_workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tell Lightning that this can be resumed: where the Trainer stands is all its state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what :meth:`state_dict` returns."""


class _Batches(Dataset[Batch]):
    """Batches by the numbers of their wholes."""

    def __init__(self, wholes: ParquetWholes | _Listed) -> None:
        self.wholes = wholes

    def __getitem__(self, numbers: Any) -> Batch:
        return self.wholes.batch(numbers)


class _Listed:
    """Data objects as wholes with their parts."""

    def __init__(self, wholes: Any, group: str | None, fields: Sequence[str] | None) -> None:
        if not hasattr(wholes, "__getitem__") or not hasattr(wholes, "__len__"):
            if not isinstance(wholes, Iterable):
                raise TypeError(
                    "wholes must be Data objects, ParquetWholes or a folder (got "
                    f"{type(wholes).__name__})"
                )
            wholes = list(wholes)
        if not len(wholes):
            raise ValueError("wholes must hold at least one (got none)")
        self.wholes = wholes
        sizes, groups, shape = [], [], None
        self.digests: dict[str, int] = {}
        names: set[str] = set()
        numbers = range(len(wholes))
        for number in progress(numbers, "wholes", "wholes"):
            data = wholes[number]
            check_type(data, "wholes", Data)
            there = _node_fields(data)
            names = names & there if number else there
            event = data.get("whole")
            if not isinstance(event, Tensor) or event.dim() == 0 or event.shape[0] != 1:
                got = list(event.shape) if isinstance(event, Tensor) else type(event).__name__
                raise ValueError(f"whole must be [1, *event] (got {got} at Data {number})")
            shape = shape or event.shape
            if event.shape != shape:
                raise ValueError(
                    f"whole must be {list(shape)}, as the first is (got {list(event.shape)} at "
                    f"Data {number})"
                )
            if group is not None:
                if group not in data:
                    raise ValueError(
                        f"group must be an attribute (got {group!r}, not at Data {number})"
                    )
                value = data[group]
                groups.append(value.item() if isinstance(value, Tensor) else value)
            if data.num_nodes is None:
                raise ValueError(f"num_nodes must be given (got none at Data {number})")
            for name in ("whole", *there):
                _check_finite(data[name], name, number)
                dense = data[name].detach().cpu().clone(memory_format=torch.contiguous_format)
                content = dense.view(-1).view(torch.uint8).numpy()
                self.digests[name] = zlib.crc32(content, self.digests.get(name, 0))
            sizes.append(data.num_nodes)
        self.sizes = np.array(sizes, np.int64)
        own = sorted(names - {group})
        for name in fields or ():
            check_choice(name, "fields", own)
        self.fields = tuple(own if fields is None else fields)
        self.groups = groups
        check_field_names(self.fields)

    def __len__(self) -> int:
        return len(self.sizes)

    def column(self, name: str) -> Array:
        return np.array(self.groups)

    def batch(self, indices: Any) -> Batch:
        chosen = []
        for number in indices.tolist():
            data = self.wholes[number]
            named = {name: _wide(data[name]) for name in self.fields}
            chosen.append(Data(**named, whole=data.whole, num_nodes=data.num_nodes))
        return Batch.from_data_list(chosen)


def _wide(value: Tensor) -> Tensor:
    """Return integers in 64 bits, in which categories are looked up, and all else as it is."""
    plain = value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
    return value if plain else value.long()


def _node_fields(data: Data) -> set[str]:
    """Return the names of tensors with a row for each part, of any first dimension's name."""
    count = data.num_nodes
    return {
        name
        for name, value in data.to_dict().items()
        if name not in ("whole", "batch", "ptr")
        and isinstance(value, Tensor)
        and value.dim() > 0
        and value.shape[0] == count
    }


def _check_finite(value: Tensor, name: str, number: int) -> None:
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        got = float(value[~torch.isfinite(value)][0])
        raise ValueError(f"{name} must be finite (got {got} at Data {number})")


def _even(numbers: Array, batch_size: int, rank: int, num_ranks: int) -> list[Array]:
    """Divide wholes into batches whose sizes differ by at most one, as many for each rank."""
    count = _num_batches(len(numbers), batch_size, num_ranks)
    return np.array_split(numbers, count * num_ranks)[rank::num_ranks]


def _num_batches(num_wholes: int, batch_size: int, num_ranks: int) -> int:
    """Return how many batches each rank has, none of them empty."""
    return min(-(-num_wholes // (batch_size * num_ranks)), num_wholes // num_ranks)


def _as_it_is(batch: Batch) -> Batch:
    return batch
