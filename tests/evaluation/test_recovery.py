import pytest
import torch

from compvae_pyg import CompVAE, Sines
from compvae_pyg.evaluation import evaluate_recovery, format_table, write_evaluation


@pytest.fixture(scope="module")
def shipped():
    return CompVAE.from_pretrained("dots-small")


class Knowing(torch.nn.Module):
    """Its likelihood is that of the count of right values, told by the whole's first number."""

    def __init__(self, right):
        super().__init__()
        self.right = right

    def log_likelihood(self, whole, parts, batch, batch_size, **_):
        return self.right(whole, parts, batch, batch_size)


def sum_of(whole, parts, batch, batch_size):
    """Wholes that show the sum of their categories, squared so that sums tell multisets apart."""
    codes = 31.0 ** parts["category"].double()
    found = torch.zeros(batch_size, dtype=torch.float64).index_add(0, batch, codes)
    return -(found - whole[:, 0]).abs()


class Coded(Sines):
    def sample(self, num_parts, generator=None):
        data = super().sample(num_parts, generator)
        codes = 31.0 ** data.category.double()
        data.whole = (
            torch.zeros(len(num_parts), 1).double().index_add_(0, data.batch, codes.unsqueeze(1))
        )
        return data


def test_a_model_that_knows_is_always_right():
    rows = evaluate_recovery(Knowing(sum_of), Coded(), "category", 10, num_wholes=30)
    assert [row.num_candidates for row in rows] == [10, 55, 220]
    for row in rows:
        assert row.whole_accuracy.mean == row.part_accuracy.mean == 1.0
        assert row.confidence.mean == row.true_probability.mean > 0.99


def test_a_model_that_errs_is_told_so():
    def next_one(whole, parts, batch, batch_size):
        # Takes the lowest of the categories for the next one, and is in doubt.
        category = {"category": parts["category"].clone()}
        first = torch.searchsorted(batch, torch.arange(batch_size))
        category["category"][first] -= 1
        return (sum_of(whole, category, batch, batch_size) == 0).double()

    class Few(Coded):
        def sample(self, num_parts, generator=None):
            data = super().sample(num_parts, generator)
            data.category = torch.arange(len(data.category)) % 2 * 4
            codes = 31.0 ** data.category.double()
            data.whole = codes.view(len(num_parts), -1).sum(1, keepdim=True)
            return data

    (row,) = evaluate_recovery(
        Knowing(next_one), Few(), "category", 10, num_parts=[2], num_wholes=8
    )
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
    assert "| wholes right |" in " ".join(format_table(rows).split())
    write_evaluation(tmp_path / "rows.json", rows, seed=0)
    assert '"whole_accuracy": {' in (tmp_path / "rows.json").read_text()


def test_unfit_arguments_are_refused(refuses, shipped, dots):
    with refuses(ValueError, "field must be one of ('color', 'pos') (got 'colour')"):
        evaluate_recovery(shipped, dots, "colour", 5)
    with refuses(ValueError, "num_values must be at least 1 (got 0)"):
        evaluate_recovery(shipped, dots, "color", 0)
