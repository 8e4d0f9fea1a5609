import dataclasses
import math

import pytest
import torch
from torch import nn

from compvae_pyg import Sines
from compvae_pyg.evaluation import SinesRemovalRow, evaluate_removal, format_table
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.problems import render_dots

INTENSITY = 7.5


class Drawn:
    """What stands for a composition: sites of one intensity, drawn by the ground truth."""

    def __init__(self, parts, batch, batch_size):
        self.parts, self.batch, self.batch_size = parts, batch, batch_size

    def remove(self, index):
        stays = torch.ones(len(self.batch), dtype=torch.bool)
        stays[index] = False
        parts = {name: value[stays] for name, value in self.parts.items()}
        return Drawn(parts, self.batch[stays], self.batch_size)

    def decode(self):
        intensity = torch.full((len(self.batch),), INTENSITY)
        self.mean = render_dots(
            self.parts["color"], self.parts["pos"], intensity, self.batch, self.batch_size
        )
        return self


class Seer(nn.Module):
    """Sees the sites of an image as they are, but for their intensities."""

    def infer(self, whole, parts, batch, batch_size):
        return Drawn(parts, batch, batch_size)

    def generate(self, parts, batch, batch_size):
        return 0.5 * Drawn(parts, batch, batch_size).decode().mean


@pytest.fixture
def told(dots, monkeypatch):
    """The dots, all of the intensity that the seer supposes."""
    monkeypatch.setattr(dots, "intensity_range", (INTENSITY, INTENSITY))
    return dots


def test_who_sees_the_parts_removes_without_a_trace(told):
    two, four = evaluate_removal(Seer(), told, num_parts=[2, 4], num_wholes=40, batch_size=16)
    for row in (two, four):
        assert row.num_wholes == 40
        assert row.reconstruction_rmse.mean == row.removal_rmse.mean == 0.0
        assert row.settled_rmse.mean == 0.0
        assert row.kept_rmse.mean > 0.1
        assert row.removal_accuracy == row.true_accuracy
        assert row.accuracy_ratio.mean == 1.0
    # Of two sites one is left, and an image of one site is of one colour.
    assert two.true_accuracy.mean == 1.0 and 0.8 < four.true_accuracy.mean < 1.0


def test_what_stays_settles_when_it_is_inferred_from_what_it_decodes_to(told):
    class Stained(Drawn):
        def decode(self):
            super().decode()
            self.mean = self.mean + 0.25
            return self

    class Stainer(Seer):
        """Leaves a stain where a part was, and sees none when it looks again."""

        def infer(self, whole, parts, batch, batch_size):
            drawn = Drawn(parts, batch, batch_size)
            drawn.remove = lambda index: Stained(**vars(Drawn.remove(drawn, index)))
            return drawn

    (row,) = evaluate_removal(Stainer(), told, num_parts=[4], num_wholes=20)
    assert row.removal_rmse.mean == pytest.approx(0.25)
    assert row.settled_rmse.mean == 0.0


def test_differences_are_those_to_the_truth_without_the_part(told):
    (row,) = evaluate_removal(Seer(), told, num_parts=[3], num_wholes=30, seed=2)
    data = told.sample(torch.full((30,), 3), evaluation_generator(2, 3))
    truth = Drawn(told.parts(data), data.batch, 30).remove(torch.arange(0, 90, 3)).decode().mean
    square = (0.5 * truth - truth).square().mean().sqrt()
    kept = (data.whole - truth).square().mean().sqrt()
    assert row.generated_rmse.mean == pytest.approx(square.item(), rel=1e-5)
    assert row.kept_rmse.mean == pytest.approx(kept.item(), rel=1e-5)


def test_intensities_of_the_sites_that_stay_are_those_that_were_observed(dots):
    # The seer does not know them: what it errs by is what the intensities make.
    (row,) = evaluate_removal(Seer(), dots, num_parts=[4], num_wholes=40)
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


class Waves:
    """What stands for a composition: waves of amplitude 1, phase 0, drawn by the ground truth."""

    def __init__(self, sines, category, batch, batch_size, goes):
        self.sines, self.category, self.batch, self.batch_size = sines, category, batch, batch_size
        self.goes = goes

    def remove(self, index):
        stays = torch.ones(len(self.batch), dtype=torch.bool)
        stays[self.goes(index)] = False
        return Waves(
            self.sines, self.category[stays], self.batch[stays], self.batch_size, self.goes
        )

    def decode(self):
        one = torch.ones(len(self.batch))
        self.mean = self.sines.render(self.category, one, 0.0 * one, self.batch, self.batch_size)
        return self


class Listener(nn.Module):
    """Hears the waves of a curve as they are, and lets go those that it is told to, or others."""

    def __init__(self, sines, goes):
        super().__init__()
        self.sines, self.goes = sines, goes

    def infer(self, whole, parts, batch, batch_size):
        return Waves(self.sines, parts["category"], batch, batch_size, self.goes)

    def generate(self, parts, batch, batch_size):
        return self.infer(None, parts, batch, batch_size).decode().mean


def test_who_hears_the_waves_removes_one_and_leaves_the_others():
    sines = Sines(amplitude_std=0.0, phase_std=0.0)
    listener = Listener(sines, goes=lambda index: index)
    (row,) = evaluate_removal(listener, sines, num_parts=[4], num_wholes=60, batch_size=25)
    for rmse in (row.reconstruction_rmse, row.removal_rmse, row.alone_rmse):
        assert rmse.mean < 1e-5
    assert row.amplitude.mean == pytest.approx(1.0, abs=1e-3)
    for rest in (row.amplitude_left, row.leak, row.others_error, row.others_removal_error):
        assert rest.mean < 1e-3
    assert row.kept_rmse.mean > 0.5


def test_a_wave_that_is_left_and_one_that_is_lost_are_seen():
    sines = Sines(amplitude_std=0.0, phase_std=0.0)
    # Of two waves the other one goes.
    listener = Listener(sines, goes=lambda index: index + 1)
    (row,) = evaluate_removal(listener, sines, num_parts=[2], num_wholes=60)
    assert row.others_error.mean < 1e-3 and row.leak.mean < 1e-3
    assert row.amplitude_left.mean == pytest.approx(1.0, abs=1e-3)
    assert row.others_removal_error.mean == pytest.approx(1.0, abs=1e-3)
    # Two waves of one frequency are alike, and it does not matter which of them goes.
    num_alone = round(60 * (row.removal_rmse.mean / row.alone_rmse.mean) ** 2)
    data = sines.sample(torch.full((60,), 2), evaluation_generator(0, 2))
    first, second = data.category.view(60, 2).T
    assert num_alone == int((first != second).sum()) < 60


def test_waves_of_one_frequency_are_not_told_apart():
    sines = Sines(num_categories=1, amplitude_std=0.0, phase_std=0.0)
    listener = Listener(sines, goes=lambda index: index)
    (row,) = evaluate_removal(listener, sines, num_parts=[2], num_wholes=5)
    assert all(math.isnan(x.mean) for x in (row.amplitude, row.amplitude_left, row.leak))
    assert math.isnan(row.others_error.mean) and row.removal_rmse.mean < 1e-5


def test_curves_are_measured_as_well():
    torch.manual_seed(0)
    sines = Sines()
    (row,) = evaluate_removal(sines.build("small"), sines, num_parts=[3], num_wholes=8)
    assert isinstance(row, SinesRemovalRow)
    assert all(getattr(row, f.name) for f in dataclasses.fields(row))
    header = format_table([row]).split("\n")[0]
    for title in ("alone", "amplitude", "left", "leak", "others off by", "after removal"):
        assert f" {title} |" in header
    assert "site accuracy" not in header


def test_table_shows_each_column(untrained, dots):
    rows = evaluate_removal(untrained, dots, num_parts=[2, 3], num_wholes=4)
    header, _, *lines = format_table(rows).split("\n")
    for title in ("K", "rec. rmse", "removal rmse", "generated", "not removed", "site accuracy"):
        assert f" {title} |" in header
    assert [line.split("|")[1].strip() for line in lines] == ["2", "3"]


def test_a_whole_of_one_part_is_refused(refuses, untrained, dots):
    with refuses(ValueError, "num_parts must be at least 2 (got 1)"):
        evaluate_removal(untrained, dots, num_parts=[4, 1])
