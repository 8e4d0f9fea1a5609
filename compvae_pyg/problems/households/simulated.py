"""Simulated homes: stored loads of appliances, and heat pumps that follow the weather."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from compvae_pyg.networks import Categorical
from compvae_pyg.nn.checks import check_choice
from compvae_pyg.problems.households.pool import choose

__all__ = ["SimulatedPool", "heat_pumps"]

Split = Literal["training", "held_out", "many"]

_SIZES = torch.tensor([0.305, 0.265, 0.16, 0.145, 0.125])  # of homes by residents, made more even
_SEEDS = {"training": 1, "held_out": 2, "many": 3}  # of the heat pumps
_FEWEST = {"training": 20, "held_out": 40, "many": 40}  # of a size on a day
_ALIKE = 8  # days whose loads of appliances are taken together in training
_NUM_RESIDENTS = 5
_FLOOR = 0.005  # kW


def heat_pumps(
    temperature: np.ndarray, irradiance: np.ndarray, homes: int, seed: int
) -> np.ndarray:
    r"""Return half-hourly loads of heat pumps in kW, ``[D, 5, homes, 48]``.

    A home of :math:`n` residents loses heat through its walls,

    .. math::
        Q = UA\,(T_{in} - \bar T) - 0.25 \sqrt n - 0.0015\, I \quad \text{(kW)}, \qquad
        UA = 0.13\,(0.8 + 0.08\, n)\, e^{0.3 \varepsilon} \quad \text{(kW/K)}

    with the outdoor temperature :math:`\bar T` averaged over four hours and the irradiance
    :math:`I`. Two homes in five lower :math:`T_{in}` at night by 2.5 K and boost it afterwards by
    1.5 K for 90 minutes. The pump's heat output is :math:`36\,UA`; below 30 % of it the compressor
    cycles. Its coefficient of performance is 0.42 of Carnot's for a heating curve from 35 °C at
    15 °C outdoors, between 1.5 and 5.5. Hot water is made in the morning and in the evening, and 15
    W are always drawn.

    Args:
        temperature, irradiance: In °C and W/m², every 10 minutes, ``[D, 144]``.
        homes: Homes of each size and day.
        seed: Seed of the homes.

    Example:
        >>> cold, mild = np.full((1, 144), -8.0), np.full((1, 144), 12.0)
        >>> loads = [heat_pumps(t, np.zeros((1, 144)), 100, 0).mean() for t in (cold, mild)]
        >>> f"{loads[0] / loads[1]:.1f}"
        '7.2'
    """
    draw = np.random.default_rng(seed)
    days = len(temperature)
    each = (days, _NUM_RESIDENTS, homes, 1)

    def normal(mean: float, std: float) -> np.ndarray:
        return (mean + std * draw.standard_normal(each)).astype(np.float32)

    def uniform(low: float, high: float) -> np.ndarray:
        return draw.uniform(low, high, each).astype(np.float32)

    residents = np.arange(1, _NUM_RESIDENTS + 1, dtype=np.float32).reshape(1, -1, 1, 1)
    clock = (np.arange(144, dtype=np.float32) / 6.0).reshape(1, 1, 1, 144)  # hours
    outdoors, sun = (
        x.astype(np.float32).reshape(days, 1, 1, 144) for x in (temperature, irradiance)
    )
    losses = 0.13 * (0.8 + 0.08 * residents) * np.exp(normal(0.0, 0.3))
    indoors = normal(20.5, 0.8)
    setback = uniform(0.0, 1.0) < 0.4
    down, up = normal(22.0, 0.7), normal(5.2, 0.8)
    night, boost = (clock > down) | (clock < up), (clock >= up) & (clock < up + 1.5)
    indoors = indoors + setback * (1.5 * boost - 2.5 * night)
    slow = np.stack([np.roll(outdoors, shift, -1) for shift in (0, 12, 24)]).mean(0)
    heat = np.maximum(0.0, losses * (indoors - slow) - 0.25 * np.sqrt(residents) - 0.0015 * sun)
    power = 36.0 * losses
    duty = heat / power
    wave = np.mod(clock / uniform(0.7, 1.6) + uniform(0.0, 1.0), 1.0)
    duty = np.where(duty < 0.3, 0.3 * (wave < duty / 0.3), np.minimum(duty, 1.0))
    flow = 35.0 + 0.7 * np.maximum(0.0, 15.0 - slow)
    performance = np.clip(0.42 * (flow + 273.15) / np.maximum(flow - outdoors, 5.0), 1.5, 5.5)
    load = duty * power / performance + 0.015
    for hour, spread in ((5.5, 1.2), (19.0, 2.0)):
        start = normal(hour, spread)
        length = (0.25 + 0.12 * residents) * np.exp(normal(0.0, 0.3))
        load = load + ((clock >= start) & (clock < start + length)) * (0.6 * power / 2.4)
    half_hours: np.ndarray = load.reshape(*each[:3], 48, 3).mean(-1).astype(np.float32)
    return half_hours


@cache
def stored_homes(path: Path | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a pool, by default those that are shipped.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive.

    Example:
        >>> stored_homes()["training"].shape  # [day, residents, home, step]
        (292, 5, 6, 48)
    """
    shipped = files("compvae_pyg.problems.households") / "data" / "simulated.npz"
    with (shipped if path is None else path).open("rb") as file:
        try:
            with np.load(file) as archive:
                stored = {name: archive[name] for name in archive.files}
        except (ValueError, BadZipFile, EOFError) as error:
            raise ValueError(f"path must be an archive of arrays (got {path}: {error})") from None
    needed = {"temperature", "irradiance", "weekend"}
    for split in _SEEDS:
        needed |= {split, f"{split}_days"}
    if missing := sorted(needed - set(stored)):
        raise ValueError(f"path must hold arrays {sorted(needed)} (got {path}, without {missing})")
    for split in _SEEDS:
        shape = (len(stored[f"{split}_days"]), _NUM_RESIDENTS, stored[split].shape[2], 48)
        if stored[split].shape != shape:
            raise ValueError(f"{split} must have shape {shape} (got {stored[split].shape})")
    return stored


@cache
def _heat(split: str, path: Path | None) -> Tensor:
    stored = stored_homes(path)
    days = stored[f"{split}_days"].astype(np.int64)
    temperature, irradiance = (stored[name][days] for name in ("temperature", "irradiance"))
    homes = max(_FEWEST[split], stored[split].shape[2])
    return torch.tensor(heat_pumps(temperature, irradiance, homes, _SEEDS[split]))


class SimulatedPool:
    r"""Homes of 1 to 5 residents, with or without a heat pump, on the days of a year in Germany.

    A home is a load of appliances and, if it has one, that of a heat pump; both are drawn from
    those of the day without replacement. Loads of appliances depend on the day by its light and on
    weekends alone, so that in training those of the eight days most alike are taken together.

    Args:
        split: Days: ``"training"``, 292; ``"held_out"``, every fifth of the year; ``"many"``, 12
            of these with 200 homes of each size, for wholes of many homes.
        path: A file that ``examples/simulate_homes.py`` has written; by default that of the
            package.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the split is another, or the file is none of these.

    Attributes:
        fields: What describes a home: ``residents``, 1 to 5, and ``heat_pump``, 0 or 1.
        conditions: Of each day: mean temperature in °C, mean irradiance in W/m², that of 16 to 22
            hours, and whether it is on a weekend, ``[D, 4]``.
        names: Of the conditions.

    Example:
        >>> pool = SimulatedPool("held_out")
        >>> parts, load = pool.sample(torch.tensor([0]), torch.tensor([3]))
        >>> load.shape, sorted(parts)
        (torch.Size([3, 48]), ['heat_pump', 'residents'])
    """

    name = "simulated"
    fields = {"residents": Categorical(_NUM_RESIDENTS + 1), "heat_pump": Categorical(2)}  # noqa: RUF012
    names = ("temperature", "irradiance", "evening irradiance", "weekend")
    step_hours = 0.5
    most_parts = 400

    def __init__(self, split: Split = "training", path: str | Path | None = None) -> None:
        check_choice(split, "split", tuple(_SEEDS))
        self.split = split
        self.path = None if path is None else Path(path)
        stored = stored_homes(self.path)
        self.days = stored[f"{split}_days"].astype(np.int64)
        weather = [stored[n][self.days].astype(np.float64) for n in ("temperature", "irradiance")]
        evening = weather[1][:, 96:132].mean(1)
        weekend = stored["weekend"][self.days].astype(np.float64)
        conditions = np.stack([*(x.mean(1) for x in weather), evening, weekend], axis=1)
        self.conditions = torch.tensor(conditions, dtype=torch.float32)
        self.heat = _heat(split, self.path)
        base = stored[split].astype(np.float32)
        alike = np.arange(len(base))[:, None]
        if split == "training":
            of_day = np.stack([self.days / 15.0, conditions[:, 1] / 40.0, 1e3 * weekend], axis=1)
            distance = np.abs(of_day[:, None] - of_day[None]).sum(2)
            alike = np.argsort(distance, axis=1, kind="stable")[:, :_ALIKE]
        # [D, 5, homes of all days alike, 48]
        self.base = torch.tensor(
            np.concatenate([base[alike[:, k]] for k in range(alike.shape[1])], 2)
        )

    @property
    def num_days(self) -> int:
        """Number of days."""
        return len(self.days)

    def draw_days(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a day for each whole, ``[S]``."""
        return torch.randint(self.num_days, (len(num_parts),), generator=generator)

    def sample(
        self, day: Tensor, num_parts: Tensor, generator: torch.Generator | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Draw homes of days, ``[S]``, so many of each: their fields, and loads in kW, ``[N, T]``.

        The share of heat pumps varies from one whole to the next, from none to all.
        """
        batch = torch.arange(len(day)).repeat_interleave(num_parts)
        share = torch.rand(len(day), generator=generator)
        size = torch.multinomial(_SIZES, max(1, len(batch)), replacement=True, generator=generator)
        pump = torch.rand(len(batch), generator=generator) < share[batch]
        parts = {"residents": size[: len(batch)] + 1, "heat_pump": pump.long()}
        return parts, self.draw(day, parts, batch, generator)

    def draw(
        self,
        day: Tensor,
        parts: dict[str, Tensor],
        batch: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw loads of given homes on the days of their wholes, in kW, ``[N, T]``."""
        size = parts["residents"] - 1
        group = batch * _NUM_RESIDENTS + size
        base, heat = (
            table[day[batch], size, choose(group, table.shape[2], generator)]
            for table in (self.base, self.heat)
        )
        return (base + parts["heat_pump"].unsqueeze(1) * heat).clamp(min=_FLOOR)

    def composition(self, num_parts: int) -> dict[str, Tensor]:
        """Return homes of all sizes alike, two in five of them with a heat pump."""
        number = torch.arange(num_parts)
        fifth = (number // _NUM_RESIDENTS) % 5
        pump = (fifth == 1) | (fifth == 3) if num_parts > 4 else number % 2 == 1
        return {"residents": number % _NUM_RESIDENTS + 1, "heat_pump": pump.long()}
