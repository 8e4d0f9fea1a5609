import json
import os
import subprocess
import sys
from pathlib import Path

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
ROOT = Path(__file__).parents[2]


def test_the_example_leaves_all_that_it_promises(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2", "--num-parts", "1", "24")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "train_sines.py", *options],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "sines"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 24]
    assert CompVAE.from_pretrained(output).event_shape == (200,)
    assert (output / "metrics.csv").exists()
    for name in FIGURES:
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name
