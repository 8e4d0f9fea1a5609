import json
import math
from dataclasses import dataclass

import pytest
import torch

import compvae_pyg
from compvae_pyg.evaluation import (
    Estimate,
    EvaluationRow,
    RecoveryRow,
    ResultRow,
    evaluate,
    format_table,
    read_evaluation,
    write_evaluation,
)
from compvae_pyg.evaluation.rows import GENERAL
from compvae_pyg.problems import Digits, Dots, Households, Sines

FEW = {"num_draws": 2, "num_classified": 0}


@pytest.fixture
def rows(ground_truth_model, dots):
    return evaluate(ground_truth_model, dots, num_parts=[1, 16], num_wholes=20, **FEW)


def test_every_line_of_the_table_is_as_wide_and_has_as_many_cells(rows):
    lines = format_table(rows).split("\n")
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert {line.count("|") for line in lines} == {15}


def test_the_table_shows_the_numbers_of_the_rows(rows):
    head, rule, one, many = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in format_table(rows).split("\n")
    )
    assert set(rule) == {cell for cell in rule if cell.strip("-") == ":"}
    cells = dict(zip(head, many, strict=True))
    assert cells["K"] == "16"
    generated, true = rows[1].generated_accuracy.mean, rows[1].true_accuracy.mean
    assert cells["site accuracy (ground truth)"] == f"{generated:.3f} ({true:.3f})"
    share = 100 * rows[1].generated_glitches.mean
    assert cells["glitches (oracle)"].startswith(f"{share:.2f}% (")
    assert cells["KL_w (bits)"] == "3.0 (4.3)"
    assert cells["rec. rmse"] == "0.250"
    # Importance sampling adds 1.5, 3.0, … 30.0 nats to the bounds of twenty images.
    added = rows[1].log_evidence.mean - rows[1].elbo.mean
    assert added == pytest.approx(15.75)
    assert cells["log p(x)"].startswith(f"{rows[1].log_evidence.mean:.0f} ± ")
    assert dict(zip(head, one, strict=True))["ratio"] == "1.000 ± 0.000"


def test_a_divergence_just_below_zero_is_written_without_its_sign():
    names = ("log_likelihood", "kl_w", "kl_z", "elbo", "log_evidence", "reconstruction_rmse")
    terms = {**dict.fromkeys(names, Estimate(0.0, 0.0)), "kl_z": Estimate(-0.01, 0.1)}
    table = format_table([ResultRow({"num_parts": 1, "num_wholes": 10}, terms)])
    assert "0.0 (0.0)" in table
    assert "-0.0" not in table


def test_no_rows_are_refused(refuses):
    with refuses(ValueError, "rows"):
        format_table([])


def test_the_file_holds_every_number_and_where_it_comes_from(rows, tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text("something older and longer " * 10_000)
    write_evaluation(path, rows, seed=7)
    report = json.loads(path.read_text())
    assert report["seed"] == 7
    assert report["versions"]["compvae_pyg"] == compvae_pyg.__version__
    assert report["versions"]["torch"] == torch.__version__
    assert [row["num_parts"] for row in report["rows"]] == [1, 16]
    found = report["rows"][1]["generated_accuracy"]
    assert found == {
        "mean": rows[1].generated_accuracy.mean,
        "standard_error": rows[1].generated_accuracy.standard_error,
    }


def test_what_is_not_a_number_is_null(ground_truth_model, dots, tmp_path):
    rows = evaluate(ground_truth_model, dots, num_parts=[1], num_wholes=1, **FEW)
    write_evaluation(tmp_path / "evaluation.json", rows, seed=0)
    text = (tmp_path / "evaluation.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["rows"][0]["kl_w"] == {"mean": 3.0, "standard_error": None}


def test_rows_are_read_as_they_were_written(ground_truth_model, dots, rows, tmp_path):
    path = tmp_path / "evaluation.json"
    write_evaluation(path, rows, seed=0)
    assert read_evaluation(path) == rows
    # What was no number is none again.
    (single,) = evaluate(ground_truth_model, dots, num_parts=[1], num_wholes=1, **FEW)
    write_evaluation(path, [single], seed=0)
    (read,) = read_evaluation(path)
    assert read.kl_w.mean == 3.0
    assert math.isnan(read.kl_w.standard_error)


def test_rows_of_another_kind_are_refused(tmp_path, refuses):
    path = tmp_path / "evaluation.json"
    counts = {"num_parts": 1, "num_wholes": 2}
    write_evaluation(path, [ResultRow(counts, {"peak": Estimate(0.0, 0.0)})], seed=0)
    with refuses(ValueError, "RecoveryRow"):
        read_evaluation(path, RecoveryRow)
    path.write_text('{"rows": [{"num_parts": 1, "num_wholes": 2, "source": "model"}]}')
    with refuses(ValueError, "source"):
        read_evaluation(path)


def test_rows_without_columns_of_their_own_show_all_fields():
    @dataclass(frozen=True)
    class PeakRow(EvaluationRow):
        num_parts: int
        peak_height: Estimate

    head, _, line = format_table([PeakRow(3, Estimate(0.5, 0.25))]).split("\n")
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["K", "peak height"]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["3", "0.500 ± 0.250"]


def test_the_legend_says_what_every_column_is():
    for problem in (Digits, Dots, Households, Sines):
        for quantity in {**GENERAL, **problem.quantities}.values():
            assert not quantity.heading or quantity.title or quantity.meaning, quantity
