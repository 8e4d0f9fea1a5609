from types import SimpleNamespace

import pytest
import torch

import compvae_pyg.evaluation.recovery as recovery
from compvae_pyg import CompVAE, Sines
from compvae_pyg.evaluation import evaluate_recovery, format_table, write_evaluation


@pytest.fixture(scope="module")
def shipped():
    return CompVAE.from_pretrained("dots-small")


@pytest.fixture
def rank_by(monkeypatch):
    """Rank candidates by a function in place of a model's likelihood."""

    def replace(log_likelihood):
        def rank(model, whole, parts, *, candidate_batch, num_samples):
            sets = (parts.batch, parts.batch_size)
            found = log_likelihood(whole[candidate_batch], parts["category"], *sets)
            table = found.view(len(whole), -1)
            best = table.argmax(dim=1) + torch.arange(len(whole)) * table.shape[1]
            return SimpleNamespace(best=best, probability=table.softmax(dim=1).flatten())

        monkeypatch.setattr(recovery, "rank_parts", rank)

    return replace


def of_sum(whole, category, batch, batch_size):
    """Wholes that show the sum of their categories, in powers that distinguish multisets."""
    codes = 31.0 ** category.double()
    found = torch.zeros(batch_size, dtype=torch.float64).index_add(0, batch, codes)
    return -(found - whole[:, 0]).abs()


class Coded(Sines):
    event_shape = (1,)

    def sample(self, num_parts, generator=None):
        data = super().sample(num_parts, generator)
        codes = 31.0 ** data.category.double()
        data.whole = (
            torch.zeros(len(num_parts), 1).double().index_add_(0, data.batch, codes.unsqueeze(1))
        )
        return data


def test_the_true_likelihood_finds_all_parts(shipped, rank_by):
    rank_by(of_sum)
    rows = evaluate_recovery(shipped, Coded(), "category", 10, num_wholes=30)
    assert [row.num_candidates for row in rows] == [10, 55, 220]
    for row in rows:
        assert row.whole_accuracy.mean == row.part_accuracy.mean == 1.0
        assert row.confidence.mean == row.true_probability.mean > 0.99


def test_wrong_parts_are_counted_with_their_confidence(shipped, rank_by):
    def next_one(whole, category, batch, batch_size):
        # Takes the lowest of the categories for the next one, and is in doubt.
        category = category.clone()
        category[torch.searchsorted(batch, torch.arange(batch_size))] -= 1
        return (of_sum(whole, category, batch, batch_size) == 0).double()

    class Few(Coded):
        def sample(self, num_parts, generator=None):
            data = super().sample(num_parts, generator)
            data.category = torch.arange(len(data.category)) % 2 * 4
            codes = 31.0 ** data.category.double()
            data.whole = codes.view(len(num_parts), -1).sum(1, keepdim=True)
            return data

    rank_by(next_one)
    (row,) = evaluate_recovery(shipped, Few(), "category", 10, num_parts=[2], num_wholes=8)
    assert row.whole_accuracy.mean == 0.0 and row.part_accuracy.mean == 0.5
    e = torch.tensor(1.0).exp().item()
    assert row.confidence.mean == pytest.approx(e / (e + 54.0))
    assert row.true_probability.mean == pytest.approx(1.0 / (e + 54.0))


def test_order_counts_where_parts_differ_otherwise(shipped, dots):
    rows = evaluate_recovery(
        shipped, dots, "color", 5, num_parts=[1, 2], num_wholes=20, num_samples=1
    )
    assert [row.num_candidates for row in rows] == [5, 25]
    assert all(row.part_accuracy.mean >= 0.95 for row in rows)


def test_result_depends_on_the_arguments_alone(shipped, dots):
    def evaluate(**options):
        options = {"num_parts": [2], "num_wholes": 6, "num_samples": 1, **options}
        return evaluate_recovery(shipped, dots, "color", 5, **options)

    state = torch.get_rng_state()
    first = evaluate(seed=3)
    assert (torch.get_rng_state() == state).all()
    torch.manual_seed(8)
    assert evaluate(seed=3) == first
    assert evaluate(num_parts=[1, 2], seed=3)[1] == first[0]


def test_rows_are_shown_and_written(shipped, dots, tmp_path):
    rows = evaluate_recovery(shipped, dots, "color", 5, num_parts=[1], num_wholes=4)
    assert "| whole accuracy |" in " ".join(format_table(rows).split())
    write_evaluation(tmp_path / "rows.json", rows, seed=0)
    assert '"whole_accuracy": {' in (tmp_path / "rows.json").read_text()


def test_unfit_arguments_are_refused(refuses, shipped, dots):
    with refuses(ValueError, "field"):
        evaluate_recovery(shipped, dots, "colour", 5)
    with refuses(ValueError, "num_values"):
        evaluate_recovery(shipped, dots, "color", 0)
