import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from compvae_pyg import CompVAE, Sines

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "evaluate.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("evaluate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluate"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["evaluate"]


def test_a_shipped_model_is_evaluated_by_its_name(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, SCRIPT, "dots-small", "--num-parts", "1", "9", "--num-wholes", "6"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "dots-small"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 9]
    table = [line for line in done.stdout.split("\n") if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["1", "9"]
    told = done.stdout.strip().split("\n")[-1]
    assert told.startswith(f"In {Path('outputs', 'dots-small')}: evaluation.json, ")
    assert {name.strip() for name in told.split(":")[1].split(",")} == {
        file.name for file in output.iterdir()
    }


@pytest.mark.parametrize("output", [None, "elsewhere"])
def test_a_folder_is_evaluated_where_it_is_or_where_it_is_said(tmp_path, example, output):
    Sines().build("small").save_pretrained(tmp_path / "mine")
    place = tmp_path / (output or "mine")
    options = {"num_parts": (2,), "num_wholes": 4, "seed": 3, "device": "cpu"}
    example.main(example.Options(str(tmp_path / "mine"), output and place, **options))
    report = json.loads((place / "evaluation.json").read_text())
    assert report["seed"] == 3
    assert [(row["num_parts"], row["num_wholes"]) for row in report["rows"]] == [(2, 4)]
    assert CompVAE.from_pretrained(tmp_path / "mine").event_shape == (200,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nothing"}, "error: no folder nothing, and no model of that name is shipped"),
        ({"num_wholes": 0}, "error: num_parts, num_wholes and batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_a_line(
    tmp_path, example, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        example.main(example.Options(**options))
    assert str(stop.value).startswith(message)
    assert "\n" not in str(stop.value)
