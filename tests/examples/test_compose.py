import json

import pytest
import torch

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import Sines

FEW = ("--num-wholes", "8")


def check(folder, table):
    rows = json.loads((folder / "removal.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [2, 4, 8, 12, 16]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["2", "4", "8", "12", "16"]
    for name in ("operations", "attribution"):
        assert imread(folder / f"{name}.png")[..., :3].std() > 0.05, name
    return rows


def test_dots_are_composed_as_promised(run_example, tmp_path):
    done = run_example("compose_dots.py", *FEW, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.split("\n") if line.startswith("|")]
    rows = check(tmp_path / "outputs" / "compose-dots", table)
    # Sites that stay show their colour where they are, nearly as often as in the truth.
    for row in rows[:3]:
        assert row["removal_accuracy"]["mean"] > 0.85 * row["true_accuracy"]["mean"]


@pytest.mark.slow
def test_sines_are_composed_by_any_model_of_theirs(run_example, tmp_path):
    torch.manual_seed(0)
    Sines().build("small").save_pretrained(tmp_path / "model")
    options = ("--model", "model", "--output", "here")
    done = run_example("compose_sines.py", *FEW, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "here", [line for line in done.stdout.split("\n") if line.startswith("|")])
