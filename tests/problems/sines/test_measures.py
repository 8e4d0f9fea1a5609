import json
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from compvae_pyg import evaluation
from compvae_pyg.evaluation import format_table, write_evaluation
from compvae_pyg.models import Elbo
from compvae_pyg.problems import Sines
from compvae_pyg.problems.repeatable import stream
from compvae_pyg.problems.sines import spectrum

evaluate = partial(evaluation.evaluate, num_classified=0)


class GroundTruthModel(nn.Module):
    """Draws true curves of the waves that it is asked for; reconstructs up to a constant."""

    def __init__(self, sines):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.sines = sines
        self.batch_sizes = []

    def elbo(self, whole, parts):
        likelihood = Independent(Normal(whole + 0.25, torch.ones_like(whole)), 1)
        one = whole.new_ones(parts.batch_size)
        return Elbo(likelihood.log_prob(whole), 3.0 * one, 0.5 * one, likelihood)

    def log_likelihood(self, whole, parts, *, num_samples, chunk_size):
        return self.elbo(whole, parts).elbo

    def generate(self, parts):
        self.batch_sizes.append(parts.batch_size)
        return self.sines.draw(parts["category"], parts.batch, parts.batch_size)


class NextCategoryModel(GroundTruthModel):
    """Draws true curves of other waves: each of the next category."""

    def generate(self, parts):
        return super().generate(parts.with_fields({"category": (parts["category"] + 1) % 10}))


class OffsetModel(GroundTruthModel):
    """Draws curves beyond the largest value of a curve."""

    def generate(self, parts):
        return 100.0 + super().generate(parts)


@pytest.fixture(scope="module")
def sines():
    return Sines()


def test_a_model_that_draws_the_ground_truth_has_its_spectrum(sines):
    rows = evaluate(
        GroundTruthModel(sines), sines, num_parts=[1, 8, 30], num_wholes=600, num_draws=60
    )
    for row in rows:
        for name in ("true", "generated"):
            amplitude, std = (getattr(row, f"{name}_amplitude{end}") for end in ("", "_std"))
            assert amplitude.mean == pytest.approx(1.0, abs=4 * amplitude.standard_error)
            assert std.mean == pytest.approx(0.3, abs=4 * std.standard_error)
            assert 0.0 < amplitude.standard_error < 0.02
            assert 0.0 < std.standard_error < 0.02
            assert getattr(row, f"{name}_leak").mean < 1e-3
            assert getattr(row, f"{name}_outside").mean < 1e-3
            assert getattr(row, f"{name}_clipped").mean < 1e-4
        true, generated = row.true_energy_distance, row.generated_energy_distance
        error = 4 * (true.standard_error + generated.standard_error)
        assert generated.mean == pytest.approx(true.mean, abs=error)


def test_other_waves_show_in_amplitude_leak_and_energy_distance(sines):
    (row,) = evaluate(NextCategoryModel(sines), sines, num_parts=[4], num_wholes=200, num_draws=200)
    assert row.generated_amplitude.mean < 0.7
    assert row.generated_leak.mean > 0.3
    assert row.generated_leak.mean > 100 * row.true_leak.mean
    assert row.generated_energy_distance.mean > 3 * row.true_energy_distance.mean
    # The frequencies are those of the problem all the same.
    assert row.generated_outside.mean < 1e-3


def test_wrong_phases_show_in_the_energy_distance_alone(sines):
    aligned = GroundTruthModel(Sines(phase_std=0.1))
    (row,) = evaluate(aligned, sines, num_parts=[4], num_wholes=200, num_draws=60)
    assert row.generated_amplitude.mean == pytest.approx(1.0, abs=0.1)
    assert row.generated_energy_distance.mean > 3 * row.true_energy_distance.mean


def test_curves_beyond_their_bounds_are_clipped_and_counted(sines):
    (row,) = evaluate(OffsetModel(sines), sines, num_parts=[3], num_wholes=20, num_draws=5)
    assert row.generated_clipped.mean == 1.0
    assert row.generated_outside.mean == pytest.approx(1.0)
    assert math.isfinite(row.generated_amplitude.mean)


def test_energy_distances_are_on_the_scale_of_the_curves():
    """Where nothing is random, it is twice the distance of the curve generated to the true one."""
    fixed = Sines(amplitude_std=0.0, phase_std=0.0)
    (row,) = evaluate(OffsetModel(fixed), fixed, num_parts=[2], num_wholes=2, num_draws=3)
    assert row.true_energy_distance.mean == 0.0
    assert row.generated_energy_distance.mean == pytest.approx(2 * 100.0)


def test_estimates_are_those_of_all_amplitudes_taken_together(sines):
    (row,) = evaluate(
        GroundTruthModel(sines),
        sines,
        num_parts=[5],
        num_wholes=40,
        num_draws=2,
        batch_size=40,
        seed=2,
    )
    source = stream(2, 5)
    data = sines.sample(torch.full((40,), 5), source)
    amplitude = spectrum(data.whole, data.ptr.diff(), reach=2.2).amplitude
    once, absent = [], []
    for s, category in enumerate(data.category.view(40, 5).tolist()):
        for c in range(10):
            if category.count(c) < 2:
                (once if c in category else absent).append(float(amplitude[s, c]))
    assert row.true_amplitude.mean == pytest.approx(sum(once) / len(once))
    std = float(torch.tensor(once).double().std(correction=0))
    assert row.true_amplitude_std.mean == pytest.approx(std)
    assert row.true_leak.mean == pytest.approx(sum(absent) / len(absent))


def test_the_spectrum_uses_the_parameters_of_the_problem():
    other = Sines(nonlinearity=1.0, period=80.0, num_categories=9, amplitude_mean=2.0)
    (row,) = evaluate(GroundTruthModel(other), other, num_parts=[3], num_wholes=300, num_draws=4)
    assert row.true_amplitude.mean == pytest.approx(2.0, abs=4 * row.true_amplitude.standard_error)
    assert row.true_leak.mean < 1e-3


def test_no_batch_is_larger_than_asked_and_no_curve_is_lost(sines):
    model = GroundTruthModel(sines)
    options = {"num_part_sets": 2, "num_draws": 4, "batch_size": 5}
    evaluate(model, sines, num_parts=[2], num_wholes=7, **options)
    # Wholes, samples of two parts each, their parts one by one, and half of sixteen wholes.
    assert model.batch_sizes == [5, 2, 5, 3, 5, 5, 3, 3, 5, 5, 1]


def test_a_row_depends_on_its_arguments_alone(sines):
    options = {"num_wholes": 20, "num_draws": 4, "batch_size": 8}
    rows = evaluate(GroundTruthModel(sines), sines, num_parts=[1, 4], **options)
    torch.rand(5)
    state = torch.get_rng_state()
    (alone,) = evaluate(GroundTruthModel(sines), sines, num_parts=[4], **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert alone == rows[1]
    (other,) = evaluate(GroundTruthModel(sines), sines, num_parts=[4], seed=1, **options)
    assert other.generated_amplitude != alone.generated_amplitude
    assert other.generated_energy_distance != alone.generated_energy_distance


def test_what_no_curve_has_is_missing(sines, tmp_path):
    """With a hundred waves of two categories, none is absent and none is there once."""
    two = Sines(num_categories=2)
    few = {"num_parts": [100], "num_wholes": 4, "num_draws": 2, "num_classified": 0}
    rows = evaluate(GroundTruthModel(two), two, **few)
    assert math.isnan(rows[0].true_amplitude.mean)
    assert math.isnan(rows[0].generated_amplitude_std.mean)
    assert math.isnan(rows[0].generated_leak.mean)
    assert "nan (nan)" in format_table(rows)
    write_evaluation(tmp_path / "rows.json", rows, seed=0)
    (written,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert written["generated_amplitude_std"]["mean"] is None


def test_the_table_shows_generated_beside_true(sines):
    rows = evaluate(GroundTruthModel(sines), sines, num_parts=[4], num_wholes=50, num_draws=5)
    head, _, line = format_table(rows).splitlines()
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    cells = dict(zip(columns, map(str.strip, line.strip("|").split("|")), strict=True))
    row = rows[0]
    assert cells["K"] == "4"
    shown = f"{row.generated_amplitude.mean:.2f} ({row.true_amplitude.mean:.2f})"
    assert cells["amplitude (ground truth)"] == shown
    assert cells["leak (ground truth)"] == "0.00 (0.00)"
    distances = row.generated_energy_distance.mean, row.true_energy_distance.mean
    assert cells["energy distance (oracle)"] == "{:.3f} ({:.3f})".format(*distances)


@pytest.mark.parametrize("name", ["num_part_sets", "num_wholes"])
def test_nothing_to_measure_is_refused(sines, refuses, name):
    with refuses(ValueError, name):
        evaluate(sines.build("small"), sines, **{"num_parts": [1], name: 0})
