import json
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import CompVAE, Dots, plots
from compvae_pyg.training import Schedule

FIGURES = (
    "data",
    "losses",
    "recomposition",
    "reconstructions",
    "quality",
    "energy_distances",
)


@pytest.fixture(scope="module")
def example(load_script):
    return load_script("examples/train_dots.py")


@pytest.fixture(scope="module")
def run(run_example):
    return partial(run_example, "train_dots.py")


def test_the_example_leaves_all_that_it_promises_where_it_says(run, tmp_path):
    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2", "--num-parts", "2")
    first = run(*options, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    output = tmp_path / "outputs" / "dots"
    assert str(Path("outputs", "dots")) in first.stdout

    table = [line for line in first.stdout.split("\n") if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["2"]
    report = json.loads((output / "evaluation.json").read_text())
    assert [row["num_parts"] for row in report["rows"]] == [2]
    metrics = plots.read_metrics(output / "metrics.csv")
    assert metrics["step"].tolist() == [2.0, 4.0, 6.0]
    for name in FIGURES:
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name
    model = CompVAE.from_pretrained(output)
    parts = {"color": torch.tensor([0, 1]), "pos": torch.zeros(2, 2)}
    assert model.generate(parts).shape == (1, 3, 32, 32)


@pytest.mark.slow
def test_a_run_is_not_overwritten_and_can_be_resumed_when_it_is_finished(run, tmp_path):
    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2", "--num-parts", "2")
    first = run(*options, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    output = tmp_path / "outputs" / "dots"
    report = json.loads((output / "evaluation.json").read_text())
    # Asked for again, the run is not overwritten, and the way on is told in a line.
    kept = (output / "model.safetensors").read_bytes()
    second = run(*options, folder=tmp_path)
    assert second.returncode == 1
    assert second.stderr.startswith("error: ") and "--resume" in second.stderr
    assert second.stderr.count("\n") == 1
    # A finished run that is resumed is evaluated and drawn anew, and comes out the same.
    (output / "quality.png").unlink()
    third = run(*options, "--resume", folder=tmp_path)
    assert third.returncode == 0, third.stderr
    assert (output / "quality.png").exists()
    assert (output / "model.safetensors").read_bytes() == kept
    assert json.loads((output / "evaluation.json").read_text()) == report
    assert third.stdout == first.stdout


def test_help_lists_the_options_with_their_choices(run, tmp_path):
    text = run("--help", folder=tmp_path).stdout
    for option in (
        "--output PATH",
        "--preset {small",
        "--schedule {staged,paper}",
        "--aggr {sum,mean}",
        "--seed INT",
        "--devices INT",
        "--num-nodes INT",
        "--accelerator STR",
        "--strategy STR",
        "--precision {32-true,",
        "--compile",
        "--resume",
        "--num-wholes INT",
        "--num-parts [INT",
        "--steps",
    ):
        assert option in text, option
    assert "outputs/dots" in text
    assert not any(tmp_path.iterdir())


def test_the_options_are_those_that_the_problem_offers(example):
    hints = get_type_hints(example.Options)
    assert get_args(hints["preset"]) == tuple(Dots.presets)
    assert get_args(hints["schedule"]) == ("staged", "paper")
    assert Schedule.of(Dots(), example.Options().schedule) == Schedule.of(Dots())
