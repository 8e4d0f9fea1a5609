from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from compvae_pyg.evaluation import energy_distance
from compvae_pyg.evaluation.samples import compare_draws
from compvae_pyg.nn import PackedParts


class AffineModel(nn.Module):
    """Draws twice the sum of its parts and one."""

    def __init__(self):
        super().__init__()
        self.batch_sizes = []

    def generate(self, parts):
        self.batch_sizes.append(parts.batch_size)
        return 2.0 * parts.sum(parts["value"]) + 1.0


def add_up(value, batch, batch_size, source):
    """A ground truth without chance: each whole is the sum of its parts."""
    return PackedParts(value, batch, batch_size).sum(value)


class Drawn:
    """A problem whose wholes a function draws."""

    part_fields, _purpose_of_sets = ("value",), ""

    def __init__(self, draw, value, num_parts):
        self.draw = draw
        sets = torch.arange(len(value) // num_parts).repeat_interleave(num_parts)
        self.sets = PackedParts({"value": value}, sets)

    def sample_parts(self, num_parts, source):
        return self.sets


def compare(model, draw, value, num_parts, num_draws=3, batch_size=4):
    problem, num_sets = Drawn(draw, value, num_parts), len(value) // num_parts
    found = compare_draws(model, problem, num_parts, num_sets, num_draws, 0, batch_size)
    return SimpleNamespace(**found)


def brute_force_energy_distance(x, y):
    def mean(first, second):
        return np.mean([[np.linalg.norm(a - b) for b in second] for a in first])

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def test_energy_distance_is_that_of_all_pairs():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    y = 0.5 + 2.0 * torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    found = energy_distance(x, y)
    assert found.shape == (3,)
    for i in range(3):
        expected = brute_force_energy_distance(x[i].numpy(), y[i].numpy())
        assert float(found[i]) == pytest.approx(expected, rel=1e-12)


def test_energy_distance_is_zero_for_equal_samples_and_grows_with_a_shift():
    x = torch.randn(40, 200, generator=torch.Generator().manual_seed(0))
    assert float(energy_distance(x, x)) == 0.0
    assert float(energy_distance(x, x.flip(0))) == pytest.approx(0.0, abs=1e-12)
    near, far = (float(energy_distance(x, x + shift)) for shift in (0.1, 1.0))
    assert 0.0 < near < far


def test_energy_distance_of_point_masses_is_twice_their_distance():
    x, y = torch.zeros(3, 2), torch.tensor([[3.0, 4.0]] * 5)
    assert float(energy_distance(x, y)) == pytest.approx(10.0)


@pytest.mark.parametrize(("x", "y"), [((4,), (4,)), ((2, 3), (2, 4)), ((0, 3), (2, 3))])
def test_samples_that_cannot_be_compared_are_refused(refuses, x, y):
    with refuses(ValueError, "x"):
        energy_distance(torch.zeros(x), torch.zeros(y))


def test_where_nothing_is_random_distances_are_those_of_single_wholes():
    """Twice the root of the mean square: for sets of the sums s, |s + 1| and |s + K| apart."""
    value = torch.tensor([[1.0], [2.0], [-4.0], [0.0], [3.0], [5.0]]).expand(6, 7)
    found = compare(AffineModel(), add_up, value, num_parts=3)
    assert found.true_energy_distance.mean == 0.0
    assert found.true_sum_energy_distance.mean == 0.0
    sums = np.array([-1.0, 8.0])
    generated, generated_sum = 2.0 * np.abs(sums + 1.0), 2.0 * np.abs(sums + 3.0)
    assert found.generated_energy_distance.mean == pytest.approx(generated.mean())
    assert found.generated_sum_energy_distance.mean == pytest.approx(generated_sum.mean())
    error = generated.std(ddof=1) / np.sqrt(2)
    assert found.generated_energy_distance.standard_error == pytest.approx(error)


def test_no_batch_is_larger_than_asked():
    model = AffineModel()
    compare(model, add_up, torch.ones(4, 1), num_parts=2, num_draws=5, batch_size=4)
    # Ten wholes, then each of their two parts alone.
    assert model.batch_sizes == [4, 4, 2] + 2 * [4] + 2 * [4] + 2 * [2]


def test_parts_that_add_up_are_a_sum_and_others_are_not():
    def noisy(value, batch, batch_size, source):
        noise = torch.randn(value.shape, generator=source)
        return add_up(value + noise, batch, batch_size, source)

    def saturated(*args):
        return torch.tanh(noisy(*args))

    value = torch.tensor([[0.5], [1.0], [-1.0], [2.0]])
    for draw, adds_up in ((noisy, True), (saturated, False)):
        found = compare(AffineModel(), draw, value, num_parts=4, num_draws=300, batch_size=64)
        whole, parts = found.true_energy_distance.mean, found.true_sum_energy_distance.mean
        assert (parts < 4.0 * whole) == adds_up


def test_sums_are_of_independent_parts():
    """Of two parts of equal description, whose values are drawn, the sum varies twice as much."""
    drawn = []

    def noise(value, batch, batch_size, source):
        drawn.append(torch.randn(batch_size, 1, generator=source))
        return drawn[-1]

    compare(AffineModel(), noise, torch.zeros(2, 1), num_parts=2, num_draws=500, batch_size=500)
    *_, first, second = drawn
    assert abs(float((first * second).mean())) < 4.0 / 500**0.5
