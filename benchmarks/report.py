"""Turn results of the suites into tables, plots and the page that shows them.

    python benchmarks/report.py outputs/benchmarks/*.json    # new results
    python benchmarks/report.py                              # tables and plots of those kept

Of each file of pytest-benchmark's it keeps the medians and quartiles, with command, commit,
versions, machine and threads, as ``benchmarks/results/SUITE.json``. From these it writes the plots
beside them, and the tables into ``docs/performance.md``, between marks that name them. Results on
one thread of several (``--threads 1``) are kept apart, in ``one-thread``, for the targets' table,
and those on a GPU in ``cuda``, for a section of their own.
"""

import json
import re
import statistics
import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# What was measured on one thread of several; the table of targets alone shows it.
ONE_THREAD = RESULTS / "one-thread"
CUDA = RESULTS / "cuda"
PAGE = ROOT / "docs" / "performance.md"
MARKS = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = dict[str, Any]
Rows = list[Row]


def quartiles(values: Sequence[float]) -> list[float]:
    """First quartile, median and third quartile."""
    if len(values) < 2:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def compact(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is kept of a file of pytest-benchmark's, by suite.

    Times are in seconds; ``ratio`` is each contender's time over the first one's, round by round.
    """
    suites: dict[str, dict[str, Any]] = {}
    for benchmark in raw["benchmarks"]:
        suite, test = re.search(r"test_(\w+)\.py::test_(\w+)", benchmark["fullname"]).groups()
        info = dict(benchmark["extra_info"])
        seconds = info.pop("seconds")
        first = next(iter(seconds.values()))
        row = {
            "test": test,
            **info,
            "rounds": len(first),
            "seconds": {name: quartiles(times) for name, times in seconds.items()},
            "ratio": {
                name: quartiles([a / b for a, b in zip(times, first, strict=True)])
                for name, times in seconds.items()
            },
        }
        result = suites.setdefault(suite, {"origin": raw["origin"], "rows": []})
        result["rows"].append(row)
    return suites


def rounded(value: Any) -> Any:
    """Keep four digits of all real numbers."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["--:"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def paragraph(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False) + "\n"


def number(value: float) -> str:
    """Three digits, without an exponent."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float], unit: float = 1.0) -> str:
    """Median, with the quartiles where they differ from it."""
    low, middle, high = (number(value / unit) for value in values)
    return middle if low == high else f"{middle} ({low}–{high})"


def inverse(values: Sequence[float]) -> list[float]:
    return [1.0 / value for value in reversed(values)]


def batching(rows: Rows) -> str:
    names = [*dict.fromkeys(name for row in rows for name in row["seconds"])]
    header = ["sizes", "sets", "width", "real share", *names]

    def lines(cell: Callable[[Row, str], str]) -> list[list[object]]:
        return [
            [row["sizes"], row["sets"], row["width"], f"{row['real_share']:.1%}"]
            + [cell(row, name) if name in row["seconds"] else "" for name in names]
            for row in rows
        ]

    def time(row: Row, name: str) -> str:
        ratio = "" if name == "packed" else f"; × {number(row['ratio'][name][1])}"
        return spread(row["seconds"][name], 1e-6 * row["parts"]) + ratio

    memory = lines(lambda row, name: number(row["bytes"][name] / 1e6))
    return (
        "Microseconds a part, and the ratio to packed:\n\n"
        + table(header, lines(time))
        + "\nPeak memory of tensors, MB:\n\n"
        + table(header, memory)
    )


def dense(rows: Rows) -> str:
    header = ["sizes", "sets", "parts", "packed, ms", "dense, ms", "dense over packed"]
    lines = []
    for row in rows:
        times = [spread(seconds, 1e-3) for seconds in row["seconds"].values()]
        *_, ratio = row["ratio"].values()
        lines.append([row["sizes"], row["sets"], row["parts"], *times, spread(ratio)])
    return table(header, lines)


def block(rows: Rows) -> str:
    of = {(row["test"], row["width"]): row for row in rows}
    widths = [row["width"] for row in rows if row["test"] == "encoder"]
    compiled = any("compiled" in row["seconds"] for row in rows)
    lines = []
    for width in widths:
        layer, encoder = of["block", width], of["encoder", width]
        lines.append(
            [
                width,
                spread(layer["seconds"]["block"], 1e-3),
                spread(inverse(layer["ratio"]["products"])),
                spread(encoder["seconds"]["encoder"], 1e-3),
                spread(inverse(encoder["ratio"]["products"])),
                spread(inverse(encoder["ratio"]["made"])),
                *([over(encoder, "compiled", "products")] if compiled else []),
            ]
        )
    header = [
        "width",
        "block, ms",
        "over its products",
        "encoder, ms",
        "over its products",
        "over those that it makes",
        *(["compiled, over its products"] if compiled else []),
    ]
    return table(header, lines)


def over(row: Row, name: str, floor: str) -> str:
    """The ratio of the medians of two contenders."""
    if name not in row["seconds"]:
        return ""
    return number(row["seconds"][name][1] / row["seconds"][floor][1])


def step(rows: Rows) -> str:
    steps = [row for row in rows if row["test"] == "step"]
    whole = ("step", "compiled", "floor", "square product")
    parts = [name for name in steps[0]["seconds"] if name not in whole]
    compiled = any("compiled" in row["seconds"] for row in steps)
    lines = [
        [
            f"{row['problem']}, {row['networks']}, {row['precision']}",
            row["wholes"],
            row["parts"],
            spread(row["seconds"]["step"], 1e-3),
            spread(row["seconds"]["floor"], 1e-3),
            spread(inverse(row["ratio"]["floor"])),
            *([over(row, "compiled", "floor")] if compiled else []),
            *(f"{number(1e3 * row['seconds'][p][1])} ({row['ratio'][p][1]:.0%})" for p in parts),
        ]
        for row in steps
    ]
    extra = ["ratio, compiled"] if compiled else []
    header = ["step of", "wholes", "parts", "step, ms", "lower bound, ms", "ratio", *extra, *parts]
    text = table(header, lines)
    kept = [row for row in rows if row["test"] == "kept_memory"]
    if kept:
        lines = [
            [
                f"{row['problem']}, {row['networks']}",
                spread(row["seconds"]["kept"], 1e-3),
                spread(row["seconds"]["handed back"], 1e-3),
                spread(row["ratio"]["handed back"]),
            ]
            for row in kept
        ]
        header = ["step of", "memory kept, ms", "handed back, ms", "ratio"]
        text += "\n" + table(header, lines)
    return text


def scaling(rows: Rows) -> str:
    titles = {
        "parts": "sets of 8",
        "one set": "one set",
        "sets": "10,000 parts",
        "process": "one set, a whole process",
    }
    lines = []
    for row in rows:
        seconds, held = row["seconds"]["packed"], row["bytes"]["packed"]
        lines.append(
            [
                titles[row["axis"]],
                row["width"],
                f"{row['parts']:,}",
                f"{row['sets']:,}",
                spread(seconds, 1e-3),
                number(1e6 * seconds[1] / row["parts"]),
                number(held / 1e6),
                number(held / row["parts"]),
            ]
        )
    header = ["", "width", "parts", "sets", "ms", "µs a part", "peak MB", "bytes a part"]
    return table(header, lines)


def generation(rows: Rows) -> str:
    ways = ("from parts", "from counts")
    lines = []
    for row in rows:
        if row["test"] == "counts":
            continue
        by = row["seconds"]
        rates = [number(row["wholes"] / by[how][1]) if how in by else "" for how in ways]
        name = f"{row['problem']}, {row['networks']}"
        lines.append([name, f"{row['parts_each']:,}", row["wholes"], *rates])
    header = ["model", "parts a whole", "wholes a batch", *ways]
    text = "Wholes a second:\n\n" + table(header, lines)
    for row in rows:
        if row["test"] == "counts":
            lines = [
                [count, spread(seconds, 1e-3), spread(row["ratio"][count])]
                for count, seconds in row["seconds"].items()
            ]
            header = ["parts of each of ten kinds", f"{row['wholes']} wholes, ms", "ratio"]
            text += "\n" + table(header, lines)
    return text


PLOTS = {
    "batching": "Time per part of each contender",
    "block": "Time over the bare products against width",
    "scaling": "Time and memory against the number of parts",
}

TABLES: dict[str, Callable[[Rows], str]] = {
    "batching": batching,
    "dense": dense,
    "block": block,
    "step": step,
    "scaling": scaling,
    "generation": generation,
}


def measured_targets(
    results: dict[str, dict[str, Any]], compiled: bool = False
) -> dict[str, list[str]]:
    """What was measured for each target, and whether it is met; of several cases the worst counts.

    Networks are taken as they are or, where these were measured, under ``torch.compile``: packed
    sets then stand against the quicker of padded ones and compiled padded ones.
    """
    lines: dict[str, list[str]] = {}

    def add(target: str, worst: float | None, met: Callable[[float], bool], form: str) -> None:
        if worst is not None:
            lines[target] = [form.format(worst), "yes" if met(worst) else "no"]

    def rows(suite: str, test: str) -> Rows:
        found = results.get(suite, {"rows": []})["rows"]
        return [row for row in found if row["test"] == test]

    def ratio(row: Row, subject: str, *others: str) -> float:
        """The least time of others over the subject's, both medians.

        As they are: the time of the first of others over that of the row's first contender.
        """
        if not compiled:
            return row["ratio"][others[0]][1]
        return min(row["seconds"][name][1] for name in others) / row["seconds"][subject][1]

    def measured(row: Row, subject: str) -> bool:
        return not compiled or subject in row["seconds"]

    # Small batches of narrow layers stand apart: there, much does not depend on the rows.
    compared: dict[bool, list[float]] = {True: [], False: []}
    for row in rows("batching", "batching"):
        apart = row["width"] == 128 and row["sets"] < 1024
        if measured(row, "packed, compiled"):
            padded = ratio(row, "packed, compiled", "padded", "padded, compiled")
            compared[apart].append(padded * row["real_share"])
    for apart, where in ((False, ""), (True, ", 256 sets at width 128")):
        add(
            f"packed against padded, of the ideal ratio{where}: ≥ 0.95",
            min(compared[apart], default=None),
            lambda v: v >= 0.95,
            "{:.2f}",
        )
    encoders = {
        row["width"]: 1.0 / ratio(row, "compiled", "products")
        for row in rows("block", "encoder")
        if measured(row, "compiled")
    }
    for target, bound, widths in (
        ("encoder over its products, width 128: ≤ 1.4", 1.4, [128]),
        ("width 256: ≤ 1.25", 1.25, [256]),
        ("width 512 and more: ≤ 1.05", 1.05, [512, 1024, 2048]),
    ):
        found = [encoders[width] for width in widths if width in encoders]
        add(target, max(found, default=None), lambda v, bound=bound: v <= bound, "{:.2f}")
    for row in rows("step", "step"):
        if not measured(row, "compiled"):
            continue
        if row["networks"] == "small":
            add(
                f"step of the small {row['problem']} over its lower bound: ≤ 1.5",
                1.0 / ratio(row, "compiled", "floor"),
                lambda v: v <= 1.5,
                "{:.2f}",
            )
        if row["networks"] == "paper" and "square product" in row["seconds"]:
            seconds = row["seconds"]
            rate = row["flops"] / seconds["compiled" if compiled else "step"][1]
            share = rate * seconds["square product"][1] / row["square_flops"]
            add(
                f"step of the paper's {row['problem']} in {row['precision']}, of the rate of a "
                "large matrix product: ≥ 50 %",
                share,
                lambda v: v >= 0.5,
                "{:.0%}",
            )
        add(
            f"data of the {row['networks']} {row['problem']}, of the step: ≤ 5 %",
            ratio(row, "compiled", "data"),
            lambda v: v <= 0.05,
            "{:.1%}",
        )
    if compiled:  # the rest was not
        return lines
    # The weights and their gradients are there whatever the number of parts.
    grown = {row["parts"]: row["bytes"]["packed"] for row in rows("scaling", "parts")}
    if len(grown) > 2:
        sizes = sorted(grown)
        slopes = [(grown[b] - grown[a]) / (b - a) for a, b in pairwise(sizes[1:])]
        add(
            "memory linear in the number of parts: slopes within 5 %",
            max(slopes) / min(slopes) - 1.0,
            lambda v: v <= 0.05,
            "{:.1%}",
        )
    for row in rows("scaling", "a_process_with_one_set_of_100000_parts"):
        add(
            "a set of 100,000 parts, width 128: < 4 GB",
            row["bytes"]["packed"] / 1e9,
            lambda v: v < 4.0,
            "{:.2f} GB",
        )
    for row in rows("generation", "counts"):
        add(
            "counts of 1,000,000 over counts of 1: ≤ 1.10",
            row["ratio"]["1,000,000"][1],
            lambda v: v <= 1.10,
            "{:.2f}",
        )
    return lines


def targets(results: dict[str, dict[str, Any]], one_thread: dict[str, dict[str, Any]]) -> str:
    """The targets, and what was measured for them: as it is, compiled, and on one thread."""
    header, lines = ["target", "measured", "met"], measured_targets(results)
    beside = (
        ("compiled", measured_targets(results, compiled=True)),
        ("on one thread", measured_targets(one_thread)),
        ("compiled, on one thread", measured_targets(one_thread, compiled=True)),
    )
    for title, found in beside:
        if found:
            header += [title, "met"]
            lines = {name: [*line, *found.get(name, ["", ""])] for name, line in lines.items()}
    text = table(header, [[name, *line] for name, line in lines.items()])
    commands = "; ".join(
        f"`{r['origin']['command']}` at {r['origin']['commit']}"
        for suite, r in one_thread.items()
        if suite != "dense"
    )
    return f"{text}\n{paragraph(f'On one thread: {commands}.')}" if commands else text


def origin(result: dict[str, Any]) -> str:
    source = result["origin"]
    versions = ", ".join(f"{name} {version}" for name, version in source["versions"].items())
    commit = source["commit"] + (" with changes" if source["changed"] else "")
    return "\n" + paragraph(
        f"`{source['command']}` at {commit}: {source['machine']}, {source['cores']} cores, "
        f"{source['threads']} threads, Python {source['python']}, {versions}. Medians, with "
        "quartiles in brackets."
    )


def draw(results: dict[str, dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
    # Colours that colour-blind readers distinguish, with marks and lines that differ as well.
    colors = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#222222", "#999999")

    def save(name: str) -> None:
        plt.tight_layout()
        plt.savefig(RESULTS / f"{name}.png", dpi=150, metadata={"Software": None})
        plt.close()

    if "batching" in results:
        rows = [row for row in results["batching"]["rows"] if "edge list" in row["seconds"]]
        names = [name for name in rows[0]["seconds"] if "compiled" not in name]
        _, axis = plt.subplots(figsize=(8.0, 3.6))
        for k, name in enumerate(names):
            times = [row["seconds"][name] for row in rows]
            at = [i + 0.8 * (k - (len(names) - 1) / 2) / len(names) for i in range(len(rows))]
            per_part = [t[1] / row["parts"] * 1e6 for t, row in zip(times, rows, strict=True)]
            look = {"color": colors[k % 7], "marker": "osD^vPX"[k % 7], "markersize": 5.5}
            axis.plot(at, per_part, linestyle="", label=name, **look)
            if name == "padded":
                ideal = [
                    row["seconds"]["packed"][1] / row["parts"] * 1e6 / row["real_share"]
                    for row in rows
                ]
                axis.plot(at, ideal, "k_", markersize=14, label="packed ÷ real share: all padding")
        axis.set_xticks(range(len(rows)), [f"{r['sizes']}\nwidth {r['width']}" for r in rows])
        axis.set(yscale="log", ylabel="µs a part, forward and backward (log scale)")
        axis.set_xlabel("numbers of parts in the sets of a batch")
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        for i in range(1, len(rows)):
            axis.axvline(i - 0.5, color="#dddddd", linewidth=0.6)
        axis.legend(fontsize=7, ncols=2, frameon=False)
        save("batching")
    if "block" in results:
        _, axis = plt.subplots(figsize=(5.0, 3.2))
        for test, color, marks in (("block", colors[0], "o-"), ("encoder", colors[1], "s-")):
            rows = [row for row in results["block"]["rows"] if row["test"] == test]
            widths = [row["width"] for row in rows]
            low, middle, high = zip(*(inverse(r["ratio"]["products"]) for r in rows), strict=True)
            axis.plot(widths, middle, marks, color=color, label=test)
            axis.fill_between(widths, low, high, color=color, alpha=0.2, linewidth=0.0)
        if all("compiled" in row["seconds"] for row in rows):
            seconds = [row["seconds"] for row in rows]
            middle = [s["compiled"][1] / s["products"][1] for s in seconds]
            axis.plot(widths, middle, "D--", color=colors[2], label="encoder, compiled")
        axis.axhline(1.0, color="k", linewidth=0.8)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set(xscale="log", xlabel="width", ylabel="time over the bare matrix products")
        axis.set_xticks(widths, [str(width) for width in widths])
        axis.minorticks_off()
        axis.legend(frameon=False)
        save("block")
    if "scaling" in results:
        _, axes = plt.subplots(1, 2, figsize=(8.0, 3.2))
        for axis_name, label, look in (
            # The two are nearly equal: the first is broad, the second lies on it.
            ("parts", "sets of 8", {"color": colors[0], "linewidth": 3.5, "markersize": 8.0}),
            ("one set", "one set", {"color": colors[1], "linestyle": "--", "markersize": 4.0}),
        ):
            rows = [row for row in results["scaling"]["rows"] if row["axis"] == axis_name]
            parts = [row["parts"] for row in rows]
            look |= {"marker": "o", "label": label}
            axes[0].plot(parts, [row["seconds"]["packed"][1] for row in rows], **look)
            axes[1].plot(parts, [row["bytes"]["packed"] / 1e6 for row in rows], **look)
        for axis, label in zip(axes, ("seconds", "peak MB"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel="parts in a batch", ylabel=label)
            axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes[0].legend(frameon=False)
        save("scaling")


def main(files: tyro.conf.Positional[tuple[Path, ...]] = (), /) -> None:
    for file in files:
        for suite, result in compact(json.loads(file.read_text(encoding="utf-8"))).items():
            source = result["origin"]
            alone = source["threads"] == 1 < source["cores"]
            folder = ONE_THREAD if alone else RESULTS
            if "--device cuda" in source["command"]:
                folder = CUDA
            folder.mkdir(exist_ok=True, parents=True)
            text = json.dumps(rounded(result), indent=1, ensure_ascii=False)
            (folder / f"{suite}.json").write_text(text + "\n", encoding="utf-8")
    results, one_thread, cuda = (
        {
            suite: json.loads((folder / f"{suite}.json").read_text(encoding="utf-8"))
            for suite in TABLES
            if (folder / f"{suite}.json").exists()
        }
        for folder in (RESULTS, ONE_THREAD, CUDA)
    )
    texts = {suite: TABLES[suite](r["rows"]) + origin(r) for suite, r in results.items()}
    for suite in PLOTS.keys() & texts.keys():
        texts[suite] += f"\n![{PLOTS[suite]}](../benchmarks/results/{suite}.png)\n"
    if "dense" in texts and "dense" in one_thread:
        alone = one_thread["dense"]
        texts["dense"] += f"\nOn one thread:\n\n{dense(alone['rows'])}{origin(alone)}"
    texts["targets"] = targets(results, one_thread)
    texts["cuda"] = "\n".join(TABLES[suite](r["rows"]) + origin(r) for suite, r in cuda.items())

    def fill(mark: re.Match[str]) -> str:
        text = texts.get(mark[2], "")
        return f"{mark[1]}\n{text}\n{mark[3]}" if text else mark[0]

    PAGE.write_text(MARKS.sub(fill, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(results)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
