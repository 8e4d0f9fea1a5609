"""That the shipped weights are those whose results are shown."""

from pathlib import Path

import pytest

from compvae_pyg import CompVAE, Dots
from compvae_pyg.evaluation import DotsRow, evaluate_dots, read_evaluation

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def committed():
    rows = read_evaluation(RESULTS / "dots-small" / "evaluation.json", DotsRow)
    return {row.num_parts: row for row in rows}


@pytest.mark.parametrize("size", [1, 4, 8])
def test_shipped_dots_reproduce_the_committed_table(committed, size):
    """On other images: within four standard errors of the difference."""
    model, old = CompVAE.from_pretrained("dots-small"), committed[size]
    (new,) = evaluate_dots(
        model,
        Dots(),
        num_parts=[size],
        num_wholes=250,
        num_draws=old.num_draws,
        num_weighted=16,
        num_samples=old.num_samples,
        seed=1234,
    )
    for name in (
        "generated_accuracy",
        "true_accuracy",
        "reconstruction_rmse",
        "generated_rmse",
        "generated_glitches",
        "kl_w",
        "kl_z",
        "elbo",
        "log_evidence",
        "generated_energy_distance",
        "generated_sum_energy_distance",
    ):
        first, second = getattr(new, name), getattr(old, name)
        error = (first.standard_error**2 + second.standard_error**2) ** 0.5
        assert abs(first.mean - second.mean) <= 4.0 * error, name


def test_shipped_dots_meet_the_bar(committed):
    for size, share in ((1, 0.97), (2, 0.97), (4, 0.97), (8, 0.97), (16, 0.90)):
        assert committed[size].accuracy_ratio.mean >= share
        assert committed[size].kl_w.mean >= 2.0 * committed[size].kl_z.mean
    assert committed[4].reconstruction_rmse.mean <= 0.08
    for row in committed.values():
        assert row.log_evidence.mean > row.elbo.mean
