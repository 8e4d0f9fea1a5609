"""That the shipped weights are those whose results are shown."""

import json
from pathlib import Path

import pytest

from compvae_pyg import CompVAE, Dots
from compvae_pyg.evaluation import evaluate_dots

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "dots-small" / "seed0"


@pytest.fixture(scope="module")
def committed():
    rows = json.loads((RESULTS / "evaluation.json").read_text(encoding="utf-8"))["rows"]
    return {row["num_parts"]: row for row in rows}


@pytest.mark.parametrize("size", [1, 4, 8])
def test_shipped_dots_reproduce_the_committed_table(committed, size):
    """On other images: within four standard errors of the difference."""
    model = CompVAE.from_pretrained("dots-small")
    (row,) = evaluate_dots(
        model, Dots(), num_parts=[size], num_wholes=250, num_draws=2, num_samples=2, seed=1234
    )
    for name in (
        "generated_accuracy",
        "true_accuracy",
        "reconstruction_rmse",
        "generated_rmse",
        "kl_w",
        "kl_z",
        "elbo",
    ):
        new, old = getattr(row, name), committed[size][name]
        error = (new.standard_error**2 + old["standard_error"] ** 2) ** 0.5
        assert abs(new.mean - old["mean"]) <= 4.0 * error, name


def test_shipped_dots_meet_the_bar(committed):
    for size, share in ((1, 0.97), (2, 0.97), (4, 0.97), (8, 0.97), (16, 0.90)):
        assert committed[size]["accuracy_ratio"]["mean"] >= share
    assert committed[4]["reconstruction_rmse"]["mean"] <= 0.08
    for row in committed.values():
        assert row["kl_w"]["mean"] >= 2.0 * row["kl_z"]["mean"]
