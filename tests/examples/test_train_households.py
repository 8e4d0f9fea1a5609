import pytest

pytest.importorskip("lightning")
pytest.importorskip("tyro")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")

from matplotlib.image import imread

from compvae_pyg import CompVAE
from compvae_pyg.evaluation import EnsembleRow, read_evaluation

FIGURES = ("bands", "diversity", "peaks", "losses")
SHORT = ("--steps", "4", "--num-wholes", "60", "--log-every", "2", "--num-parts", "1", "4")


def test_the_example_leaves_all_that_it_promises(run_example, tmp_path):
    done = run_example("train_households.py", *SHORT, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "households"
    rows = read_evaluation(output / "evaluation.json", EnsembleRow)
    names = {row.sample for row in rows if row.num_parts == 4}
    alone = {"independent", "independent generated"}
    assert names == {"generated", "true", "training", "gaussian", *alone}
    assert CompVAE.from_pretrained(output).event_shape == (48,)
    for name in FIGURES:
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name


def test_data_that_are_not_there_are_refused(load_script, refuses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = load_script("examples/train_households.py")
    for data, word in (((), "readings"), (("no.csv",), "readings"), (("citylearn",), "wheel")):
        with refuses(ValueError, word):
            script.source(script.Options(data=data))


@pytest.mark.slow
def test_the_example_takes_meters_of_ones_own(run_example, tmp_path):
    rows = [
        f"h{h},2024-01-{d + 1:02d} {t // 2:02d}:{30 * (t % 2):02d}:00,0.{2 + (t + d + h) % 5}"
        for h in range(5)
        for d in range(20)
        for t in range(48)
    ]
    (tmp_path / "readings.csv").write_text("\n".join(["home,timestamp,kWh", *rows]) + "\n")
    options = ("--data", "readings.csv", "--day", "hidden")
    done = run_example("train_households.py", *SHORT, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_example("train_households.py", *SHORT, "--data", "no.csv", folder=tmp_path)
    assert done.returncode == 1 and "no.csv" in done.stderr and len(done.stderr.splitlines()) == 1
