"""Summarise trainings on the dots, or on the sines, as a Markdown table.

    python benchmarks/summarise.py docs/results/dots-small/seed* --into README.md
    python benchmarks/summarise.py --beside docs/results/dots-sum docs/results/dots-mean

Each folder holds an ``evaluation.json``. An entry is the mean over the seeds; where they differ
visibly, the smallest and the largest of them stand beside it. With ``--into``, the table replaces
what stands in a page between ``<!-- dots-small -->``, the folder's name, and ``<!-- end -->``.
With ``--beside`` the folders are trainings of different kinds, of one seed or of several in
``seed*/``, and the table goes into ``docs/compositions.md``, between the marks of its problem.
"""

import json
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

PAGE = Path(__file__).parents[1] / "docs" / "compositions.md"
MINUS_ZERO = re.compile(r"^-(?=[0.]+$)")
COLUMNS = {
    "site accuracy": ("generated_accuracy", "{:.3f}"),
    "that of the ground truth": ("true_accuracy", "{:.3f}"),
    "ratio": ("accuracy_ratio", "{:.3f}"),
    "rec. rmse": ("reconstruction_rmse", "{:.3f}"),
    "rmse to ground truth": ("generated_rmse", "{:.3f}"),
    "oracle rmse": ("true_rmse", "{:.3f}"),
    "amplitude": ("generated_amplitude", "{:.2f}"),
    "amplitude of the ground truth": ("true_amplitude", "{:.2f}"),
    "its sd": ("generated_amplitude_std", "{:.2f}"),
    "sd of the ground truth": ("true_amplitude_std", "{:.2f}"),
    "leak": ("generated_leak", "{:.2f}"),
    "KL_w (bits)": ("kl_w", "{:.0f}"),
    "KL_z (bits)": ("kl_z", "{:.1f}"),
    "ELBO (nats)": ("elbo", "{:.0f}"),
}
# What trainings of different kinds are compared by.
BESIDE = ("ratio", "amplitude", "its sd", "rec. rmse", "KL_w (bits)", "ELBO (nats)")

Rows = dict[int, dict[str, Any]]


@dataclass
class Options:
    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders with an evaluation.json, or, with --beside, with seed*/evaluation.json."""

    into: Path | None = None
    """Page for the table, which has marks of the folder's name."""

    beside: bool = False
    """Compare trainings of different kinds, and put the table into docs/compositions.md."""


def main(options: Options) -> None:
    if not options.beside:
        text = over_seeds([rows_of(folder) for folder in options.folders])
        print(text)
        if options.into is not None:
            name = options.folders[0].resolve().parent.name
            page = options.into.read_text(encoding="utf-8")
            options.into.write_text(renewed(page, name, text), encoding="utf-8")
        return
    problem, text = side_by_side(options.folders)
    print(text)
    mark = f"aggregations of the {problem}"
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), mark, text), encoding="utf-8")


def over_seeds(reports: list[Rows]) -> str:
    """One line for each number of parts, which all reports must have."""
    if any(report.keys() != reports[0].keys() for report in reports):
        raise ValueError("all evaluations must have the same numbers of parts")
    # What both problems have in common, and what this one has.
    columns = [title for title, (name, _) in COLUMNS.items() if name in first_row(reports[0])]
    lines = [
        [str(size), *(cell(title, [report[size] for report in reports]) for title in columns)]
        for size in reports[0]
    ]
    return table(["K", *columns], lines)


def side_by_side(folders: tuple[Path, ...]) -> tuple[str, str]:
    """The problem, and trainings beside each other for the numbers of parts that all have."""
    kinds = {}
    for folder in folders:
        seeds = [rows_of(seed) for seed in sorted(folder.glob("seed*"))]
        # The weights that are kept, one of the seeds, may have been evaluated further.
        further = rows_of(folder) if (folder / "evaluation.json").exists() else {}
        sizes = sorted({size for rows in [further, *seeds] for size in rows})
        kinds[folder.name] = {
            size: [rows[size] for rows in seeds if size in rows] or [further[size]]
            for size in sizes
        }
    common = sorted(set.intersection(*(set(kind) for kind in kinds.values())))
    if not common:
        raise ValueError("the folders must have evaluations of the same numbers of parts")
    row = next(iter(kinds.values()))[common[0]][0]
    titles = [title for title in BESIDE if COLUMNS[title][0] in row]
    lines = [
        [str(size), *(cell(title, kind[size]) for title in titles for kind in kinds.values())]
        for size in common
    ]
    header = ["K", *(f"{title}: {name}" for title in titles for name in kinds)]
    counts = (f"{max(map(len, kind.values()))} of `{name}`" for name, kind in kinds.items())
    problem = "dots" if "true_accuracy" in row else "sines"
    caption = (
        f"Trainings of the {problem}, by folder of `docs/results`, {', '.join(counts)}. "
        "Means, with the smallest and the largest in brackets; "
        f"`python benchmarks/summarise.py --beside {' '.join(map(str, folders))}`:"
    )
    caption = textwrap.fill(caption, 118, break_long_words=False, break_on_hyphens=False)
    return problem, f"{caption}\n\n{table(header, lines)}"


def renewed(page: str, mark: str, text: str) -> str:
    """A page with a passage between a mark and the next end."""
    begin, end = f"<!-- {mark} -->\n", "<!-- end -->"
    before, *after = re.split(f"{begin}.*?{end}", page, flags=re.DOTALL)
    if len(after) != 1:
        raise ValueError(f"the page must have the mark <!-- {mark} --> once (got {len(after)})")
    return f"{before}{begin}\n{text}\n\n{end}{after[0]}"


def rows_of(folder: Path) -> Rows:
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return {row["num_parts"]: row for row in report["rows"]}


def first_row(rows: Rows) -> dict[str, Any]:
    return next(iter(rows.values()))


def cell(title: str, rows: list[dict[str, Any]]) -> str:
    name, form = COLUMNS[title]
    unit = math.log(2.0) if "bits" in title else 1.0
    means = [row[name]["mean"] for row in rows]
    if None in means:  # what no whole of the evaluation had
        return ""
    values = [mean / unit for mean in means]
    numbers = sum(values) / len(values), min(values), max(values)
    mean, low, high = (MINUS_ZERO.sub("", form.format(value)) for value in numbers)
    return mean if low == high else f"{mean} ({low}–{high})"


def table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(
        [
            f"| {' | '.join(header)} |",
            "|--:|" + "--:|" * (len(header) - 1),
            *(f"| {' | '.join(line)} |" for line in lines),
        ]
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
