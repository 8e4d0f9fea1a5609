import math

import pytest
import torch

from compvae_pyg.evaluation import Estimate


def test_standard_error_is_the_spread_of_the_mean_over_repetitions():
    means = [Estimate.of(torch.randn(400) * 3.0).mean for _ in range(400)]
    found = Estimate.of(torch.randn(400) * 3.0).standard_error
    assert found == pytest.approx(float(torch.tensor(means).std()), rel=0.15)


def test_ratio_has_the_spread_of_ratios_over_repetitions():
    def draw():
        common = torch.randn(400)
        return 2.0 + common + 0.1 * torch.randn(400), 4.0 + common

    ratios = [Estimate.ratio(*draw()).mean for _ in range(400)]
    found = Estimate.ratio(*draw())
    assert found.mean == pytest.approx(0.5, abs=0.05)
    assert found.standard_error == pytest.approx(float(torch.tensor(ratios).std()), rel=0.2)


def test_root_mean_has_the_spread_of_roots_over_repetitions():
    roots = [Estimate.root_mean(torch.rand(400)).mean for _ in range(400)]
    found = Estimate.root_mean(torch.rand(400))
    assert found.mean == pytest.approx(math.sqrt(0.5), abs=0.05)
    assert found.standard_error == pytest.approx(float(torch.tensor(roots).std()), rel=0.2)


def test_large_values_keep_their_small_differences():
    values = torch.tensor([1e6, 1e6 + 1.0]).repeat(50_000)
    assert Estimate.of(values).mean == 1e6 + 0.5


def test_one_value_has_no_known_error():
    assert math.isnan(Estimate.of(torch.ones(1)).standard_error)


def test_a_ratio_to_nothing_is_not_a_number():
    assert math.isnan(Estimate.ratio(torch.ones(3), torch.zeros(3)).mean)


def test_no_error_in_nothing_but_zeros():
    assert Estimate.root_mean(torch.zeros(3)) == Estimate(0.0, 0.0)


def test_a_unit_changes_mean_and_error_alike():
    assert Estimate(2.0, 0.5).scaled(-2.0) == Estimate(-4.0, 1.0)


def test_values_must_be_a_vector(refuses):
    with refuses(ValueError, "values"):
        Estimate.of(torch.zeros(0))
    with refuses(ValueError, "values"):
        Estimate.of(torch.zeros(2, 2))


def test_a_corrected_mean_has_the_spread_of_repetitions():
    """Values and correction are correlated, the second known for a fifth of the wholes."""

    def draw():
        values = 5.0 + torch.randn(400)
        return values, 1.0 - 0.5 * values[:80] + torch.randn(80)

    means = [Estimate.corrected(*draw()).mean for _ in range(400)]
    found = Estimate.corrected(*draw())
    assert found.mean == pytest.approx(3.5, abs=0.6)
    assert found.standard_error == pytest.approx(float(torch.tensor(means).std()), rel=0.2)


def test_a_correction_known_for_all_is_part_of_the_values():
    values, correction = torch.randn(2, 50)
    found, known = Estimate.corrected(values, correction), Estimate.of(values + correction)
    assert found.mean == pytest.approx(known.mean)
    assert found.standard_error == pytest.approx(known.standard_error)


@pytest.mark.parametrize("count", [0, 4])
def test_a_correction_of_no_whole_or_too_many_is_refused(refuses, count):
    with refuses(ValueError, "correction"):
        Estimate.corrected(torch.zeros(3), torch.zeros(count))
