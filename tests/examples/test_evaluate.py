import json
from pathlib import Path

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")
pytest.importorskip("safetensors")

from compvae_pyg import CompVAE, Sines
from compvae_pyg.command_line import one_line_errors


@pytest.fixture(scope="module")
def example(load_script):
    return load_script("examples/evaluate.py")


@pytest.mark.slow
def test_a_shipped_model_is_evaluated_by_its_name(run_example, tmp_path):
    options = ("--num-parts", "1", "3", "--num-wholes", "6")
    done = run_example("evaluate.py", "sines-small", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "sines-small"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 3]
    table = [line for line in done.stdout.split("\n") if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["1", "3"]
    told = done.stdout.strip().split("\n")[-1]
    assert told.startswith(f"In {Path('outputs', 'sines-small')}: evaluation.json, ")
    assert {name.strip() for name in told.split(":")[1].split(",")} == {
        file.name for file in output.iterdir()
    }


@pytest.mark.usefixtures("quick_classifier")
@pytest.mark.parametrize("output", [None, "elsewhere"])
def test_a_folder_is_evaluated_inside_of_it_or_where_it_is_said(tmp_path, example, output):
    Sines().build("small").save_pretrained(tmp_path / "mine")
    place = tmp_path / (output or "mine/evaluation")
    options = {"num_parts": (2,), "num_wholes": 4, "seed": 3, "device": "cpu"}
    example.main(example.Options(str(tmp_path / "mine"), output=output and place, **options))
    report = json.loads((place / "evaluation.json").read_text())
    assert report["seed"] == 3
    assert [(row["num_parts"], row["num_wholes"]) for row in report["rows"]] == [(2, 4)]
    assert CompVAE.from_pretrained(tmp_path / "mine").event_shape == (200,)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"model": "nothing"}, "nothing"),
        ({"num_wholes": 0}, "num_wholes"),
    ],
)
def test_what_cannot_be_evaluated_is_reported_in_a_line(
    tmp_path, example, monkeypatch, options, name
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop, one_line_errors():
        example.main(example.Options(**options))
    message = str(stop.value)
    assert message.startswith("error: ") and name in message and "\n" not in message
