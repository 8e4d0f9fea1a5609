"""What is measured on any problem, without knowledge of it."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from compvae_pyg import Dots, Problem, Sines, evaluation
from compvae_pyg.evaluation import evaluate, format_table, read_evaluation
from compvae_pyg.models import Elbo
from compvae_pyg.nn import pack
from compvae_pyg.problems import Digits, packed_batch

RESULTS = Path(__file__).parents[2] / "docs" / "results"
OPTIONS = {"num_parts": [1], "num_wholes": 4, "num_samples": 1, "num_draws": 16}


class Points(Problem):
    """Wholes are points of the unit square: noise alone, or noise and their parts."""

    name, part_fields, event_shape, value_range = "points", ("value",), (2,), (0.0, 1.0)

    def sample(self, num_parts, generator=None):
        batch, _ = pack(num_parts)
        value = torch.rand(batch.shape, generator=generator)
        whole = self.draw(value, batch, len(num_parts), generator)
        return packed_batch({"value": value}, whole, num_parts)

    def draw(self, value, batch, batch_size, generator=None):
        return torch.rand(batch_size, 2, generator=generator)


class ChangedModel(nn.Module):
    """Draws true points, and changes them."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def elbo(self, whole, parts):
        one, likelihood = whole.new_ones(len(whole)), Independent(Normal(whole, 1.0), 1)
        return Elbo(likelihood.log_prob(whole), one, one, likelihood)

    def log_likelihood(self, whole, parts, *, num_samples, chunk_size):
        return self.elbo(whole, parts).elbo

    def generate(self, parts):
        return self.change(torch.rand(parts.batch_size, 2))


def accuracy(change, problem=None, **options):
    problem = problem or Points()
    model, options = ChangedModel(change), {**OPTIONS, "num_classified": 400, **options}
    (row,) = evaluate(model, problem, **options)
    return row


def test_true_wholes_are_not_distinguished_and_others_are():
    same, dark = accuracy(lambda x: x), accuracy(lambda x: 0.4 * x)
    assert same.num_classified == dark.num_classified == 400
    for row in (same, dark):
        error = row.true_classifier_accuracy.standard_error
        assert row.true_classifier_accuracy.mean == pytest.approx(0.5, abs=4.0 * error)
    assert same.generated_classifier_accuracy.mean == pytest.approx(0.5, abs=0.12)
    assert dark.generated_classifier_accuracy.mean > 0.75
    for name in ("marginal_energy_distance", "mmd"):
        own, other = (getattr(row, f"generated_{name}").mean for row in (same, dark))
        assert other > own


@pytest.mark.usefixtures("quick_classifier")
def test_samples_are_of_different_wholes():
    seen = []

    class Watched(Points):
        def batches(self, num_parts, num_wholes, batch_size, generator):
            for data in super().batches(num_parts, num_wholes, batch_size, generator):
                seen.append(data.whole)
                yield data

    accuracy(lambda x: x, Watched(), num_draws=4, batch_size=5, num_classified=40)
    assert len(torch.cat(seen).unique(dim=0)) == 4 + 2 * 40


def test_generated_wholes_are_clamped_to_the_range_of_true_ones():
    def beyond(points):
        return torch.where(points > 0.97, points + 5.0, points)

    row = accuracy(beyond)
    assert row.generated_classifier_accuracy.mean == pytest.approx(0.5, abs=0.12)

    class Unlimited(Points):
        value_range = None

    far = accuracy(beyond, Unlimited()).generated_marginal_energy_distance
    assert far.mean > 1.5 * row.generated_marginal_energy_distance.mean


def test_spread_is_that_of_two_wholes_of_the_same_parts():
    sines = Sines()
    options = {**OPTIONS, "num_parts": [3], "num_draws": 300, "num_classified": 0}
    (row,) = evaluate(sines.build("small"), sines, **options)
    data = sines.sample(torch.full((400,), 3), torch.Generator().manual_seed(5))
    pairs = [sines.draw(data.category, data.batch, 400) for _ in range(2)]
    expected = float((pairs[0] - pairs[1]).square().mean().sqrt())
    assert row.true_spread.mean == pytest.approx(expected, rel=0.15)


@pytest.mark.usefixtures("quick_classifier")
def test_what_is_left_out_changes_nothing_else(untrained, dots):
    few = {"num_parts": [2], "num_wholes": 5, "num_samples": 1}
    (bare,) = evaluate(untrained, dots, **few, num_draws=0, num_classified=0)
    (more,) = evaluate(untrained, dots, **few, num_draws=3, num_classified=4)
    assert bare.estimates.items() < more.estimates.items()
    assert "C2ST (oracle)" in format_table([more]) and "C2ST" not in format_table([bare])
    # Rows of both have all columns, with a dash where one was not measured.
    head, _, first, second = format_table([bare, more]).split("\n")
    assert head.split() == format_table([more]).split("\n")[0].split()
    assert "–" in first and "–" not in second


def test_every_committed_evaluation_is_read():
    problems = {"dots": Dots, "sines": Sines, "digits": Digits}
    known = [
        (path, problem)
        for path in RESULTS.rglob("*.json")
        for name, problem in problems.items()
        if path.relative_to(RESULTS).parts[0].startswith(name)
    ]
    assert len(known) > 15
    for path, problem in known:
        rows = read_evaluation(path, quantities=problem.quantities)
        assert all(row.num_parts and row.elbo.mean for row in rows), path
    for name in ("compose-dots", "compose-sines"):
        rows = read_evaluation(RESULTS / name / "removal.json")
        assert "removal rmse" in format_table(rows)


def test_the_defaults_are_those_of_the_problem(untrained, dots, monkeypatch):
    monkeypatch.setattr(Dots, "evaluated_parts", (2, 3))
    rows = evaluation.evaluate(
        untrained, dots, num_wholes=3, num_samples=1, num_draws=2, num_classified=0
    )
    assert [row.num_parts for row in rows] == [2, 3]
