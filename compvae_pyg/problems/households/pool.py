"""Pools of load curves: homes, days, conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from compvae_pyg.networks.fields import Categorical, Continuous
from compvae_pyg.nn.checks import check_count, check_shape, check_type

__all__ = ["Pool", "choose"]

_SCORES = 2**24  # homes times wholes that are chosen among at a time


def choose(group: Tensor, homes: int, generator: torch.Generator | None = None) -> Tensor:
    """Choose a home for each part, ``[N]``, none twice in a group before all were chosen.

    Args:
        group: Group of each part, ``[N]``.
        homes: How many homes there are to choose from.

    Example:
        >>> choose(torch.tensor([0, 0, 0, 0]), 4).sort().values
        tensor([0, 1, 2, 3])
    """
    if not len(group):
        return group
    order = group.argsort(stable=True)
    number = torch.bincount(group)
    start = number.cumsum(0) - number
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - start[group[order]]
    # A walk through all homes from a random one, in random strides.
    strides = torch.tensor([k for k in range(1, homes + 1) if math.gcd(k, homes) == 1])
    first = torch.randint(homes, (len(number),), generator=generator)
    stride = strides[torch.randint(len(strides), (len(number),), generator=generator)]
    return (first[group] + place * stride[group]) % homes


@dataclass(frozen=True, eq=False, repr=False)
class Pool:
    """Curves of homes on days, from which wholes of one day are drawn without replacement.

    Attributes:
        name: What the curves are of.
        load: Mean power in kW at each step, ``[H, D, T]``; NaN where a day has no full readings.
        parts: Fields of the homes, ``H`` rows each.
        fields: What these are, :class:`Categorical` or :class:`Continuous`, by name.
        conditions: Conditions of the days, ``[D, F]``, or ``None``.
        names: Names of the conditions.
        days: Names of the days, such as dates.
        step_hours: Length of a step.
        notes: What was left out or filled, and why, a line each, and the mean load.
        categories: What the categories 0, 1, … of fields are called, by field.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes differ, or a home or a day has no readings.

    Example:
        >>> kinds = {"kind": torch.tensor([0, 1, 1])}
        >>> pool = Pool("mine", torch.rand(3, 10, 24), kinds, {"kind": Categorical(2)})
        >>> parts, load = pool.sample(torch.tensor([4, 9]), torch.tensor([2, 3]))
        >>> parts["kind"].shape, load.shape
        (torch.Size([5]), torch.Size([5, 24]))
    """

    name: str
    load: Tensor
    parts: Mapping[str, Tensor]
    fields: Mapping[str, Categorical | Continuous]
    conditions: Tensor | None = None
    names: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    step_hours: float = 1.0
    notes: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type(self.load, "load", Tensor)
        check_shape(self.load, "load", ("H", "D", "T"))
        homes, days, _ = self.load.shape
        for name, value in self.parts.items():
            check_shape(value, name, (homes, *value.shape[1:]))
        if self.conditions is not None:
            check_shape(self.conditions, "conditions", (days, len(self.names)))
        object.__setattr__(self, "has", ~self.load.isnan().any(dim=2))
        for what, rows in (("home", self.has.any(dim=1)), ("day", self.has.any(dim=0))):
            if not bool(rows.all()):
                at = int((~rows).nonzero()[0])
                raise ValueError(
                    f"each {what} must have a day of readings (got none of {what} {at})"
                )

    has: Tensor = field(init=False)

    def __repr__(self) -> str:
        homes, days, steps = self.load.shape
        return (
            f"Pool({self.name!r}, homes={homes}, days={days}, steps={steps}, "
            f"fields={list(self.fields)}, conditions={list(self.names)})"
        )

    @property
    def num_days(self) -> int:
        """Number of days."""
        return self.load.shape[1]

    @property
    def most_parts(self) -> int:
        """Number of homes that days have readings of, all but one in ten of them."""
        return int(self.has.sum(dim=0).sort().values[(self.num_days - 1) // 10])

    def select(
        self, homes: Sequence[int] | slice = slice(None), days: Sequence[int] | slice = slice(None)
    ) -> Pool:
        """Return some of the homes and days, without those that have no readings there."""
        home, day = (
            torch.arange(n)[list(s) if not isinstance(s, slice) else s]
            for n, s in zip(self.load.shape, (homes, days), strict=False)
        )
        has = self.has[home][:, day]
        home, day = home[has.any(dim=1)], day[has.any(dim=0)]
        return replace(
            self,
            load=self.load[home][:, day],
            parts={name: value[home] for name, value in self.parts.items()},
            conditions=None if self.conditions is None else self.conditions[day],
            days=tuple(self.days[int(d)] for d in day) if self.days else (),
        )

    def split(self, every_day: int = 5, every_home: int = 0) -> tuple[Pool, Pool]:
        """Return what is to train with, and what is held out.

        Args:
            every_day: Each so many-th day is held out.
            every_home: Likewise each so many-th home, if not 0: the wholes that are held out are
                then of homes and of days that training has not seen.

        Raises:
            ValueError: If there are not so many days or homes.
        """
        check_count(every_day, "every_day", at_least=2)
        check_count(every_home, "every_home", at_least=0)
        given = {
            "every_day": (every_day, self.num_days),
            "every_home": (every_home, len(self.load)),
        }
        for name, (every, there) in given.items():
            if every > there:
                raise ValueError(f"{name} must be at most {there}, all there are (got {every})")
        homes, days = range(self.load.shape[0]), range(self.num_days)
        kept = [d for d in days if d % every_day != every_day - 1]
        other = [d for d in days if d % every_day == every_day - 1]
        if not every_home:
            return self.select(days=kept), self.select(days=other)
        seen = [h for h in homes if h % every_home != every_home - 1]
        unseen = [h for h in homes if h % every_home == every_home - 1]
        return self.select(seen, kept), self.select(unseen, other)

    def draw_days(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a day for each whole, ``[S]``, of those with readings of so many homes."""
        day = torch.randint(self.num_days, (len(num_parts),), generator=generator)
        homes = self.has.sum(dim=0)
        few = homes[day] < num_parts
        if bool(few.any()):
            order = homes.argsort(descending=True)
            enough = torch.searchsorted(-homes[order], -num_parts[few], right=True)
            drawn = torch.rand(len(enough), generator=generator) * enough
            day[few] = order[drawn.long()]
        return day

    def sample(
        self, day: Tensor, num_parts: Tensor, generator: torch.Generator | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Draw homes of days, ``[S]``, so many of each: their fields, and loads in kW, ``[N, T]``.

        Raises:
            ValueError: If a day has not so many homes with readings.
        """
        chunk = max(1, _SCORES // len(self.load))
        if len(day) > chunk:
            pairs = zip(day.split(chunk), num_parts.split(chunk), strict=True)
            pieces, loads = zip(*(self.sample(d, n, generator) for d, n in pairs), strict=True)
            return {k: torch.cat([p[k] for p in pieces]) for k in self.parts}, torch.cat(loads)
        has = self.has[:, day].T
        most = int(num_parts.max()) if len(num_parts) else 0
        lacks = (num_parts > has.sum(dim=1)).nonzero()
        if len(lacks):
            at = int(lacks[0])
            raise ValueError(
                f"num_parts must be at most the {int(has[at].sum())} homes that day "
                f"{int(day[at])} has readings of (got {int(num_parts[at])})"
            )
        score = torch.rand(has.shape, generator=generator).masked_fill(~has, -1.0)
        order = score.topk(most, dim=1).indices
        home = order[torch.arange(most) < num_parts.unsqueeze(1)]
        batch = torch.arange(len(day)).repeat_interleave(num_parts)
        parts = {name: value[home] for name, value in self.parts.items()}
        return parts, self.load[home, day[batch]]
