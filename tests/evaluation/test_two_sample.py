import math

import numpy as np
import pytest
import torch

from compvae_pyg.evaluation import (
    classifier_accuracy,
    energy_distance,
    maximum_mean_discrepancy,
)


def brute_force_discrepancy(x, y, h):
    def k(a, b):
        return math.exp(-0.5 * float(((a - b) ** 2).sum()) / h**2)

    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2.0 * sum(k(a, b) for a in x for b in y) / (n * m)


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_discrepancy_is_the_sum_over_all_pairs():
    x, y = draws(3, 7, 4), 0.5 * draws(3, 5, 4, seed=1) + 1.0
    found = maximum_mean_discrepancy(x, y, bandwidth=1.3)
    for i in range(3):
        expected = brute_force_discrepancy(x[i].numpy(), y[i].numpy(), 1.3)
        assert float(found[i]) == pytest.approx(expected, rel=1e-6)


def test_bandwidth_is_the_median_distance():
    x, y = draws(6, 2), draws(9, 2, seed=1)
    points = torch.cat([x, y]).double()
    within = [torch.cdist(a, b).flatten() for a, b in ((x.double(), x.double()),)]
    within += [torch.cdist(y.double(), y.double()).flatten()]
    within += [torch.cdist(x.double(), y.double()).flatten()]
    width = float(torch.cat(within).median())
    assert points.shape == (15, 2)
    found, expected = (maximum_mean_discrepancy(x, y, h) for h in (None, width))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_discrepancy_is_zero_on_average_for_one_distribution_and_not_for_two():
    x, y, z = draws(200, 30, 3), draws(200, 30, 3, seed=1), 0.5 + draws(200, 30, 3, seed=2)
    same, other = maximum_mean_discrepancy(x, y), maximum_mean_discrepancy(x, z)
    error = float(same.std()) / math.sqrt(200)
    assert abs(float(same.mean())) < 4.0 * error < 0.01
    assert float(other.mean()) > 0.02


@pytest.mark.parametrize("shape", [(400, 5), (400, 3, 8, 8)])
def test_classifier_does_not_distinguish_one_distribution_and_does_two(shape):
    x, y = draws(*shape), draws(*shape, seed=1)
    same = classifier_accuracy(x, y, num_steps=60, batch_size=64, channels=16)
    assert abs(same.mean - 0.5) < 4.0 * same.standard_error
    assert same.standard_error == pytest.approx(0.5 / math.sqrt(400), rel=0.05)
    other = classifier_accuracy(x, y + 1.0, num_steps=60, batch_size=64, channels=16)
    assert other.mean > 0.8


def test_classifier_comes_near_the_best_accuracy_of_two_gaussians():
    # That of the optimal rule, Phi(d / 2), at the distance d of the means.
    x, y = draws(4000, 2), draws(4000, 2, seed=1)
    y[:, 0] += 1.5
    best = 0.5 * (1.0 + math.erf(0.75 / math.sqrt(2.0)))
    found = classifier_accuracy(x, y, num_steps=200)
    assert found.mean == pytest.approx(best, abs=0.02)


def test_classifier_does_not_depend_on_units_nor_on_the_global_random_source():
    x, y = draws(100, 4), draws(100, 4, seed=1) + 0.3
    y[:, 3] = x[:, 3] = 5.0  # a constant
    options = {"num_steps": 20, "channels": 8}
    state = torch.get_rng_state()
    first = classifier_accuracy(x, y, **options)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert classifier_accuracy(x, y, **options) == first
    assert classifier_accuracy(1000.0 * x, 1000.0 * y, **options) == first


@pytest.mark.parametrize("function", [energy_distance, maximum_mean_discrepancy])
def test_distances_are_symmetric(function):
    x, y = draws(8, 3), draws(11, 3, seed=1)
    np.testing.assert_allclose(float(function(x, y)), float(function(y, x)), rtol=1e-12)


def test_samples_that_do_not_fit_are_refused(refuses):
    with refuses(ValueError, "x"):
        maximum_mean_discrepancy(torch.zeros(1, 3), torch.zeros(2, 3))
    with refuses(ValueError, "bandwidth"):
        maximum_mean_discrepancy(torch.zeros(2, 3), torch.zeros(2, 3), bandwidth=0.0)
    with refuses(ValueError, "x"):
        classifier_accuracy(torch.zeros(8, 3), torch.zeros(9, 3))
    with refuses(ValueError, "x"):
        classifier_accuracy(torch.zeros(3, 3), torch.zeros(3, 3))
    with refuses(TypeError, "x"):
        classifier_accuracy(torch.zeros(8, 3, dtype=torch.long), torch.zeros(8, 3))
    with refuses(ValueError, "num_steps"):
        classifier_accuracy(torch.zeros(8, 3), torch.zeros(8, 3), num_steps=0)
