"""Measure trainings on homes that share their day by what is asked of them, and make the tables.

    python benchmarks/households.py --models outputs/households --into docs/results/households-small
    python benchmarks/households.py --page docs/households.md

The first measures models of ``examples/train_households.py``, folders of one kind of training, by
what its ``evaluation.json`` does not have, and writes ``bars.json`` into as many folders. The
second makes the tables of the page, between its marks, of all that is in ``docs/results``: means
of the seeds, with the smallest and the largest.
"""

import copy
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tyro


@dataclass
class Options:
    models: tuple[Path, ...] = ()
    """Folders of models to measure."""

    into: tuple[Path, ...] = ()
    """Folders for their bars.json, as many."""

    page: Path | None = None
    """Page for the tables, which has marks of the names of the folders of results."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch
from torch import Tensor
from tqdm import trange

from compvae_pyg import CompVAE
from compvae_pyg.evaluation.ensembles import compare_curves
from compvae_pyg.plots import read_metrics
from compvae_pyg.problems import problem_of
from compvae_pyg.problems.households import Households, SimulatedPool
from compvae_pyg.simulation import rare_wholes

RESULTS = Path(__file__).parents[1] / "docs" / "results"
HOMES = 50  # of which peaks are asked for
WHOLES = 20_000  # of each day, for levels that are exceeded once in 1,000


def kinds_of(pool: SimulatedPool) -> tuple[dict[str, Tensor], Tensor]:
    """Return the ten kinds of homes, and how many of each are among 50."""
    composition = pool.composition(HOMES)
    kinds = {"residents": torch.arange(10) % 5 + 1, "heat_pump": torch.arange(10) // 5}
    same = torch.stack([composition[n].unsqueeze(1) == kinds[n] for n in kinds]).all(0)
    return kinds, same.sum(0)


def of_kinds(homes: Households, number: int, curves: Callable[[Any], Tensor]) -> dict[str, float]:
    """Return errors of curves of single homes, of the kinds of true ones: means over ten kinds."""
    found = []
    for residents in range(1, 6):
        for pump in (0, 1):
            of = {"residents": residents, "heat_pump": pump}
            truth = homes.ensembles(1, number, of=of)
            found.append(compare_curves(curves(of), truth.whole, 1))
    names = ("mean_error", "q95_error")
    return {name: sum(row[name] for row in found) / len(found) for name in names}


def single_homes(model: CompVAE, homes: Households, number: int) -> dict[str, float]:
    """Return errors of single homes: generated, other true ones, and those of training."""
    training = Households(day=homes.day)
    samples: dict[str, Callable[[Any], Tensor]] = {
        "single": lambda of: model.generate(homes.pack(homes.ensembles(1, number, of=of))),
        "single_true": lambda of: homes.ensembles(1, number, of=of).whole,
        "single_training": lambda of: training.ensembles(1, number, of=of).whole,
    }
    return {
        f"{sample}_{name}": value
        for sample, curves in samples.items()
        for name, value in of_kinds(homes, number, curves).items()
    }


def same_day(model: CompVAE, homes: Households, number: int, size: int = 8) -> dict[str, float]:
    """Return how the energies of two homes of a day are correlated, from wholes of 8 and of 1."""
    found = {}
    for pump, name in enumerate(("without", "with")):
        of = {"residents": 2, "heat_pump": pump}
        many, one = (homes.ensembles(k, number, of=of) for k in (size, 1))
        samples = {
            "true_": (many.whole, one.whole),
            "": tuple(model.generate(homes.pack(data)) for data in (many, one)),
        }
        for sample, (x, y) in samples.items():
            ratio = float(x.mean(1).var() / y.mean(1).var()) / size
            found[f"{sample}r_{name}_heat_pump"] = (ratio - 1.0) / (size - 1)
    return found


def many_homes(model: CompVAE, pool: SimulatedPool, day: str, repeats: int = 20) -> dict[str, Any]:
    """Return how 10,000 homes on each of 12 days follow the means of all homes of the pool."""
    kinds, count = kinds_of(pool)
    number = 10_000 * count / count.sum()
    base, heat = pool.base.mean(2), pool.heat.mean(2)
    truth = torch.cat([base, base + heat], dim=1).mul(number.view(1, -1, 1)).sum(1) / 10_000
    context = None if day == "hidden" else pool.conditions.repeat_interleave(repeats, 0)
    counts = number.expand(pool.num_days * repeats, -1)
    drawn = model.generate_counts(counts, kinds, context=context) / 10_000
    spread = float(drawn.mean(1).std() / truth.mean(1).std())
    if day == "hidden":
        return {"many_spread_ratio": spread}
    mean = drawn.view(pool.num_days, repeats, -1).mean(1)
    halves = [
        torch.cat([b, b + heat], dim=1).mul(number.view(1, -1, 1)).sum(1) / 10_000
        for b in (pool.base[:, :, 0::2].mean(2), pool.base[:, :, 1::2].mean(2))
    ]
    noise = float((halves[0] - halves[1]).square().mean()) / 4.0
    return {
        "many_spread_ratio": spread,
        "many_correlation": correlation(mean, truth),
        "many_energy_correlation": correlation(mean.mean(1), truth.mean(1)),
        "many_ceiling": math.sqrt(1.0 - noise / float(truth.var())),
    }


def correlation(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1])


@cache
def true_peaks() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return peaks of 50 homes on each of 12 days: of all true homes, and of two halves of them."""
    pool = SimulatedPool("many")
    composition = pool.composition(HOMES)
    batch = torch.arange(1000).repeat_interleave(HOMES)
    parts = {name: value.repeat(1000) for name, value in composition.items()}
    found = []
    for day in trange(pool.num_days, desc="true peaks"):
        of_day = []
        for half in (slice(None), slice(0, None, 2), slice(1, None, 2)):
            some = copy.copy(pool)
            some.base, some.heat = pool.base[:, :, half], pool.heat[:, :, half]
            peaks = []
            for _ in range(WHOLES // 1000):
                load = some.draw(torch.full((1000,), day), parts, batch)
                peaks.append(load.view(1000, HOMES, -1).sum(1).amax(1))
            of_day.append(torch.cat(peaks))
        found.append((of_day[0], of_day[1], of_day[2]))
    return found


def rare_peaks(model: CompVAE, pool: SimulatedPool, subset: int = 2000) -> dict[str, Any]:
    """Return how likely the model exceeds the peak that 1 in 1,000 true wholes of 50 homes exceeds.

    On any of the 12 days, and on each of them: by all wholes of the model, by subset simulation on
    every fourth day, and by true wholes of one half of the homes for a level of the other half's,
    which is how well the truth is known.
    """
    kinds, count = kinds_of(pool)
    true, generated, days = [], [], []
    for day, (whole, one, other) in enumerate(true_peaks()):
        context = pool.conditions[day : day + 1]
        counts = count.expand(WHOLES // 10, -1)
        days_of = context.expand(len(counts), -1)
        own = torch.cat(
            [model.generate_counts(counts, kinds, context=days_of).amax(1) for _ in range(10)]
        )
        level = float(whole.quantile(0.999))
        row = {
            "temperature": float(context[0, 0]),
            "level": level,
            "own_level": float(own.quantile(0.999)),
            "mean_peak_ratio": float(own.mean() / whole.mean()),
            "probability": float((own > level).double().mean()),
            "probability_of_other_homes": float((other > one.quantile(0.999)).double().mean()),
        }
        if day % 4 == 0:
            rare = rare_wholes(
                model,
                kinds,
                lambda load: load.amax(dim=1),
                level=level,
                count=count,
                context=context,
                num_samples=subset,
                progress=False,
            )
            row["probability_by_subset_simulation"] = rare.probability
        true.append(whole)
        generated.append(own)
        days.append(row)
    level = float(torch.cat(true).quantile(0.999))
    return {
        "peak_probability": float((torch.cat(generated) > level).double().mean()),
        "peak_days": days,
    }


def measure(folder: Path, number: int = 3000) -> dict[str, Any]:
    """Return what is measured of a model, by name."""
    torch.manual_seed(0)
    model = CompVAE.from_pretrained(folder)
    homes = problem_of(model)
    assert isinstance(homes, Households) and isinstance(homes.pool, SimulatedPool)
    held_out = homes.held_out()
    assert isinstance(held_out, Households)
    many = SimulatedPool("many")
    found: dict[str, Any] = single_homes(model, held_out, number)
    torch.manual_seed(1)
    found |= same_day(model, held_out, number)
    torch.manual_seed(2)
    found |= many_homes(model, many, homes.day)
    if homes.day == "given":
        torch.manual_seed(3)
        found |= rare_peaks(model, many)
    return found


@dataclass(frozen=True)
class Run:
    """What is committed of one training."""

    rows: dict[tuple[str, int], dict[str, float]]
    bars: dict[str, Any]
    metrics: dict[str, Any]

    def ratio(self, size: int, name: str, of: str = "generated") -> float:
        """Return an entry of the evaluation, or what it is in units of the true one."""
        row = self.rows[of, size]
        if name == "admd_error":
            return row["admd"] / row["true_admd"] - 1.0
        if name == "distance_ratio":
            return row["energy_distance"] / self.rows["true", size]["energy_distance"]
        return row[name]

    def last(self, name: str) -> float:
        """Return the mean over the last tenth of the training."""
        values = self.metrics[name]
        return float(sum(values[-max(1, len(values) // 10) :]) / max(1, len(values) // 10))


Entry = Callable[[Run], float]


def sizes(name: str, *of: int) -> list[tuple[str, Entry]]:
    return [(f"K = {size}", lambda run, k=size: run.ratio(k, name)) for size in of]  # type: ignore[misc]


def bar(name: str) -> Entry:
    return lambda run: float(run.bars[name])


def days(name: str, reduce: Callable[[Any], Any]) -> Entry:
    return lambda run: float(
        reduce(torch.tensor([1e3 * row[name] for row in run.bars["peak_days"] if name in row]))
    )


# What was asked for, and where it is found.
TABLES: dict[str, list[tuple[str, str, str, list[tuple[str, Entry]]]]] = {
    "households-small": [
        (
            "variance of daily energy / true",
            "0.9–1.1",
            "{:.2f}",
            sizes("energy_variance_ratio", 4, 16, 50, 200),
        ),
        ("error of the mean profile", "≤ 0.02", "{:.3f}", sizes("mean_error", 16, 50, 200)),
        ("error of the 95 % profile", "≤ 0.05", "{:.3f}", sizes("q95_error", 16, 50, 200)),
        ("mean peak of a home, error", "± 0.02", "{:+.3f}", sizes("admd_error", 16, 50, 200)),
        ("99 % quantile of the peak, error", "± 0.05", "{:+.3f}", sizes("peak_error", 16, 50, 200)),
        (
            "error of the 95 % profile of one home, mean of ten kinds",
            "≤ 0.2",
            "{:.3f}",
            [
                ("generated", bar("single_q95_error")),
                ("training homes", bar("single_training_q95_error")),
                ("oracle", bar("single_true_q95_error")),
            ],
        ),
        (
            "10,000 homes: correlation of day profiles",
            "≥ 0.98",
            "{:.3f}",
            [("generated", bar("many_correlation")), ("at most", bar("many_ceiling"))],
        ),
        (
            "10,000 homes: spread of days / true",
            "0.9–1.1",
            "{:.2f}",
            [("generated", bar("many_spread_ratio"))],
        ),
        (
            "peak that 1 in 1,000 of 50 homes exceed: per thousand, any day",
            "0.8–1.25",
            "{:.2f}",
            [("generated", bar("peak_probability_per_thousand"))],
        ),
        (
            "the same on single days",
            "0.8–1.25",
            "{:.1f}",
            [
                ("lowest", days("probability", torch.min)),
                ("median", days("probability", torch.median)),
                ("highest", days("probability", torch.max)),
                ("other true homes, highest", days("probability_of_other_homes", torch.max)),
            ],
        ),
    ],
    "households-hidden": [
        (
            "variance of daily energy / true",
            "0.8–1.25",
            "{:.2f}",
            sizes("energy_variance_ratio", 4, 16, 50),
        ),
        (
            "same-day r without heat pumps",
            "true ± 0.1",
            "{:.2f}",
            [("generated", bar("r_without_heat_pump")), ("true", bar("true_r_without_heat_pump"))],
        ),
        (
            "same-day r with heat pumps",
            "true ± 0.1",
            "{:.2f}",
            [("generated", bar("r_with_heat_pump")), ("true", bar("true_r_with_heat_pump"))],
        ),
        ("KL_z, bits", "≥ 1", "{:.1f}", [("", lambda run: run.last("kl_z_bits"))]),
        ("error of the mean profile", "–", "{:.3f}", sizes("mean_error", 4, 16, 50, 200)),
        ("error of the 95 % profile", "–", "{:.3f}", sizes("q95_error", 4, 16, 50, 200)),
    ],
    "households-citylearn": [
        (
            "variance of daily energy / true",
            "0.85–1.15",
            "{:.2f}",
            sizes("energy_variance_ratio", 2, 4, 8, 16),
        ),
        ("error of the mean profile", "≤ 0.04", "{:.3f}", sizes("mean_error", 2, 4, 8, 16)),
        ("error of the 95 % profile", "≤ 0.10", "{:.3f}", sizes("q95_error", 4, 8, 16)),
        ("mean peak, error", "± 0.05", "{:+.3f}", sizes("admd_error", 4, 8, 16)),
        (
            "energy distance / that of two true samples",
            "≤ 2.5",
            "{:.1f}",
            [
                *sizes("distance_ratio", 1, 2, 4, 8, 16),
                ("training days, K = 16", lambda run: run.ratio(16, "distance_ratio", "training")),
            ],
        ),
        ("KL_z, bits", "–", "{:.1f}", [("", lambda run: run.last("kl_z_bits"))]),
    ],
}


def runs_of(folder: Path) -> list[Run]:
    """Return the trainings of a folder: its own, of seed 0, and those of others beside it."""
    return [read(path) for path in (folder, *sorted(folder.glob("seed*")))]


def read(folder: Path) -> Run:
    """Return what is committed of one training."""
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    file = folder / "bars.json"
    bars = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "peak_probability" in bars:
        bars["peak_probability_per_thousand"] = 1e3 * bars["peak_probability"]
    rows = {(row["sample"], row["num_parts"]): row for row in report["rows"]}
    return Run(rows, bars, dict(read_metrics(folder / "metrics.csv")))


SAMPLES = {
    "generated": "generated",
    "true": "oracle",
    "independent": "independent",
    "independent generated": "independent, generated",
    "training": "training days",
    "gaussian": "their Gaussian",
}
COMPARED = {
    "variance of daily energy / true": ("energy_variance_ratio", "{:.2f}"),
    "error of the mean profile": ("mean_error", "{:.3f}"),
    "error of the 5 % profile": ("q05_error", "{:.3f}"),
    "error of the 95 % profile": ("q95_error", "{:.3f}"),
    "mean peak, error": ("admd_error", "{:+.3f}"),
    "99 % quantile of the peak, error": ("peak_error", "{:+.3f}"),
    "energy distance, a home": ("energy_distance", "{:.4f}"),
    "MMD": ("mmd", "{:.4f}"),
}


def baselines(name: str, size: int) -> str:
    """Return a table of all samples of one number of homes, means of the seeds."""
    runs = runs_of(RESULTS / name)
    lines = [f"| {size} homes | {' | '.join(SAMPLES.values())} |", "|---|" + "--:|" * len(SAMPLES)]
    for label, (entry, form) in COMPARED.items():
        values = [sum(run.ratio(size, entry, of) for run in runs) / len(runs) for of in SAMPLES]
        lines.append(f"| {label} | {' | '.join(form.format(v) for v in values)} |")
    return "\n".join(lines)


def table_of(name: str) -> str:
    """Return the table of a folder of results: means of seeds, and their range."""
    runs = runs_of(RESULTS / name)
    lines = [f"| mean of {len(runs)} seeds (range) | asked for | |", "|---|--:|---|"]
    for label, asked, form, entries in TABLES[name]:
        cells = []
        for title, entry in entries:
            values = [entry(run) for run in runs]
            mean, low, high = (
                form.format(v) for v in (sum(values) / len(values), min(values), max(values))
            )
            span = mean if low == high else f"{mean} ({low} to {high})"
            cells.append(f"{title}: {span}" if title else span)
        lines.append(f"| {label} | {asked} | {'; '.join(cells)} |")
    return "\n".join(lines)


# What training for longer changes, or does not.
BY_STEPS: list[tuple[str, str, Entry]] = [
    *(
        (
            f"variance / true, K = {k}",
            "{:.2f}",
            lambda run, k=k: run.ratio(k, "energy_variance_ratio"),
        )
        for k in (4, 50, 200)
    ),
    ("95 % profile, K = 50", "{:.3f}", lambda run: run.ratio(50, "q95_error")),
    ("K = 200", "{:.3f}", lambda run: run.ratio(200, "q95_error")),
    ("of one home", "{:.2f}", bar("single_q95_error")),
    ("rare peaks, per thousand", "{:.2f}", bar("peak_probability_per_thousand")),
]


def by_steps(name: str) -> str:
    """Return a table of trainings of seed 0 of several lengths, in folders by their steps."""
    folders = [RESULTS / name, *(RESULTS / name).glob("steps*")]
    runs = {int(run.metrics["step"][-1]): run for run in map(read, folders)}
    lines = [
        f"| steps | {' | '.join(title for title, _, _ in BY_STEPS)} |",
        "|--:|" + "--:|" * len(BY_STEPS),
    ]
    for steps, run in sorted(runs.items()):
        cells = [form.format(entry(run)) for _, form, entry in BY_STEPS]
        lines.append(f"| {steps:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


# Single homes, by `benchmarks/faraday.py`: means of kinds, of errors without their signs.
SINGLE: dict[str, tuple[str, Callable[[dict[str, float]], float]]] = {
    "error of the mean profile": ("{:.3f}", lambda row: row["mean_error"]),
    "error of the 5 % profile": ("{:.3f}", lambda row: row["q05_error"]),
    "error of the median profile": ("{:.3f}", lambda row: row["q50_error"]),
    "error of the 95 % profile": ("{:.3f}", lambda row: row["q95_error"]),
    "variance of daily energy / true": ("{:.2f}", lambda row: row["energy_variance_ratio"]),
    "mean peak, error": ("{:.3f}", lambda row: abs(row["admd"] / row["true_admd"] - 1.0)),
    "99 % quantile of the peak, error": ("{:.3f}", lambda row: abs(row["peak_error"])),
    "energy distance": ("{:.4f}", lambda row: row["energy_distance"]),
    "nearest home of training, 1 %": ("{:.2f}", lambda row: row["nearest_one_percent"]),
}


def beside_faraday() -> str:
    """Return a table of single homes: those of another model, of the shipped one, and true ones."""
    file = RESULTS / "households-faraday" / "faraday.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    names = {"faraday": "Faraday", "households-small": "this model", "true": "other true homes"}
    lines = [f"| one home | {' | '.join(names.values())} |", "|---|" + "--:|" * len(names)]
    for label, (form, entry) in SINGLE.items():
        values = [[entry(row) for row in rows if row["sample"] == name] for name in names]
        means = (form.format(sum(some) / len(some)) for some in values)
        lines.append(f"| {label} | {' | '.join(means)} |")
    return "\n".join(lines)


def means_of_days() -> str:
    """Return a table of what `benchmarks/household_days.py` found of 200 homes."""
    file = RESULTS / "households-small" / "days.json"
    days = json.loads(file.read_text(encoding="utf-8"))["days"]
    each = [f"95 % profile, {n} days | energy of a day, at most" for n in days]
    lines = [f"| 200 homes, error | {' | '.join(each)} |", "|---|" + 2 * len(days) * "--:|"]
    for name in next(iter(days.values())):
        rows = [some[name] for some in days.values()]
        cells = (f"{row['q95_error']:.3f} | {row['day_energy_error']:.3f}" for row in rows)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return all tables of the page by their marks."""
    found = {name: table_of(name) for name in TABLES}
    found["by steps"] = by_steps("households-small")
    found["beside Faraday"] = beside_faraday()
    found["means of days"] = means_of_days()
    return {**found, "beside the simpler": baselines("households-small", HOMES)}


def main(options: Options) -> None:
    for model, folder in zip(options.models, options.into, strict=True):
        text = json.dumps(measure(model), indent=2)
        (folder / "bars.json").write_text(text + "\n", encoding="utf-8")
    if options.page is None:
        return
    page = options.page.read_text(encoding="utf-8")
    for name, text in tables().items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, *after = re.split(f"{begin}.*?{end}", page, flags=re.DOTALL)
        if len(after) != 1:
            raise ValueError(f"page must have the mark <!-- {name} --> once (got {len(after)})")
        page = f"{before}{begin}\n{text}\n\n{end}{after[0]}"
    options.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(OPTIONS)
