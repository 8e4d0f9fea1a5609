"""What docs/reproduction.md says of the committed results."""

import csv
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
SINES = (ROOT / "docs" / "sines.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reproduction(load_script):
    return load_script("benchmarks/reproduction.py")


def test_the_page_holds_the_numbers_of_the_committed_results(reproduction):
    """If not: python benchmarks/reproduction.py."""
    assert reproduction.renewed(PAGE) == PAGE
    assert reproduction.renewed(SINES, reproduction.OF_SINES) == SINES


def test_numbers_are_means_of_the_seeds_with_their_extremes(reproduction):
    ends = []
    for seed in sorted((ROOT / "docs" / "results" / "dots-small").glob("seed*")):
        with (seed / "metrics.csv").open(newline="") as file:
            values = [float(row["kl_w_bits"]) for row in csv.DictReader(file)]
        last = values[-(len(values) // 10) :]
        ends.append(sum(last) / len(last))
    values = (min(ends), sum(ends) / len(ends), max(ends))
    low, mean, high = (f"{value:.0f}" for value in values)
    expected = mean if low == high else f"{mean} ({low}–{high})"
    line = next(line for line in reproduction.compared("dots").split("\n") if "in the w's" in line)
    assert line.strip("|").split("|")[2].strip() == expected


def test_what_was_not_run_is_said_to_be_not_run(reproduction, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduction, "RESULTS", tmp_path)
    monkeypatch.setattr(reproduction, "DOCS", tmp_path)
    lines = reproduction.compared("sines").split("\n")[2:]
    assert all(line.endswith("| not run | not run | not run |") for line in lines)
    assert reproduction.evaluated("dots") == "not run"
    assert all("| not run |" in line for line in reproduction.figures().split("\n")[2:])


def test_a_page_without_a_marker_is_refused(reproduction, refuses):
    with refuses(ValueError, "published sines"):
        reproduction.renewed(PAGE.replace("<!-- published sines -->", ""))
