from functools import partial

import pytest
import torch

from compvae_pyg import Dots, Problem, evaluation
from compvae_pyg.problems.dots import site_accuracy
from compvae_pyg.problems.repeatable import stream

evaluate = partial(evaluation.evaluate, num_classified=0)


class Bare(Dots):
    """Images of which nothing is known."""

    measure, compare, quantities = Problem.measure, Problem.compare, {}


def test_a_model_that_draws_the_ground_truth_is_as_accurate(ground_truth_model, dots):
    rows = evaluate(ground_truth_model, dots, num_parts=[1, 4, 16], num_wholes=400, num_draws=9)
    for row in rows:
        error = row.accuracy_ratio.standard_error
        assert row.accuracy_ratio.mean == pytest.approx(1.0, abs=4 * error + 0.02)
        assert error < 0.02
        # At a middling intensity an image is nearer to a true one than another true one is.
        assert row.generated_rmse.mean <= row.true_rmse.mean
    assert rows[0].true_accuracy.mean == rows[0].generated_accuracy.mean == 1.0
    assert rows[0].generated_rmse.mean == rows[0].true_rmse.mean == 0.0


def test_a_model_that_draws_wrong_colours_is_always_wrong_with_one_site(wrong_colour_model, dots):
    one, four = evaluate(wrong_colour_model, dots, num_parts=[1, 4], num_wholes=100, num_draws=9)
    assert one.generated_accuracy.mean == one.accuracy_ratio.mean == 0.0
    assert four.generated_accuracy.mean < 0.3 < four.true_accuracy.mean
    assert four.generated_rmse.mean > 2 * four.true_rmse.mean


def test_true_and_generated_accuracy_are_of_the_same_sites(ground_truth_model, dots):
    (row,) = evaluate(ground_truth_model, dots, num_parts=[5], num_wholes=30, num_draws=2, seed=2)
    source = stream(2, 5)
    data = dots.sample(torch.full((30,), 5), source)
    sites = (data.color, data.pos, data.batch)
    generated = ground_truth_model.generate(dots.pack(data))
    assert row.true_accuracy.mean == pytest.approx(float(site_accuracy(data.whole, *sites)))
    assert row.generated_accuracy.mean == pytest.approx(float(site_accuracy(generated, *sites)))
    rmse = float((generated - data.whole).square().mean().sqrt())
    assert row.generated_rmse.mean == pytest.approx(rmse)


def test_elbo_terms_are_those_of_the_general_evaluation(ground_truth_model, dots):
    (row,) = evaluate(ground_truth_model, dots, num_parts=[2], num_wholes=6, num_draws=2)
    (general,) = evaluate(ground_truth_model, Bare(), num_parts=[2], num_wholes=6, num_draws=0)
    assert general.estimates.items() <= row.estimates.items()


def test_a_row_depends_on_its_arguments_alone(untrained, dots):
    options = {"num_wholes": 6, "num_draws": 2, "num_samples": 2, "batch_size": 4}
    rows = evaluate(untrained, dots, num_parts=[1, 4], **options)
    torch.rand(5)
    state = torch.get_rng_state()
    (alone,) = evaluate(untrained, dots, num_parts=[4], **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert alone == rows[1]
    (other,) = evaluate(untrained, dots, num_parts=[4], seed=1, **options)
    assert other.generated_rmse != alone.generated_rmse


def test_a_model_that_draws_the_ground_truth_has_small_energy_distances(
    ground_truth_model, wrong_colour_model, dots
):
    """At one intensity, with no variety of its own, it lies a little off; in other colours, far."""
    options = {"num_parts": [1, 3], "num_wholes": 8, "num_draws": 40}
    (one, three), (_, wrong) = (
        evaluate(model, dots, **options) for model in (ground_truth_model, wrong_colour_model)
    )
    assert one.true_energy_distance.mean == one.generated_energy_distance.mean == 0.0
    assert 0.0 < three.true_energy_distance.mean < three.generated_energy_distance.mean
    assert 5.0 * three.generated_energy_distance.mean < wrong.generated_energy_distance.mean
    # An image of one site is of one colour: sums of images are nothing like an image of the sites.
    assert three.true_sum_energy_distance == three.generated_sum_energy_distance
    assert three.true_sum_energy_distance.mean > 5.0 * three.generated_energy_distance.mean


@pytest.mark.parametrize("value", [0.1, 0.4, 0.9])
def test_glitches_are_black_and_white_pixels_where_the_ground_truth_has_none(
    ground_truth_model, dots, value
):
    ground_truth_model.generate = lambda parts: torch.full((parts.batch_size, 3, 32, 32), value)
    options = {"num_parts": [4], "num_wholes": 30, "num_draws": 1, "seed": 3}
    (row,) = evaluate(ground_truth_model, dots, **options)
    source = stream(3, 4)
    data = dots.sample(torch.full((30,), 4), source)
    pixels = data.whole.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    wrong = {
        0.1: sum(max(pixel) > 0.5 for pixel in pixels),
        0.4: 0,
        0.9: sum(min(pixel) < 0.5 for pixel in pixels),
    }
    assert row.generated_glitches.mean == pytest.approx(wrong[value] / len(pixels))
    assert 0.0 < row.true_glitches.mean < 0.05
