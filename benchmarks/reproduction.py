"""Put the numbers of the committed results into docs/reproduction.md, dots.md and sines.md.

    python benchmarks/reproduction.py

They come from docs/results/PROBLEM-NETWORKS: from metrics.csv and evaluation.json of each training,
in seed*/, and from evaluation.json and the figures of the weights that the package ships, beside
them. Where there are none, the page says "not run". An entry over several seeds is their mean, with
the smallest and the largest where they differ visibly.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

if __name__ == "__main__":
    tyro.cli(lambda: None, description=__doc__)  # first, so that --help answers at once

import numpy as np

from compvae_pyg import Dots, Sines
from compvae_pyg.evaluation import format_table, read_evaluation
from compvae_pyg.plots import read_metrics

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
NOT_RUN = "not run"
MINUS_ZERO = re.compile(r"^-(?=[0.]+$)")


@dataclass(frozen=True)
class Run:
    """The results of one training."""

    metrics: dict[str, Any]
    report: dict[str, Any]

    def first(self, column: str) -> float:
        """Mean over the first tenth of the training in which a latent carries information."""
        values = np.trim_zeros(self.metrics[column], "f")
        return float(np.mean(values[: max(1, len(values) // 10)]))

    def last(self, column: str) -> float:
        """Mean over the last tenth of the training."""
        values = self.metrics[column]
        return float(np.mean(values[-max(1, len(values) // 10) :]))

    def at(self, num_parts: int, name: str) -> float:
        """Estimate of the evaluation for wholes of so many parts."""
        rows = {row["num_parts"]: row for row in self.report["rows"]}
        return float(rows[num_parts][name]["mean"])


@dataclass(frozen=True)
class Results:
    """The results of one kind of networks on one problem.

    Attributes:
        runs: The trainings, by seed.
        shipped: Rows of the evaluation of the shipped weights, by the number of parts.
    """

    runs: list[Run]
    shipped: dict[int, dict[str, Any]]


Entry = Callable[[Results], str]


def results_of(name: str) -> Results:
    folder = RESULTS / name
    runs = [
        Run(read_metrics(seed / "metrics.csv"), _json(seed / "evaluation.json"))
        for seed in sorted(folder.glob("seed*"))
    ]
    evaluation = folder / "evaluation.json"
    rows = _json(evaluation)["rows"] if evaluation.exists() else []
    return Results(runs, {row["num_parts"]: row for row in rows})


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def over_seeds(form: str, value: Callable[[Run], float]) -> Entry:
    """The mean over the seeds, and the extremes where they differ visibly."""

    def entry(results: Results) -> str:
        values = [value(run) for run in results.runs]
        if not values:
            return NOT_RUN
        mean = sum(values) / len(values)
        numbers = mean, min(values), max(values)
        shown, low, high = (MINUS_ZERO.sub("", form.format(number)) for number in numbers)
        return shown if low == high else f"{shown} ({low}–{high})"

    return entry


def joined(form: str, *entries: Entry) -> Entry:
    return lambda results: form.format(*(entry(results) for entry in entries))


def waves(size: int) -> Entry:
    names = ("generated_amplitude", "generated_amplitude_std", "generated_leak")
    return joined(
        "amplitude {}, sd {}, leak {}",
        *(over_seeds("{:.2f}", lambda run, name=name: run.at(size, name)) for name in names),
    )


def glitches(size: int) -> Entry:
    def entry(results: Results) -> str:
        if size not in results.shipped:
            return NOT_RUN
        row = results.shipped[size]
        own, true = (100.0 * row[f"{name}_glitches"]["mean"] for name in ("generated", "true"))
        return f"K = {size}: {own:.2f} % ({true:.2f} %)"

    return entry


def processor(machine: dict[str, Any]) -> str:
    cores, threads = machine["cores"], machine["threads"]
    used = f"{cores}" if threads == cores else f"{threads} of {cores}"
    return f"{used} CPU cores ({machine['cpu_capability']})"


def where(results: Results) -> str:
    reports = [run.report for run in results.runs]
    machines = [report.get("trained_on", report["machine"]) for report in reports]
    names = {machine.get("gpu") or processor(machine) for machine in machines}
    return ", ".join(sorted(names))


# What is the same for both problems.
TRAINING = {
    "w's": over_seeds("{:.0f}", lambda run: run.last("kl_w_bits")),
    "z": over_seeds("{:.3g}", lambda run: run.last("kl_z_bits")),
    "ratio": over_seeds(
        "{:,.0f}", lambda run: np.divide(run.last("kl_w_bits"), run.last("kl_z_bits"))
    ),
    "w's during training": joined(
        "{} at first, {} at the end",
        over_seeds("{:.0f}", lambda run: run.first("kl_w_bits")),
        over_seeds("{:.0f}", lambda run: run.last("kl_w_bits")),
    ),
    "z during training": joined(
        "{} at first, {} at the end",
        over_seeds("{:.3g}", lambda run: run.first("kl_z_bits")),
        over_seeds("{:.3g}", lambda run: run.last("kl_z_bits")),
    ),
    "parts": joined("1 to {}", over_seeds("{:.0f}", lambda run: run.metrics["max_parts"][-1])),
    "steps": over_seeds("{:,.0f}", lambda run: run.metrics["step"][-1]),
    "skipped": over_seeds("{:,.0f}", lambda run: run.metrics["skipped_steps"][-1]),
    "time": joined(
        "{} minutes on {}",
        over_seeds("{:.0f}", lambda run: run.metrics["seconds"][-1] / 60.0),
        where,
    ),
}

# What is compared, what the paper reports and where, and how ours is computed.
PUBLISHED: dict[str, list[tuple[str, str, Entry]]] = {
    "sines": [
        ("information in the w's, bits", "plateau at about 100 (§5.1, Fig. 4)", TRAINING["w's"]),
        ("information in z, bits", "about 10 (§5.1, Fig. 4)", TRAINING["z"]),
        ("w's : z", "about 10 (of the two above)", TRAINING["ratio"]),
        (
            "w's during training",
            "rise to a plateau (§5.1)",
            TRAINING["w's during training"],
        ),
        ("z during training", "steadily falls (§5.1)", TRAINING["z during training"]),
        ("parts of a whole in training", "1 to 16 (§4.3)", TRAINING["parts"]),
        ("beyond: K = 24 (truth 1.0, 0.3, 0)", "–", waves(24)),
        (
            "beyond: K = 30 (truth 1.0, 0.3, 0)",
            "“effectively used” up to 30, “results omitted for brevity” (§5.1)",
            waves(30),
        ),
        ("training steps", "up to 500,000 (§4.3)", TRAINING["steps"]),
        ("steps left out, not finite", "–", TRAINING["skipped"]),
        ("time to train", "1 day on a GTX 1080 (§4.3)", TRAINING["time"]),
    ],
    "dots": [
        ("information in the w's, bits", "about 200–300 (§5.2, Fig. 7)", TRAINING["w's"]),
        ("information in z, bits", "about 40–60 (§5.2, Fig. 7)", TRAINING["z"]),
        ("w's : z", "3 to 8 (of the two above)", TRAINING["ratio"]),
        ("w's during training", "“converging” (§5.2)", TRAINING["w's during training"]),
        ("z during training", "–", TRAINING["z during training"]),
        ("parts of a whole in training", "1 to 8 (§4.3)", TRAINING["parts"]),
        (
            "beyond: site accuracy over that of true images",
            "–",
            joined(
                "K = 12: {}; K = 16: {}",
                over_seeds("{:.3f}", lambda run: run.at(12, "accuracy_ratio")),
                over_seeds("{:.3f}", lambda run: run.at(16, "accuracy_ratio")),
            ),
        ),
        (
            "black and white glitches, share of pixels (of two true images)",
            "“some advents” (§5.2; Fig. 8, column 3, rows 3 and 5)",
            joined("{}; {}; {}", glitches(2), glitches(4), glitches(8)),
        ),
        ("training steps", "up to 500,000 (§4.3)", TRAINING["steps"]),
        ("steps left out, not finite", "–", TRAINING["skipped"]),
        ("time to train", "2 days on a GTX 1080 (§4.3)", TRAINING["time"]),
    ],
}

EVALUATE = "python examples/evaluate.py {0}-small --output docs/results/{0}-small"
TRAIN = {
    "dots": 'make dots ARGS="--steps 3000 --seed 2"',
    "sines": "python examples/train_sines.py",
}
# Number in the paper, what is shown, problem, name of the file, and what it is drawn from.
FIGURES = [
    ("2", "a whole against the sum of its parts", "sines", "sum", "the weights"),
    ("3", "examples of the data", "dots", "data", "the ground truth"),
    ("4", "losses, log scale, nats and bits", "sines", "losses", "seed0/metrics.csv"),
    ("5", "variance of one part", "sines", "variety", "the weights"),
    ("6", "recomposition", "sines", "recomposition", "the weights"),
    ("7", "losses, log scale, nats and bits", "dots", "losses", "seed0/metrics.csv"),
    ("8", "recomposition, four samples a column", "dots", "recomposition", "the weights"),
    ("10", "effect of C", "sines", "nonlinearity", "the ground truth"),
    ("–", "reconstructions", "dots", "reconstructions", "the weights"),
    ("–", "quality against K", "sines", "quality", "evaluation.json"),
    ("–", "quality against K", "dots", "quality", "evaluation.json"),
    ("–", "the whole is not the sum of its parts", "sines", "energy_distances", "evaluation.json"),
    ("–", "the whole is not the sum of its parts", "dots", "energy_distances", "evaluation.json"),
]
QUANTITIES = {problem.name: problem.quantities for problem in (Dots, Sines)}


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|".join("---" for _ in head)
    rows = [f"| {' | '.join(cells)} |" for cells in (head, *lines)]
    return "\n".join([rows[0], f"|{rule}|", *rows[1:]])


def compared(problem: str) -> str:
    presets = ("small", "narrow", "paper")
    networks = [results_of(f"{problem}-{preset}") for preset in presets]
    lines = [
        (name, published, *(entry(each) if each.runs else NOT_RUN for each in networks))
        for name, published, entry in PUBLISHED[problem]
    ]
    return table(("", "published", *(f"ours (`{preset}`)" for preset in presets)), lines)


def figures() -> str:
    lines = []
    for number, shown, problem, name, source in FIGURES:
        file = f"results/{problem}-small/{name}.png"
        there = (DOCS / file).exists()
        command = TRAIN[problem] if name == "losses" else EVALUATE.format(problem)
        if source.endswith((".json", ".csv")) and there:
            source = f"[{source}](results/{problem}-small/{source})"
        link = f"[{problem}-small/{name}.png]({file})" if there else NOT_RUN
        lines.append((number, f"{shown} ({problem})", link, f"`{command}`", source))
    return table(("paper", "what", "ours", "command", "drawn from"), lines)


def evaluated(problem: str) -> str:
    path = RESULTS / f"{problem}-small" / "evaluation.json"
    if not path.exists():
        return NOT_RUN
    return format_table(read_evaluation(path, quantities=QUANTITIES[problem]))


def waves_of(path: Path, sizes: Sequence[int]) -> list[list[str]]:
    """Return rows of ``WAVES``, of an evaluation, after the number of parts."""
    rows = {row["num_parts"]: row for row in _json(path)["rows"]}
    lines = []
    for size in sizes:
        value = {n: v["mean"] for n, v in rows[size].items() if isinstance(v, dict)}
        distance = value["generated_energy_distance"] / value["true_energy_distance"]
        classified = value.get("generated_classifier_accuracy")
        lines.append(
            [
                f"{size}",
                f"{value['generated_amplitude'] / value['true_amplitude']:.2f}",
                f"{value['generated_amplitude_std']:.2f} ({value['true_amplitude_std']:.2f})",
                f"{value['generated_leak']:.3f}",
                f"{distance:.2f}",
                "–" if classified is None else f"{classified:.2f}",
                f"{value['kl_w'] / np.log(2.0):.0f}",
                f"{value['elbo']:.0f}",
            ]
        )
    return lines


WAVES = ("amplitude / true", "sd (true)", "leak", "energy / oracle", "C2ST", "KL_w bits", "ELBO")


def targets() -> str:
    folder, lines = RESULTS / "sines-small", []
    for name in ("", "seed1", "seed2"):
        path = folder / name / "evaluation.json"
        if path.exists():
            sizes = [row["num_parts"] for row in _json(path)["rows"] if row["num_parts"] <= 30]
            shown = name or "shipped"
            lines += [[shown, *line] for line in waves_of(path, sizes)]
    return table(("", "K", *WAVES), lines)


# What is asked of the dots: the measure, the bound, numbers of parts, and how it is computed.
Measure = Callable[[Run, int], float]


def over(name: str, other: str) -> Measure:
    return lambda run, size: run.at(size, name) / run.at(size, other)


def estimate(name: str) -> Measure:
    return lambda run, size: run.at(size, name)


TO_16 = (1, 2, 4, 8, 16)
OF_DOTS: list[tuple[str, str, Sequence[int], str, Measure]] = [
    (
        "accuracy of a classifier (C2ST)",
        "≤ 0.60",
        TO_16,
        "{:.2f}",
        estimate("generated_classifier_accuracy"),
    ),
    (
        "energy distance over that of two true samples",
        "≤ 2",
        TO_16[1:],
        "{:.2f}",
        over("generated_energy_distance", "true_energy_distance"),
    ),
    ("site accuracy over the true one", "≥ 0.98", TO_16, "{:.3f}", estimate("accuracy_ratio")),
    ("rmse to the truth", "≤ 0.02 at K = 1", (1,), "{:.3f}", estimate("generated_rmse")),
    ("KL_w, nats", "≤ 5 at K = 1", TO_16, "{:.1f}", estimate("kl_w")),
    ("KL_z, nats", "≤ 50 at K = 64", (*TO_16, 64), "{:.1f}", estimate("kl_z")),
    ("reconstruction rmse", "≤ 0.03 at K = 4", TO_16, "{:.3f}", estimate("reconstruction_rmse")),
    ("ELBO, nats", "≥ 7,500 at K = 4", TO_16, "{:,.0f}", estimate("elbo")),
    (
        "spread of images of the same sites, over the true one",
        "1",
        TO_16[1:],
        "{:.2f}",
        over("generated_spread", "true_spread"),
    ),
]


def targets_of_dots() -> str:
    results, sizes = results_of("dots-small"), (*TO_16, 64)
    lines = [
        (
            name,
            bound,
            *(
                over_seeds(form, lambda run, k=size, m=measure: m(run, k))(results)
                if size in asked
                else ""
                for size in sizes
            ),
        )
        for name, bound, asked, form, measure in OF_DOTS
    ]
    return table(("measure", "asked for", *(f"K = {size}" for size in sizes)), lines)


# Names of what benchmarks/ablate_sines.py takes out, in the order of the table.
ABLATIONS = {
    "nothing": "nothing: the reference",
    "start": "the start of each category in a group of its own",
    "groups": "one network for all groups: all are read at once",
    "count": "the count of the parts in the sum",
    "matching": "code matching",
    "moments": "the prior that follows the posterior's moments",
    "multiplicity": "the division by how many parts share a row",
    "noise": "the noise that falls",
    "few": "few waves more often than many",
}


def ablations() -> str:
    lines = []
    for name, shown in ABLATIONS.items():
        path = RESULTS / "sines-ablations" / f"{name}.json"
        if path.exists():
            sizes = [row["num_parts"] for row in _json(path)["rows"]]
            columns = list(zip(*waves_of(path, sizes), strict=True))
            _, amplitude, sd, leak, distance, _, bits, elbo = (", ".join(c) for c in columns)
            sd = re.sub(r" \(.*?\)", "", sd)
            lines.append((shown, amplitude, sd, leak, distance, bits, elbo))
    names = [name for name in WAVES if name != "C2ST"]
    return table(("taken out", *names), lines) if lines else NOT_RUN


SECTIONS = {
    **{f"published {problem}": (compared, problem) for problem in PUBLISHED},
    **{f"evaluated {problem}": (evaluated, problem) for problem in PUBLISHED},
    "figures": (figures,),
}
PAGES = {
    "reproduction.md": SECTIONS,
    "dots.md": {"targets": (targets_of_dots,)},
    "sines.md": {"targets": (targets,), "ablations": (ablations,)},
}


def renewed(page: str, sections: Mapping[str, Any] = SECTIONS) -> str:
    """Return a page with all between its markers as the results are now."""
    for name, (make, *arguments) in sections.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        before, *after = re.split(pattern, page, flags=re.DOTALL)
        if len(after) != 1:
            raise ValueError(f"the page must have the markers of {name!r} once (got {len(after)})")
        page = f"{before}{begin}\n{make(*arguments)}\n\n{end}{after[0]}"
    return page


def main() -> None:
    for name, sections in PAGES.items():
        page = DOCS / name
        page.write_text(renewed(page.read_text(encoding="utf-8"), sections), encoding="utf-8")


if __name__ == "__main__":
    main()
