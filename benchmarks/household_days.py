"""What limits the 95 % profile of 200 homes: the spread within a day, or the means of days.

    python benchmarks/household_days.py --into docs/results/households-small

Means of days are exchanged between the shipped model and the truth, and are predicted by a ridge
regression too, which is given the exact means of the training days: of the four conditions that
the model has, and of these with the mean temperature until noon. It writes ``days.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Options:
    into: Path
    """Folder for days.json."""

    num_wholes: int = 2000
    """Number of wholes of each sample."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch
from torch import Tensor

from compvae_pyg import CompVAE
from compvae_pyg.problems.households import SimulatedPool
from compvae_pyg.problems.households.simulated import stored_homes

HOMES = 200
KINDS = {"residents": torch.arange(10) % 5 + 1, "heat_pump": torch.arange(10) // 5}
STEPS = 48


def count_of(pool: SimulatedPool) -> Tensor:
    """Return how many homes of each kind are among 200, ``[10]``."""
    composition = pool.composition(HOMES)
    return torch.stack([composition[n].unsqueeze(1) == KINDS[n] for n in KINDS]).all(0).sum(0)


def expected(pool: SimulatedPool) -> Tensor:
    """Return the mean of 200 homes on each day, over all homes that there are, ``[D, T]``."""
    base, heat = pool.base.mean(2), pool.heat.mean(2)
    kinds = torch.cat([base, base + heat], dim=1).double()
    return (kinds * count_of(pool).view(1, -1, 1)).sum(1)


def known(pool: SimulatedPool, morning: bool) -> Tensor:
    """Return what a regression reads of days, ``[D, F]``."""
    *weather, weekend = pool.conditions.double().unbind(dim=1)
    train = SimulatedPool().conditions.double()
    scaled = [(x - y.mean()) / y.std() for x, y in zip(weather, train.T, strict=False)]
    columns = [torch.ones_like(weekend), weekend, *scaled, *(x**3 for x in scaled)]
    columns += [scaled[a] * scaled[b] for a in range(3) for b in range(a, 3)]
    cold = [((k - weather[0]) / 5.0).clamp(min=0.0) for k in (0.0, 5.0, 10.0, 15.0)]
    columns += cold
    if morning:
        outdoors = torch.tensor(stored_homes()["temperature"][pool.days]).double()
        change = outdoors[:, :72].mean(1) - weather[0]
        columns += [change, change * cold[-1]]
    return torch.stack(columns, dim=1)


def regression(pool: SimulatedPool, morning: bool) -> Tensor:
    """Return the means of days by a ridge regression of those of training, ``[D, T]``."""
    train = SimulatedPool()
    x = known(train, morning)
    inner = x.T @ x + 1e-2 * torch.eye(x.shape[1], dtype=x.dtype)
    return known(pool, morning) @ torch.linalg.solve(inner, x.T @ expected(train))


def draw(pool: SimulatedPool, day: Tensor) -> Tensor:
    """Draw true wholes of days, ``[S, T]``."""
    composition = pool.composition(HOMES)
    wholes = []
    for some in day.split(400):
        parts = {name: value.repeat(len(some)) for name, value in composition.items()}
        batch = torch.arange(len(some)).repeat_interleave(HOMES)
        wholes.append(pool.draw(some, parts, batch).view(len(some), HOMES, STEPS).sum(1))
    return torch.cat(wholes).double()


def measure(model: CompVAE, pool: SimulatedPool, number: int) -> dict[str, dict[str, float]]:
    """Return errors of the 95 % profile and of the means of days, by what is compared."""
    each = number // pool.num_days
    day = torch.arange(pool.num_days).repeat_interleave(each)
    true, other = draw(pool, day), draw(pool, day)
    counts = count_of(pool).expand(len(day), -1)
    own = model.generate_counts(counts, KINDS, context=pool.conditions[day]).double()

    def means(x: Tensor) -> Tensor:
        return x.view(-1, each, STEPS).mean(1)

    def spread(x: Tensor) -> Tensor:
        return x - means(x).repeat_interleave(each, 0)

    def of_days(mean: Tensor, whole: Tensor) -> Tensor:
        return mean.repeat_interleave(each, 0) + spread(whole)

    found = expected(pool)
    samples = {
        "generated": own,
        "true": other,
        "generated means of days, true spread": of_days(means(own), other),
        "true means of days, generated spread": of_days(means(other), own),
        "regression on the conditions, true spread": of_days(regression(pool, False), other),
        "and on the temperature until noon": of_days(regression(pool, True), other),
    }
    rows = {}
    for name, x in samples.items():
        profiles = x.quantile(0.95, 0) - true.quantile(0.95, 0)
        energy = means(x).mean(1) / found.mean(1) - 1.0
        rows[name] = {
            "q95_error": float(profiles.abs().mean() / true.mean()),
            "day_energy_error": float(energy.abs().max()),
        }
    return rows


def main(options: Options) -> None:
    torch.manual_seed(0)
    model = CompVAE.from_pretrained("households-small").requires_grad_(False)
    result = {
        str(pool.num_days): measure(model, pool, options.num_wholes)
        for pool in (SimulatedPool("many"), SimulatedPool("held_out"))
    }
    text = json.dumps({"torch": torch.__version__, "days": result}, indent=1)
    (options.into / "days.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(OPTIONS)
