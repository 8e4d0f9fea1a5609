"""That the shipped weights of the sines are those whose results are shown."""

import json
from pathlib import Path

import pytest

from compvae_pyg import CompVAE, Sines
from compvae_pyg.evaluation import evaluate_sines

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "sines-small" / "seed0"


@pytest.fixture(scope="module")
def committed():
    rows = json.loads((RESULTS / "evaluation.json").read_text(encoding="utf-8"))["rows"]
    return {row["num_parts"]: row for row in rows}


@pytest.mark.parametrize("size", [1, 4, 16])
def test_shipped_sines_reproduce_the_committed_table(committed, size):
    """On other curves: within four standard errors of the difference."""
    model = CompVAE.from_pretrained("sines-small")
    (row,) = evaluate_sines(
        model, Sines(), num_parts=[size], num_wholes=250, num_part_sets=2, num_draws=20, seed=1234
    )
    for name in (
        "true_amplitude",
        "generated_amplitude",
        "generated_amplitude_std",
        "generated_leak",
        "reconstruction_rmse",
        "kl_w",
        "kl_z",
        "elbo",
    ):
        new, old = getattr(row, name), committed[size][name]
        error = (new.standard_error**2 + old["standard_error"] ** 2) ** 0.5
        assert abs(new.mean - old["mean"]) <= 4.0 * error, name


@pytest.mark.parametrize(
    "size, within, leak",
    [(1, 0.1, 0.1), (4, 0.1, 0.1), (8, 0.1, 0.1), (16, 0.1, 0.1), (24, 0.2, 0.2), (30, 0.2, 0.2)],
)
def test_shipped_sines_meet_the_bar(committed, size, within, leak):
    row = committed[size]
    assert abs(row["generated_amplitude"]["mean"] - 1.0) <= within
    assert abs(row["generated_amplitude_std"]["mean"] - 0.3) <= 0.1
    assert row["generated_leak"]["mean"] <= leak
    assert row["kl_w"]["mean"] >= 5.0 * row["kl_z"]["mean"]
