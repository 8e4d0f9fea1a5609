import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compvae_pyg import Sines
from compvae_pyg.evaluation import evaluate_removal, format_table
from compvae_pyg.problems import render_dots
from compvae_pyg.problems.repeatable import stream

INTENSITY = 7.5


class DrawnSites:
    """A composition of sites of one intensity, which the ground truth draws."""

    def __init__(self, sites, stain=0.0):
        self.sites, self.stain = sites, stain

    def remove(self, index):
        return DrawnSites(self.sites.without(index))

    def decode(self):
        sites = self.sites
        intensity = torch.full((sites.num_parts,), INTENSITY)
        drawn = render_dots(sites["color"], sites["pos"], intensity, sites.batch, sites.batch_size)
        return SimpleNamespace(mean=drawn + self.stain)


class KnownSitesModel(nn.Module):
    """Infers the sites of an image as they are, except for their intensities."""

    def infer(self, whole, sites):
        return DrawnSites(sites)

    def generate(self, sites):
        return 0.5 * DrawnSites(sites).decode().mean


@pytest.fixture
def one_intensity(dots, monkeypatch):
    """The dots, all of the intensity that the model supposes."""
    monkeypatch.setattr(dots, "intensity_range", (INTENSITY, INTENSITY))
    return dots


def test_removal_uses_only_remaining_parts(one_intensity):
    two, four = evaluate_removal(
        KnownSitesModel(), one_intensity, num_parts=[2, 4], num_wholes=40, batch_size=16
    )
    for row in (two, four):
        assert row.num_wholes == 40
        assert row.reconstruction_rmse.mean == row.removal_rmse.mean == 0.0
        assert row.settled_rmse.mean == 0.0
        assert row.kept_rmse.mean > 0.1
        assert row.removal_accuracy == row.true_accuracy
        assert row.accuracy_ratio.mean == 1.0
    # Of two sites one is left, and an image of one site is of one colour.
    assert two.true_accuracy.mean == 1.0 and 0.8 < four.true_accuracy.mean < 1.0


def test_settled_wholes_are_decoded_from_latents_inferred_again(one_intensity):
    class StainingModel(KnownSitesModel):
        """Leaves a stain where a part was removed, and none when it infers again."""

        def infer(self, whole, sites):
            drawn = DrawnSites(sites)
            drawn.remove = lambda index: DrawnSites(sites.without(index), stain=0.25)
            return drawn

    (row,) = evaluate_removal(StainingModel(), one_intensity, num_parts=[4], num_wholes=20)
    assert row.removal_rmse.mean == pytest.approx(0.25)
    assert row.settled_rmse.mean == 0.0


def test_differences_are_those_to_the_ground_truth_without_the_part(one_intensity):
    (row,) = evaluate_removal(
        KnownSitesModel(), one_intensity, num_parts=[3], num_wholes=30, seed=2
    )
    data = one_intensity.sample(torch.full((30,), 3), stream(2, 3))
    sites = one_intensity.pack(data)
    truth = DrawnSites(sites.without(torch.arange(0, 90, 3))).decode().mean
    square = (0.5 * truth - truth).square().mean().sqrt()
    kept = (data.whole - truth).square().mean().sqrt()
    assert row.generated_rmse.mean == pytest.approx(square.item(), rel=1e-5)
    assert row.kept_rmse.mean == pytest.approx(kept.item(), rel=1e-5)


def test_intensities_of_the_sites_that_stay_are_those_that_were_observed(dots):
    # The model does not know them: its error is what the intensities make.
    (row,) = evaluate_removal(KnownSitesModel(), dots, num_parts=[4], num_wholes=40)
    assert 0.02 < row.removal_rmse.mean < 0.2
    assert row.reconstruction_rmse.mean < row.kept_rmse.mean


def test_rows_depend_on_the_seed_alone(untrained, dots):
    state = torch.get_rng_state()
    options = {"num_wholes": 6, "batch_size": 4}
    both = evaluate_removal(untrained, dots, num_parts=[2, 3], **options)
    (again,) = evaluate_removal(untrained, dots, num_parts=[3], **options)
    assert both[1] == again
    assert torch.equal(torch.get_rng_state(), state)
    (other,) = evaluate_removal(untrained, dots, num_parts=[3], seed=1, **options)
    assert other != again


class DrawnWaves:
    """A composition of waves of amplitude 1, phase 0, which the ground truth draws."""

    def __init__(self, sines, waves, goes):
        self.sines, self.waves, self.goes = sines, waves, goes

    def remove(self, index):
        return DrawnWaves(self.sines, self.waves.without(self.goes(index)), self.goes)

    def decode(self):
        waves, one = self.waves, torch.ones(self.waves.num_parts)
        sets = (waves.batch, waves.batch_size)
        return SimpleNamespace(mean=self.sines.render(waves["category"], one, 0.0 * one, *sets))


class KnownWavesModel(nn.Module):
    """Infers the waves of a curve as they are, and removes those asked for, or others."""

    def __init__(self, sines, goes):
        super().__init__()
        self.sines, self.goes = sines, goes

    def infer(self, whole, waves):
        return DrawnWaves(self.sines, waves, self.goes)

    def generate(self, waves):
        return self.infer(None, waves).decode().mean


def test_removing_a_wave_leaves_the_others():
    sines = Sines(amplitude_std=0.0, phase_std=0.0)
    model = KnownWavesModel(sines, goes=lambda index: index)
    (row,) = evaluate_removal(model, sines, num_parts=[4], num_wholes=60, batch_size=25)
    for rmse in (row.reconstruction_rmse, row.removal_rmse, row.alone_rmse):
        assert rmse.mean < 1e-5
    assert row.amplitude.mean == pytest.approx(1.0, abs=1e-3)
    for rest in (row.amplitude_left, row.leak, row.others_error, row.others_removal_error):
        assert rest.mean < 1e-3
    assert row.kept_rmse.mean > 0.5


def test_a_wave_that_is_left_and_one_that_is_lost_are_seen():
    sines = Sines(amplitude_std=0.0, phase_std=0.0)
    # Of two waves the other one goes.
    model = KnownWavesModel(sines, goes=lambda index: index + 1)
    (row,) = evaluate_removal(model, sines, num_parts=[2], num_wholes=60)
    assert row.others_error.mean < 1e-3 and row.leak.mean < 1e-3
    assert row.amplitude_left.mean == pytest.approx(1.0, abs=1e-3)
    assert row.others_removal_error.mean == pytest.approx(1.0, abs=1e-3)
    # Two waves of one frequency are alike, and it does not matter which of them goes.
    num_alone = round(60 * (row.removal_rmse.mean / row.alone_rmse.mean) ** 2)
    data = sines.sample(torch.full((60,), 2), stream(0, 2))
    first, second = data.category.view(60, 2).T
    assert num_alone == int((first != second).sum()) < 60


def test_waves_of_one_frequency_are_not_distinguished():
    sines = Sines(num_categories=1, amplitude_std=0.0, phase_std=0.0)
    model = KnownWavesModel(sines, goes=lambda index: index)
    (row,) = evaluate_removal(model, sines, num_parts=[2], num_wholes=5)
    assert all(math.isnan(x.mean) for x in (row.amplitude, row.amplitude_left, row.leak))
    assert math.isnan(row.others_error.mean) and row.removal_rmse.mean < 1e-5


def test_curves_are_measured_as_well():
    torch.manual_seed(0)
    sines = Sines()
    (row,) = evaluate_removal(sines.build("small"), sines, num_parts=[3], num_wholes=8)
    assert len(row.estimates) == 11
    header = format_table([row]).split("\n")[0]
    for title in ("alone rmse", "amplitude left", "leak", "others error"):
        assert f" {title} |" in header
    assert "true accuracy" not in header


def test_table_shows_each_column(untrained, dots):
    rows = evaluate_removal(untrained, dots, num_parts=[2, 3], num_wholes=4)
    header, _, *lines = format_table(rows).split("\n")
    for title in ("K", "reconstruction rmse", "removal rmse", "kept rmse", "true accuracy"):
        assert f" {title} |" in header
    assert [line.split("|")[1].strip() for line in lines] == ["2", "3"]


def test_a_whole_of_one_part_is_refused(refuses, untrained, dots):
    with refuses(ValueError, "num_parts"):
        evaluate_removal(untrained, dots, num_parts=[4, 1])
