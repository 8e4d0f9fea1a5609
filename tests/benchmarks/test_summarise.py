import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def summarise(load_script, tmp_path, monkeypatch):
    script = load_script("benchmarks/summarise.py")
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "compositions.md").read_text(encoding="utf-8"))
    monkeypatch.setattr(script, "PAGE", page)
    return script


def training(folder, **seeds):
    """A folder of a training as one is kept: seeds, and the first of them evaluated further."""
    for seed, elbos in {**seeds, ".": {**seeds["seed0"], 64: -7.0}}.items():
        rows = [
            {
                "num_parts": size,
                "elbo": {"mean": elbo},
                "kl_w": {"mean": 10.0},
                "reconstruction_rmse": {"mean": 0.05},
                "generated_amplitude": {"mean": None if size == 64 else 0.9},
                "generated_amplitude_std": {"mean": 0.3},
            }
            for size, elbo in elbos.items()
        ]
        (folder / seed).mkdir(parents=True, exist_ok=True)
        (folder / seed / "evaluation.json").write_text(json.dumps({"rows": rows}))
    return folder


def cells(table):
    lines = [line for line in table.split("\n") if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def test_trainings_stand_beside_each_other_for_the_numbers_of_parts_of_both(summarise, tmp_path):
    one = training(tmp_path / "sum", seed0={1: 100.0, 16: 50.0}, seed1={1: 104.0, 16: 40.0})
    other = training(tmp_path / "mean", seed0={1: 90.0, 16: 30.0, 30: 20.0})
    summarise.main(summarise.Options((one, other), beside=True))
    page = summarise.PAGE.read_text(encoding="utf-8")
    section = page.split("<!-- aggregations of the sines -->")[1].split("<!-- end -->")[0]
    found = cells(section)
    assert list(found) == ["1", "16", "64"]
    assert found["1"]["ELBO (nats): sum"] == "102 (100–104)"
    assert found["16"]["ELBO (nats): mean"] == "30"
    # Beyond the numbers of parts of the seeds there are the weights that were kept.
    assert found["64"]["ELBO (nats): sum"] == "-7" and found["64"]["amplitude: sum"] == ""
    assert found["1"]["KL_w (bits): mean"] == "14"
    assert "2 of `sum`, 1 of `mean`" in section
    # The rest of the page is as it was, and the same command leaves the same page.
    before = (ROOT / "docs" / "compositions.md").read_text(encoding="utf-8")
    assert (
        page.split("<!-- aggregations of the sines -->")[0]
        == before.split("<!-- aggregations of the sines -->")[0]
    )
    assert page.split("<!-- end -->")[-1] == before.split("<!-- end -->")[-1]
    summarise.main(summarise.Options((one, other), beside=True))
    assert summarise.PAGE.read_text(encoding="utf-8") == page


def test_the_dots_go_between_marks_of_their_own(summarise):
    folder = ROOT / "docs" / "results" / "dots-small"
    problem, text = summarise.side_by_side((folder, folder))
    assert problem == "dots" and {"8", "16", "64"} <= cells(text).keys()
    assert text in summarise.renewed(
        summarise.PAGE.read_text(encoding="utf-8"), f"aggregations of the {problem}", text
    )


def test_what_cannot_be_compared_is_refused(summarise, refuses, tmp_path):
    one = training(tmp_path / "one", seed0={1: 1.0}, seed1={1: 1.0, 2: 1.0})
    with refuses(ValueError, "numbers of parts"):
        summarise.main(summarise.Options((one / "seed0", one / "seed1")))
    (tmp_path / "none").mkdir()
    with refuses(ValueError, "numbers of parts"):
        summarise.side_by_side((one, tmp_path / "none"))
    with refuses(ValueError, "page"):
        summarise.renewed("", "dots", "")
