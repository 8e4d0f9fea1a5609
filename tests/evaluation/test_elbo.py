import math
from functools import partial
from types import MappingProxyType

import pytest
import torch

from compvae_pyg import Dots, Problem, evaluation
from compvae_pyg.evaluation import Estimate
from compvae_pyg.problems import Quantity
from compvae_pyg.problems.repeatable import isolated, stream


class Bare(Dots):
    """Images of which nothing is known."""

    measure, compare, quantities = Problem.measure, Problem.compare, {}


evaluate = partial(evaluation.evaluate, num_draws=0, num_classified=0)


def flat(row):
    return {**row.counts, **row.estimates}


def test_known_terms_are_reported(ground_truth_model, dots):
    (row,) = evaluate(ground_truth_model, dots, num_parts=[2], num_wholes=7, batch_size=3)
    log_likelihood = -3072 * 0.5 * (0.25**2 + math.log(2 * math.pi))
    assert (row.num_parts, row.num_wholes) == (2, 7)
    assert row.log_likelihood.mean == pytest.approx(log_likelihood)
    assert row.elbo.mean == pytest.approx(log_likelihood - 3.5)
    assert row.reconstruction_rmse.mean == pytest.approx(0.25)
    assert row.kl_w.mean == 3.0
    assert row.kl_z.mean == 0.5
    assert row.kl_w.standard_error == 0.0
    assert row.kl_w_bits.mean == pytest.approx(3.0 / math.log(2.0))
    assert row.kl_z_bits.mean == pytest.approx(0.5 / math.log(2.0))


def test_evidence_is_the_elbo_and_what_importance_sampling_adds(ground_truth_model, dots):
    """To the first wholes alone: 1.5, 3.0 and 4.5 nats in the first batch, 1.5 in the second."""
    (row,) = evaluate(
        ground_truth_model,
        dots,
        num_parts=[2],
        num_wholes=7,
        num_weighted=4,
        num_samples=9,
        batch_size=3,
    )
    assert ground_truth_model.weighted == [(3, 6, 9), (1, 2, 9)]
    assert (row.num_weighted, row.num_samples) == (4, 9)
    assert row.log_evidence.mean - row.elbo.mean == pytest.approx((1.5 + 3.0 + 4.5 + 1.5) / 4)
    spread = torch.tensor([1.5, 3.0, 4.5, 1.5]).double().std()
    assert row.log_evidence.standard_error == pytest.approx(float(spread) / 2.0, rel=1e-4)


def test_importance_sampling_of_fewer_wholes_than_asked_for_takes_all(ground_truth_model, dots):
    (row,) = evaluate(ground_truth_model, dots, num_parts=[1], num_wholes=3, num_weighted=10)
    assert row.num_weighted == 3


def test_importance_sampling_disturbs_nothing_else_and_comes_closer(untrained, dots):
    options = {"num_parts": [3], "num_wholes": 9, "batch_size": 4, "num_draws": 4}
    (few,) = evaluate(untrained, dots, num_weighted=1, num_samples=1, **options)
    (many,) = evaluate(untrained, dots, num_weighted=6, num_samples=64, **options)
    differ = {k for k, value in flat(few).items() if value != flat(many)[k]}
    assert differ == {"num_weighted", "num_samples", "log_evidence"}
    assert many.log_evidence.mean > few.log_evidence.mean
    (again,) = evaluate(untrained, dots, num_weighted=6, num_samples=64, **options)
    assert again == many


def test_a_measure_of_your_own_is_estimated_from_the_wholes_of_all_batches(untrained, dots):
    class Lit(Bare):
        quantities = MappingProxyType({"light": Quantity("light", ratio="its ratio")})

        def measure(self, whole, parts):
            light = whole.flatten(1).mean(dim=1)
            return {"light": light, "odds": partial(Estimate.ratio, light, 1.0 - light)}

    options = {"num_parts": [2], "num_wholes": 7, "batch_size": 3, "num_samples": 1}
    (row,) = evaluate(untrained, Lit(), **options)
    source = stream(0, 2)
    drawn = [dots.sample(torch.full((size,), 2), source).whole for size in (3, 3, 1)]
    light = torch.cat(drawn).flatten(1).mean(dim=1)
    assert row.true_light == Estimate.of(light)
    assert row.true_odds == Estimate.ratio(light, 1.0 - light)
    assert row.light_ratio.mean == pytest.approx(row.generated_light.mean / row.true_light.mean)
    assert list(row.formatted())[:4] == ["K", "light", "ratio", "odds (ground truth)"]
    # What else is measured does not depend on it.
    (alone,) = evaluate(untrained, Bare(), **options)
    assert alone.elbo.mean == pytest.approx(row.elbo.mean, rel=0.1)


def test_no_batch_is_larger_than_asked_and_no_whole_is_lost(ground_truth_model, dots):
    evaluate(ground_truth_model, dots, num_parts=[1, 3], num_wholes=7, batch_size=3)
    assert ground_truth_model.batch_sizes == [3, 3, 1] * 2


def test_terms_are_those_of_the_model_on_the_wholes_of_the_seed(untrained, dots):
    (row,) = evaluate(untrained, dots, num_parts=[3], num_wholes=5, num_samples=1, seed=4)
    source = stream(4, 3)
    with isolated(untrained, 4) as device:
        data = dots.sample(torch.full((5,), 3), source).to(device)
        terms = untrained.elbo(data.whole, dots.parts(data), data.batch, 5)
    assert data.ptr.diff().tolist() == [3] * 5
    for name in ("log_likelihood", "kl_w", "kl_z"):
        value = getattr(terms, name).double()
        assert getattr(row, name).mean == pytest.approx(float(value.mean()))
        error = float(value.std()) / math.sqrt(5)
        assert getattr(row, name).standard_error == pytest.approx(error)


def test_a_row_depends_on_its_arguments_alone(untrained, dots):
    options = {"num_wholes": 6, "num_samples": 2, "batch_size": 4}
    rows = evaluate(untrained, dots, num_parts=[1, 4], **options)
    torch.rand(5)
    state = torch.get_rng_state()
    (alone,) = evaluate(untrained, dots, num_parts=[4], **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert alone == rows[1]
    first, second = (stream(0, size).initial_seed() for size in (1, 4))
    assert first != second
    (other,) = evaluate(untrained, dots, num_parts=[4], seed=1, **options)
    assert other.elbo != alone.elbo


def test_wholes_differ_from_those_of_a_training_with_the_same_seed(dots):
    pytest.importorskip("lightning")
    from compvae_pyg.training import Curriculum, GeneratedDataset, Schedule

    schedule = Schedule(3, 4, curriculum=Curriculum(1, 1, every=0))
    seen = GeneratedDataset(dots, schedule, seed=0)
    data = dots.sample(torch.ones(4, dtype=torch.long), stream(0, 1))
    assert not any(torch.isin(data.pos, seen[step].pos).any() for step in range(3))


@pytest.mark.parametrize("name", ["num_wholes", "batch_size", "num_weighted", "num_samples"])
def test_nothing_to_measure_is_refused(ground_truth_model, dots, refuses, name):
    with refuses(ValueError, name):
        evaluate(ground_truth_model, dots, **{"num_parts": [1], "num_wholes": 8, name: 0})
    with refuses(ValueError, "num_parts"):
        evaluate(ground_truth_model, dots, num_parts=[0])
