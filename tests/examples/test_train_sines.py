import json

import pytest

pytest.importorskip("lightning")
pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from compvae_pyg import CompVAE

FIGURES = (
    "losses",
    "sum",
    "variety",
    "recomposition",
    "nonlinearity",
    "quality",
    "energy_distances",
)


@pytest.mark.slow
def test_the_example_leaves_all_that_it_promises(run_example, tmp_path):
    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2", "--num-parts", "1", "24")
    done = run_example("train_sines.py", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "sines"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 24]
    assert CompVAE.from_pretrained(output).event_shape == (200,)
    assert (output / "metrics.csv").exists()
    for name in FIGURES:
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name
