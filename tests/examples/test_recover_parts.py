import json

import pytest

pytest.importorskip("tyro")

from compvae_pyg import Sines


def rows_in(folder):
    return json.loads((folder / "evaluation.json").read_text())["rows"]


def test_colours_are_recovered_with_the_shipped_model(load_example, tmp_path, capsys):
    example = load_example("recover_parts")
    example.main(example.Options(output=tmp_path / "dots", num_parts=(1, 2), num_wholes=4))
    rows = rows_in(tmp_path / "dots")
    assert [row["num_candidates"] for row in rows] == [5, 25]
    assert all(row["part_accuracy"]["mean"] > 0.7 for row in rows)
    assert "| whole accuracy |" in " ".join(capsys.readouterr().out.split())


def test_frequencies_are_looked_for_with_any_model(load_example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Sines().build("small").save_pretrained(tmp_path / "model")
    example = load_example("recover_parts")
    example.main(
        example.Options(
            problem="sines",
            model=str(tmp_path / "model"),
            num_parts=(2,),
            num_wholes=4,
        )
    )
    (row,) = rows_in(tmp_path / "outputs" / "recover-sines")
    assert row["num_candidates"] == 55 and row["num_samples"] == 4
