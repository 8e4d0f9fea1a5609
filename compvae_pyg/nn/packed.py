r"""Packed sets: the one value in which parts travel.

A batch of :math:`S` sets with :math:`N` parts in all is *packed*: parts lie in tensors
``[N, ...]``, and ``batch: [N]``, sorted, says which set each belongs to (PyG's convention).
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter, methodcaller
from typing import Any, NamedTuple, TypeAlias, TypedDict, Union

import torch
from torch import Tensor
from torch_geometric.data import Data
from typing_extensions import Unpack

from compvae_pyg.nn import checks
from compvae_pyg.nn.from_data import from_data
from compvae_pyg.nn.rows import Segments, at_least_float32

__all__ = [
    "AnyParts",
    "Fields",
    "NullSoftmax",
    "PackedParts",
    "PartOptions",
]

Fields: TypeAlias = Tensor | Mapping[str, Tensor]
AnyParts: TypeAlias = Union["PackedParts", Data, Fields]


class PartOptions(TypedDict, total=False):
    """What parts may have beside their fields, see :class:`PackedParts`."""

    count: Tensor | None
    weight: Tensor | None
    context: Fields | None


class NullSoftmax(NamedTuple):
    r"""Softmax over a set and a null entry.

    Attributes:
        prob: :math:`\rho_i`, ``[N, ...]``.
        log_null: :math:`\log(1 - \sum_i \rho_i)`, ``[S, ...]``.

    Example:
        >>> parts = PackedParts(torch.zeros(2, 1), torch.tensor([0, 0]))
        >>> parts.softmax_with_null(torch.zeros(2)).prob
        tensor([0.3333, 0.3333])
    """

    prob: Tensor
    log_null: Tensor


@checks.check_methods
class PackedParts:
    r"""The parts of a batch of sets, checked once, when it is made.

    Nothing in it changes: an operation returns another one, and raises a ``TypeError`` or
    ``ValueError`` for what does not fit. A row stands for one part, or, with ``count``, for so many
    independent parts of one description: a multiset is rows with counts.

    Args:
        fields: Descriptions of the parts: one tensor, or named ones, ``N`` rows each.
        batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
        batch_size: Number of sets :math:`S`; needed when sets are empty, and spares a device
            synchronisation.
        count: How many parts :math:`n_i` a row stands for, ``[N]``, integers or real numbers, not
            negative; ``None`` means 1.
        weight: Factor :math:`a_i` of each part in sums, ``[N]``, of any sign; ``None`` means 1.
        context: Conditions of each set, known and shared by its parts, as the weather is by homes:
            one tensor, or named ones, ``S`` rows each.
        validate: Whether to check the arguments. Without, ``batch`` and ``batch_size`` are needed,
            and what is summed up or broadcast must be sorted all the same.

    Shapes:
        - **fields:** :math:`(N, *)`, **batch:** :math:`(N)`, **count, weight:** :math:`(N)`,
          **context:** :math:`(S, *)`

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If fields differ in length or device, ``batch`` is unsorted or skips a set that
            ``batch_size`` does not announce, ``count`` or ``weight`` is out of range, or
            ``context`` has not one row for each set.

    Example:
        >>> parts = PackedParts({"size": torch.tensor([1.0, 2.0, 4.0])}, torch.tensor([0, 0, 1]))
        >>> parts
        PackedParts(num_parts=3, batch_size=2, fields=['size'])
        >>> parts.sum(parts["size"])
        tensor([3., 4.])
    """

    def __init__(
        self,
        fields: Fields,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        count: Tensor | None = None,
        weight: Tensor | None = None,
        context: Fields | None = None,
        validate: bool = True,
    ) -> None:
        if validate:
            batch, batch_size = checks.check_parts(
                fields, batch, batch_size, count, weight, context
            )
        elif batch is None or batch_size is None:
            raise ValueError("batch and batch_size must be given where validate=False (got None)")
        self.fields = fields
        self.batch: Tensor = batch
        self.batch_size: int = batch_size
        self.count = count
        self.weight = weight
        self.context = context
        self.segments = Segments(batch, batch_size)

    @classmethod
    def of(
        cls,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        **options: Unpack[PartOptions],
    ) -> PackedParts:
        """Return parts as they come into public methods as one value.

        Args:
            parts: Fields; or a PyG ``Data`` or ``Batch``, whose node-level attributes are the
                fields, and which has its own ``batch``, and may have its own ``context``; or parts
                that are packed already, which have all of their own, and are returned as they are.
                The other arguments are those of the class, and not given beside what has its own.

        Example:
            >>> graph = Data(pos=torch.zeros(3, 2), num_nodes=3)
            >>> PackedParts.of(graph)
            PackedParts(num_parts=3, batch_size=1, fields=['pos'])
        """
        if isinstance(parts, PackedParts):
            checks.check_left_out(parts, batch=batch, batch_size=batch_size, **options)
            return parts
        if isinstance(parts, Data):
            return cls(**from_data(parts, batch, batch_size, **options))
        return cls(parts, batch, batch_size, **options)

    @property
    def num_parts(self) -> int:
        """Number of rows :math:`N`."""
        return self.batch.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the parts are."""
        return self.batch.device

    def __getitem__(self, name: str) -> Tensor:
        """Return a field."""
        if isinstance(self.fields, Tensor):
            raise KeyError(f"{name}: the parts have one field without a name")
        return self.fields[name]

    # What belongs to sets

    @property
    def part_context(self) -> Fields | None:
        """The context of the set of each part, ``[N, *]``."""
        return map_context(self.broadcast, self.context)

    def sizes(self, dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Return the number of rows :math:`K` of each set, ``[S]``.

        Example:
            >>> PackedParts(torch.zeros(3), torch.tensor([0, 0, 2]), 3).sizes()
            tensor([2., 0., 1.])
        """
        return self.sum(torch.ones(self.batch.shape, dtype=dtype, device=self.device))

    def sum(self, values: Tensor, dim: int = 0) -> Tensor:
        r"""Return the sum of each set, :math:`\sum_{i \in s} x_i`; empty sets give zero.

        Half-precision values are added in 32 bits.

        Args:
            values: One row for each part, ``[N, ...]`` along ``dim``; in the result, for each set.
            dim: The dimension that holds the parts.

        Example:
            >>> parts = PackedParts(torch.zeros(3), torch.tensor([0, 0, 2]), 3)
            >>> parts.sum(torch.tensor([1.0, 2.0, 4.0]))
            tensor([3., 0., 4.])
        """
        return self.segments.sum(values, dim)

    def weighted(self, values: Tensor) -> Tensor:
        r"""Return values times the weights of their parts, :math:`a_i x_i`, ``[N, ...]``."""
        if self.weight is None:
            return values
        return self.weight.to(values.dtype).view(-1, *[1] * (values.dim() - 1)) * values

    def weighted_sum(self, values: Tensor) -> Tensor:
        r"""Return the weighted sum of each set, :math:`\sum_{i \in s} a_i x_i`, ``[S, ...]``.

        Example:
            >>> PackedParts(torch.zeros(2), weight=torch.tensor([1.0, 0.5])).weighted_sum(
            ...     torch.tensor([1.0, 4.0]))
            tensor([3.])
        """
        return self.sum(self.weighted(values))

    def broadcast(self, values: Tensor, dim: int = 0) -> Tensor:
        r"""Return what belongs to sets once for each of their parts, :math:`y_i = x_{s(i)}`.

        The transpose of :meth:`sum`.

        Args:
            values: One row for each set, ``[S, ...]`` along ``dim``; in the result, for each part.
            dim: The dimension that holds the sets.

        Example:
            >>> parts = PackedParts(torch.zeros(3), torch.tensor([0, 0, 1]))
            >>> parts.broadcast(torch.tensor([3.0, 4.0]))
            tensor([3., 3., 4.])
        """
        return self.segments.broadcast(values, dim)

    def softmax_with_null(self, logits: Tensor) -> NullSoftmax:
        r"""Return the softmax over each set and a null entry of logit 0 (paper, eq. 8).

        .. math::
            \rho_i = \frac{e^{\tilde\rho_i}}{1 + \sum_j e^{\tilde\rho_j}}, \qquad
            \log\Bigl(1 - \sum_i \rho_i\Bigr) = -\log\Bigl(1 + \sum_j e^{\tilde\rho_j}\Bigr)

        The logarithm comes from the shifted log-sum-exp and never from a difference, so that it
        is finite for finite logits. Half-precision logits are treated in 32 bits, and
        the result is 32-bit: :math:`\log(1 - R)` does not survive rounding to 16.

        Args:
            logits: :math:`\tilde\rho`, ``[N, ...]``.

        Example:
            >>> parts = PackedParts(torch.zeros(3), torch.tensor([0, 0, 1]))
            >>> out = parts.softmax_with_null(torch.zeros(3))
            >>> out.prob, out.log_null.exp()
            (tensor([0.3333, 0.3333, 0.5000]), tensor([0.3333, 0.5000]))
        """
        checks.check_real(logits, "logits")
        checks.check_rows(logits, "logits", self.num_parts)
        logits = at_least_float32(logits)
        # The shift cancels from the result, so that no gradient need flow through it.
        shift = self.segments.max(logits).clamp(min=0.0)
        share = torch.exp(logits - self.broadcast(shift))
        # The sum of all shares without the 1 that rounding would lose small ones in.
        rest = torch.expm1(-shift) + self.sum(share)
        prob = share * self.broadcast(1.0 / (1.0 + rest))
        return NullSoftmax(prob, -shift - torch.log1p(rest))

    # Other rows, other sets

    def with_fields(self, fields: Fields) -> PackedParts:
        """Return the same sets with other descriptions, which are not checked."""
        same = copy.copy(self)
        same.fields = fields
        return same

    def map(self, function: Callable[..., Tensor], *others: PackedParts) -> PackedParts:
        """Return the same sets with a function applied to each field, and to those of others."""
        return self.with_fields(_map(function, self.fields, *(other.fields for other in others)))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> PackedParts:
        """Return the parts on a device, and fields of real numbers in another type."""
        batch = self.batch.to(device=device)
        moved = self
        if batch is not self.batch:
            move = methodcaller("to", device=device)
            moved = self._rows(move, batch, self.batch_size, move)
        if dtype is None:
            return moved

        def cast(value: Tensor) -> Tensor:
            return value.to(dtype) if value.is_floating_point() else value

        moved = moved.map(cast)
        moved.context = map_context(cast, moved.context)
        return moved

    def take(self, index: Tensor) -> PackedParts:
        """Return some rows in their old sets, by numbers that rise, ``[M]``, not checked."""
        batch = self.batch.index_select(0, index)
        return self._rows(_rows_at(index), batch, self.batch_size)

    def without(self, index: Tensor | Sequence[int] | int) -> PackedParts:
        """Return the parts without some.

        Args:
            index: Which rows go: a mask, ``[N]``, or numbers, one or several.

        Example:
            >>> PackedParts(torch.arange(3), torch.tensor([0, 0, 1])).without(0).fields
            tensor([1, 2])
        """
        index = checks.check_index(index, self.num_parts, self.device)
        stays = torch.ones_like(self.batch, dtype=torch.bool).index_fill(0, index, False)
        return self.take(stays.nonzero().squeeze(1))

    def select(self, sets: Tensor | Sequence[int] | int) -> PackedParts:
        """Return some of the sets, in the order asked for; one may be asked for several times.

        Args:
            sets: Which sets: a mask, ``[S]``, or numbers, one or several.

        Example:
            >>> parts = PackedParts(torch.arange(3), torch.tensor([0, 0, 1])).select([1, 0, 1])
            >>> parts.fields, parts.batch
            (tensor([2, 0, 1, 2]), tensor([0, 1, 1, 2]))
        """
        sets = checks.check_index(sets, self.batch_size, self.device, name="sets")
        sizes = torch.bincount(self.batch, minlength=self.batch_size)
        chosen = sizes.index_select(0, sets)
        batch = torch.arange(sets.shape[0], device=self.device).repeat_interleave(chosen)
        shift = (sizes.cumsum(0) - sizes)[sets] - (chosen.cumsum(0) - chosen)
        rows = torch.arange(batch.shape[0], device=self.device) + shift[batch]
        return self._rows(_rows_at(rows), batch, sets.shape[0], _rows_at(sets))

    def cat(self, other: PackedParts) -> PackedParts:
        """Return the union of two batches set by set; the other's parts go to the ends of the sets.

        Args:
            other: As many sets, in which ``batch`` need not be sorted, of the same fields.

        Example:
            >>> one = PackedParts(torch.tensor([1, 2]), torch.tensor([0, 1]))
            >>> one.cat(PackedParts(torch.tensor([3]), torch.tensor([0]), 2)).fields
            tensor([1, 3, 2])
        """
        checks.check_union(other, self, "other")
        batch, order = torch.sort(torch.cat([self.batch, other.batch]), stable=True)

        def join(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old, new]).index_select(0, order)

        options: Any = {"context": self.context}
        for name in ("count", "weight"):
            pair = [(getattr(parts, name), parts.batch) for parts in (self, other)]
            if any(value is not None for value, _ in pair):
                options[name] = join(*(torch.ones_like(b) if v is None else v for v, b in pair))
        fields = _map(join, self.fields, other.fields)
        return PackedParts(fields, batch, self.batch_size, **options, validate=False)

    def repeat(self, times: int) -> PackedParts:
        """Return copies of all sets, one copy of all after the other.

        Example:
            >>> PackedParts(torch.arange(3), torch.tensor([0, 0, 1])).repeat(2).batch
            tensor([0, 0, 1, 2, 2, 3])
        """
        checks.check_count(times, "times", at_least=0)
        shift = torch.arange(times, device=self.device) * self.batch_size
        batch = (self.batch + shift.unsqueeze(1)).flatten()

        def tile(value: Tensor) -> Tensor:
            return value.repeat(times, *[1] * (value.dim() - 1))

        return self._rows(tile, batch, times * self.batch_size, tile)

    def split(
        self, chunk_size: int, max_parts: int | None = None
    ) -> Iterator[tuple[slice, PackedParts]]:
        """Yield pieces: which sets, and their parts.

        One piece takes no synchronisation with the device.

        Args:
            chunk_size: Largest number of sets of a piece.
            max_parts: Largest number of parts of a piece of more than one set.

        Example:
            >>> parts = PackedParts(torch.arange(4), torch.tensor([0, 0, 1, 3]), 4)
            >>> [(chunk.fields, chunk.batch) for _, chunk in parts.split(2)]
            [(tensor([0, 1, 2]), tensor([0, 0, 1])), (tensor([3]), tensor([1]))]
        """
        checks.check_count(chunk_size, "chunk_size")
        limit = self.num_parts if max_parts is None else max_parts
        if self.batch_size <= chunk_size and self.num_parts <= limit:
            yield slice(0, self.batch_size), self
            return
        ends = torch.bincount(self.batch, minlength=self.batch_size).cumsum(0).tolist()
        low = start = 0
        while low < self.batch_size:
            fit = max(low + 1, bisect_right(ends, start + limit))
            high = min(low + chunk_size, self.batch_size, fit)
            piece = self.rows(slice(start, ends[high - 1]), slice(low, high))
            yield slice(low, high), piece
            low, start = high, ends[high - 1]

    def rows(self, rows: slice, sets: slice | None = None) -> PackedParts:
        """Return consecutive rows as parts of their own sets, or of consecutive sets with them."""
        batch = self.batch[rows]
        sets = slice(int(batch[0]), int(batch[-1]) + 1) if sets is None else sets
        size = sets.stop - sets.start
        return self._rows(itemgetter(rows), batch - sets.start, size, itemgetter(sets))

    def pad(self, num_parts: int, num_sets: int | None = None) -> PackedParts:
        """Return the parts padded to a fixed size with a dummy set of copies of the first part.

        Nothing passes from one set to another: drop what is returned for sets beyond the first
        ``batch_size``, and losses and gradients are those of the real sets.

        Args:
            num_parts: Number of rows of the result; what is missing goes into its last set.
            num_sets: Number of sets of the result; by default one more than there are.

        Example:
            >>> PackedParts(torch.tensor([3, 1, 4]), torch.tensor([0, 0, 1])).pad(5).batch
            tensor([0, 0, 1, 2, 2])
        """
        num_sets = self.batch_size + 1 if num_sets is None else num_sets
        checks.check_padding(num_parts, num_sets, self.num_parts, self.batch_size)
        slack = num_parts - self.num_parts
        batch = torch.cat([self.batch, self.batch.new_full((slack,), num_sets - 1)])
        more = torch.cat([torch.arange(self.num_parts), torch.zeros(slack, dtype=torch.long)])
        more = more.to(self.device)
        sets = torch.arange(num_sets, device=self.device) % self.batch_size
        return self._rows(_rows_at(more), batch, num_sets, _rows_at(sets))

    def _rows(
        self,
        function: Callable[[Tensor], Tensor],
        batch: Tensor,
        batch_size: int,
        of_sets: Callable[[Tensor], Tensor] | None = None,
    ) -> PackedParts:
        """Return the parts with functions applied to all that has a row for each, or each set."""
        count, weight = (None if v is None else function(v) for v in (self.count, self.weight))
        fields = _map(function, self.fields)
        context = self.context if of_sets is None else map_context(of_sets, self.context)
        options: Any = {"count": count, "weight": weight, "context": context}
        return PackedParts(fields, batch, batch_size, **options, validate=False)

    def __repr__(self) -> str:
        sizes = [f"num_parts={self.num_parts}", f"batch_size={self.batch_size}"]
        names = [] if isinstance(self.fields, Tensor) else [f"fields={sorted(self.fields)}"]
        more = [name for name in ("count", "weight", "context") if getattr(self, name) is not None]
        return f"{self.__class__.__name__}({', '.join(sizes + names + more)})"


def sets_of(
    rows: Tensor, name: str, batch: Tensor | PackedParts | None, batch_size: int | None
) -> PackedParts:
    """Return the sets in which rows, ``[N, ...]``, lie: packed before, or now."""
    if not isinstance(batch, PackedParts):
        return PackedParts(rows, batch, batch_size)
    sets = PackedParts.of(batch, None, batch_size)
    checks.check_shape(rows, name, (sets.num_parts, *rows.shape[1:]))
    checks.check_device(rows, name, sets.device, "batch")
    return sets


def _map(function: Callable[..., Tensor], *fields: Fields) -> Fields:
    first = fields[0]
    if isinstance(first, Tensor):
        return function(*fields)
    return {name: function(*(f[name] for f in fields)) for name in first}  # type: ignore[index]


def map_context(function: Callable[..., Tensor], context: Fields | None) -> Fields | None:
    """Return a context with a function applied to each field, None where there is none."""
    return None if context is None else _map(function, context)


def _rows_at(index: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda value: value.index_select(0, index)
