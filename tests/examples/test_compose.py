import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import Sines

ROOT = Path(__file__).parents[2]


def run(name, *arguments, folder):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), "--num-wholes", "8", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check(folder, table):
    rows = json.loads((folder / "removal.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [2, 4, 8, 12, 16]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["2", "4", "8", "12", "16"]
    for name in ("operations", "attribution"):
        assert imread(folder / f"{name}.png")[..., :3].std() > 0.05, name
    return rows


def test_dots_are_composed_as_promised(tmp_path):
    done = run("compose_dots.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.split("\n") if line.startswith("|")]
    rows = check(tmp_path / "outputs" / "compose-dots", table)
    # Sites that stay show their colour where they are, nearly as often as in the truth.
    for row in rows[:3]:
        assert row["removal_accuracy"]["mean"] > 0.85 * row["true_accuracy"]["mean"]


def test_sines_are_composed_by_any_model_of_theirs(tmp_path):
    torch.manual_seed(0)
    Sines().build("small").save_pretrained(tmp_path / "model")
    done = run("compose_sines.py", "--model", "model", "--output", "here", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "here", [line for line in done.stdout.split("\n") if line.startswith("|")])
