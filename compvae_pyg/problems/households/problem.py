"""Homes and their shared day: the load of many homes together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.models import CompVAE
from compvae_pyg.networks import build_loads
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_choice, check_type
from compvae_pyg.problems.base import Problem, drawing_device, packed_batch
from compvae_pyg.problems.households.pool import Pool
from compvae_pyg.problems.households.simulated import SimulatedPool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Households"]

Day = Literal["given", "hidden"]

_STAGES: dict[str, tuple[dict[str, Any], ...]] = {
    "given": (
        {"name": "parts", "share": 0.6, "inferred": "parts", "beta_w": (0.01, 1.0), "anneal": 0.7},
        {"name": "whole", "share": 0.4, "beta_z": (10.0, 1.0), "anneal": 0.5},
    ),
    "hidden": (
        {"name": "day", "share": 0.5, "inferred": "whole", "beta_z": (0.02, 1.0), "anneal": 0.7},
        {"name": "whole", "share": 0.5, "beta_w": (2.0, 1.0), "anneal": 0.4},
    ),
}


class Households(Problem):
    """Loads of homes on one day, in kW: a part is a home, a whole the sum of all.

    What homes share is the day: its weather, and whether it is a weekday.

    Args:
        pool: Where homes come from: :class:`SimulatedPool`, which is the default, or a
            :class:`Pool` of measured homes.
        day: Whether the day is ``"given"`` to the model as the context of a whole, or ``"hidden"``:
            the latent of the whole then has to learn what homes share.

    Raises:
        TypeError: If ``pool`` is of another type.
        ValueError: If ``day`` is unknown, or ``"given"`` and the pool has no conditions.

    Example:
        >>> homes = Households()
        >>> data = homes.sample(torch.tensor([3, 50]))
        >>> data.whole.shape, data.context.shape
        (torch.Size([2, 48]), torch.Size([2, 4]))
    """

    name = "households"
    presets = {"small": build_loads}  # noqa: RUF012
    evaluated_parts = (1, 4, 16, 50)

    def __init__(
        self,
        pool: Pool | SimulatedPool | None = None,
        day: Day = "given",
        source: str = "simulated",
    ) -> None:
        check_choice(day, "day", get_args(Day))
        if pool is None:
            if source != "simulated":
                raise ValueError(f"pool must be given: that of {source!r} is not simulated")
            pool = SimulatedPool()
        check_type(pool, "pool", Pool, SimulatedPool)
        if day == "given" and pool.conditions is None:
            raise ValueError("day must be 'hidden' where the pool has no conditions (got 'given')")
        self.pool, self.day, self.source = pool, day, pool.name
        self.part_fields = tuple(pool.fields)
        days = torch.arange(pool.num_days)
        _, load = pool.sample(days, torch.ones_like(days), torch.Generator().manual_seed(0))
        self.event_shape = (load.shape[1],)
        self._unit = load.float().mean()
        self._held_out: Households | None = None

    @property
    def max_parts(self) -> int:  # type: ignore[override]
        """Largest number of homes in training."""
        return min(64, self.pool.most_parts)

    @property
    def unit(self) -> float:
        """Mean load of a home, in kW."""
        return round(float(self._unit), 3)

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw wholes of homes of a day each, of the given numbers."""
        device = drawing_device(num_parts, generator)
        sizes = num_parts.cpu()
        source = generator if generator is None or generator.device.type == "cpu" else None
        day = self.pool.draw_days(sizes, source)
        parts, load = self.pool.sample(day, sizes, source)
        return self._batch(day, parts, load, sizes).to(device)

    def ensembles(
        self,
        num_parts: int,
        num_wholes: int,
        *,
        own_days: bool = False,
        of: Mapping[str, int] | None = None,
    ) -> Batch:
        """Draw wholes of homes of one composition, of all days alike.

        It is that of the pool's ``composition``, or of equal homes, ``of`` which fields are given;
        measured homes are any, or any with these fields.

        Raises:
            ValueError: If there are no measured homes with these fields.
        """
        sizes = torch.ones(num_parts * num_wholes, dtype=torch.long) if own_days else None
        if sizes is None:
            sizes = torch.full((num_wholes,), num_parts)
        if isinstance(self.pool, Pool):
            some = copy.copy(self)
            if of is not None:
                alike = torch.stack([self.pool.parts[name] == of[name] for name in of]).all(0)
                if not bool(alike.any()):
                    raise ValueError(f"of must be the fields of some homes (got {dict(of)})")
                some.pool = self.pool.select(alike.nonzero().flatten().tolist())
            return some.sample(sizes)
        composition = self.pool.composition(num_parts)
        if of is not None:
            composition = {name: torch.full((num_parts,), of[name]) for name in composition}
        parts = {name: value.repeat(num_wholes) for name, value in composition.items()}
        day = torch.randperm(len(sizes)) % self.pool.num_days  # each as often as all others
        batch = torch.arange(len(sizes)).repeat_interleave(sizes)
        return self._batch(day, parts, self.pool.draw(day, parts, batch), sizes)

    def kinds(self, most: int) -> dict[str, dict[str, int] | None]:
        """Return some kinds of homes by what they are called.

        Measured homes are told apart by the first field that has so few categories, if there is.
        """
        if isinstance(self.pool, Pool):
            for name, called in self.pool.categories.items():
                if len(called) <= most:
                    there = self.pool.parts[name].unique().tolist()
                    return {f"{name} {called[k]}": {name: k} for k in there}
            return {"homes": None}
        each = [{"residents": n, "heat_pump": h} for h in (0, 1) for n in (1, 2, 4)]
        return {
            f"{kind['residents']} resident{'s' * (kind['residents'] > 1)}"
            f"{', heat pump' * kind['heat_pump']}": kind
            for kind in each[:most]
        }

    def figures(self, model: CompVAE, *, seed: int = 0) -> Mapping[str, Figure]:
        """Return the bands of the curves of homes, and the peaks of many."""
        from compvae_pyg.problems.households.figures import draw_figures

        return draw_figures(model, self, seed)

    def add_demo(self, gr: Any, app: Any, model: CompVAE) -> None:
        """Add a tab to the page of the demo (extra ``demo``)."""
        from compvae_pyg.problems.households.demo import add_tab

        add_tab(gr, app, model, self)

    def _batch(
        self, day: Tensor, parts: Mapping[str, Tensor], load: Tensor, sizes: Tensor
    ) -> Batch:
        batch = torch.arange(len(sizes)).repeat_interleave(sizes)
        whole = PackedParts(batch, batch, len(sizes), validate=False).sum(load.float())
        # Logarithms of loads are taken: a home that uses nothing uses one per cent of a mean home.
        whole = whole.clamp(min=0.01 * self._unit)
        return packed_batch(parts, whole, sizes, self.context(day))

    @property
    def training(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Numbers for its training.

        Numbers of homes are drawn uniformly in their logarithm: single homes are as common as
        streets of 32 to 64. A given day is read first and z is opened last, for what it does not
        tell; of a hidden day z learns first, and the latents of homes are opened when it has.
        """
        return {
            "num_steps": 4000 if self.day == "given" else 2000,
            "batch_size": 96,
            "initial_rate": 2e-3,
            "log_uniform": True,
            "stages": _STAGES[self.day],
        }

    def context(self, day: Tensor) -> Tensor | None:
        """Return the conditions of days of the pool, ``[S]``, if they are given to the model."""
        if self.day == "hidden" or self.pool.conditions is None:
            return None
        return self.pool.conditions[day]

    def held_out(self) -> Problem:
        """Return the days that training does not see."""
        if self._held_out is not None:
            return self._held_out
        if isinstance(self.pool, SimulatedPool):
            return Households(SimulatedPool("held_out", self.pool.path), self.day)
        return self

    def split(self, every_day: int = 5, every_home: int = 0) -> Households:
        """Return the problem to train with, whose :meth:`held_out` has what is left out.

        Arguments are those of :meth:`Pool.split`.
        """
        check_type(self.pool, "pool", Pool)
        assert isinstance(self.pool, Pool)
        kept, other = self.pool.split(every_day, every_home)
        out = Households(kept, self.day)
        out._held_out = Households(other, self.day)
        return out

    def build(self, preset: str, **options: Any) -> CompVAE:
        """Build the networks for the homes and conditions of the pool, untrained."""
        conditions = self.pool.conditions if self.day == "given" else None
        known: Mapping[str, Any] = {
            "fields": {name: dict(kind) for name, kind in self.pool.fields.items()},
            "length": self.event_shape[0],
            "context_channels": 0 if conditions is None else conditions.shape[1],
            "unit": self.unit,
        }
        return super().build(preset, **{**known, **options})
