import math
from dataclasses import asdict

import pytest
import torch

from compvae_pyg import Dots, Sines
from compvae_pyg.training import Curriculum, Schedule, Stage


def test_learning_rate_is_the_published_one():
    rate = Schedule(500_000, 256).learning_rate
    assert rate.at(0) == rate.at(19_999) == 1e-4
    assert rate.at(20_000) == rate.at(39_999) == 0.5e-4
    assert rate.at(120_000) == 1e-4 / 64
    assert rate.at(140_000) == rate.at(499_999) == 1e-6


def test_adam_and_batch_are_the_published_ones():
    schedule = Schedule(500_000, 256)
    assert schedule.betas == (0.5, 0.9)
    assert schedule.max_grad_norm is None
    weights = schedule.at(0)
    assert (weights.beta_w, weights.beta_z, weights.stage.inferred) == (1.0, 1.0, "all")
    assert weights.stage.loss == "likelihood"


def test_curriculum_is_the_published_one():
    curriculum = Schedule(500_000, 256).curriculum
    bounds = [curriculum.max_parts(step) for step in (0, 2_999, 3_000, 6_000, 17_999, 18_000)]
    assert bounds == [2, 2, 3, 4, 7, 8]
    assert curriculum.max_parts(499_999) == 8


def test_sizes_are_uniform_from_one_to_the_bound():
    sizes = Curriculum(4, 4).sizes(0, 40_000, torch.Generator().manual_seed(0))
    frequency = sizes.bincount() / 40_000
    assert torch.allclose(frequency, torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25]), atol=0.01)


def test_a_batch_curriculum_draws_one_size_for_all():
    generator = torch.Generator().manual_seed(0)
    curriculum = Curriculum(2, 5, every=10, per="batch")
    sizes = [curriculum.sizes(100, 6, generator) for _ in range(100)]
    assert all(s.shape == (6,) and bool((s == s[0]).all()) for s in sizes)
    assert {int(s[0]) for s in sizes} == {1, 2, 3, 4, 5}


def test_stages_change_at_their_borders_and_weights_move_geometrically(tiny):
    schedule = tiny.schedule()
    names = [schedule.at(step).stage.name for step in range(20)]
    assert names == ["labels"] * 5 + ["parts"] * 7 + ["whole"] * 8
    assert schedule.at(5).beta_w == 4.0
    assert schedule.at(8).beta_w == pytest.approx(4.0 ** (1 - 3 / 7))
    assert schedule.at(11).beta_w == pytest.approx(4.0 ** (1 - 6 / 7))
    assert (schedule.at(12).beta_w, schedule.at(12).beta_z) == (1.0, 8.0)
    assert schedule.at(16).beta_z == pytest.approx(4.0)
    assert schedule.at(20).beta_z == schedule.at(1000).beta_z == 2.0


def test_rounding_of_shares_moves_no_border():
    stages = tuple(Stage(name, share) for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)))
    schedule = Schedule(10, 1, stages=stages)
    assert [schedule.at(step).stage.name for step in (0, 1, 2, 3, 9)] == list("abbcc")


# Schedules of problems


def test_the_published_schedule_of_a_problem_is_that_of_section_4_3():
    for problem, last in ((Dots(), 8), (Sines(), 16)):
        schedule = Schedule.of(problem, "paper")
        assert schedule == Schedule(500_000, 256, curriculum=Curriculum(2, last, 3000))
    assert Schedule.of(Sines(), "paper", 100).num_steps == 100


def test_the_staged_schedule_of_the_dots_learns_labels_parts_and_whole():
    schedule = Schedule.of(Dots(), num_steps=1000)
    labels, parts, whole = schedule.stages
    assert [stage.name for stage in schedule.stages] == ["labels", "parts", "whole"]
    assert [stage.inferred for stage in schedule.stages] == ["none", "parts", "all"]
    assert labels.loss == parts.loss == "squared_error"
    assert whole.loss == "likelihood"
    assert schedule.at(0).stage is labels
    assert schedule.at(999).beta_z == pytest.approx(1.0, rel=0.02)
    assert {schedule.curriculum.max_parts(step) for step in (0, 999)} == {8}


def test_the_staged_schedule_of_the_sines_ends_with_the_negative_elbo_and_matched_codes():
    schedule = Schedule.of(Sines(), num_steps=1000)
    first, last = schedule.at(0), schedule.at(999)
    assert (first.stage.inferred, last.stage.inferred) == ("parts", "all")
    assert first.beta_w == pytest.approx(0.05) and first.stage.fit_prior == 0.0
    assert (last.beta_w, last.beta_z, last.noise) == (1.0, 1.0, 1.0)
    assert last.code_matching > 0.0 and last.stage.fit_prior > 0.0
    assert all(schedule.at(step).noise > 1.0 for step in (0, 300, 500))
    assert [schedule.curriculum.max_parts(step) for step in (0, 17, 18, 400)] == [1, 1, 2, 16]


@pytest.mark.parametrize("problem", [Dots(), Sines()])
def test_the_wide_layers_of_the_paper_have_a_lower_rate(problem):
    usual = Schedule.of(problem, preset="small")
    assert usual == Schedule.of(problem)
    for preset in ("narrow", "paper"):
        schedule = Schedule.of(problem, num_steps=100, preset=preset)
        assert schedule.learning_rate.initial <= usual.learning_rate.initial / 5.0
        assert schedule.num_steps == 100 and schedule.curriculum.last == problem.max_parts
        assert (schedule.at(99).beta_w, schedule.at(99).stage.inferred) == (1.0, "all")
        assert Schedule.of(problem, "paper", preset=preset) == Schedule.of(problem, "paper")


def test_noise_and_code_matching_move_like_the_divergences():
    stage = Stage("one", 1.0, noise=(10.0, 1.0), code_matching=(4.0, 1.0), anneal=0.5)
    schedule = Schedule.staged(8, 1, max_parts=2, initial_rate=1.0, stages=(vars(stage),))
    assert schedule.stages == (stage,)
    assert schedule.at(2)[3:] == pytest.approx((10.0**0.5, 2.0))
    assert schedule.at(4)[3:] == schedule.at(7)[3:] == (1.0, 1.0)
    assert Schedule(8).at(3)[3:] == (1.0, 0.0)


def test_few_parts_are_drawn_more_often_where_sizes_are_log_uniform():
    curriculum = Curriculum(16, 16, 0, log_uniform=True)
    sizes = curriculum.sizes(0, 20_000, torch.Generator().manual_seed(0))
    number = torch.arange(1, 17)
    expected = (1.0 + 1.0 / number).log() / math.log(17.0)
    found = (sizes.unsqueeze(1) == number).double().mean(dim=0)
    torch.testing.assert_close(found, expected.double(), rtol=0.0, atol=0.012)


def test_a_problem_without_numbers_for_training_has_no_staged_schedule(tiny, refuses):
    with refuses(ValueError, "problem"):
        Schedule.of(tiny)
    assert Schedule.of(tiny, "paper").curriculum.last == tiny.max_parts
    with refuses(ValueError, "style"):
        Schedule.of(Dots(), "fast")
    with refuses(ValueError, "preset"):
        Schedule.of(Dots(), preset="wide")


@pytest.mark.parametrize("problem", [Dots(), Sines()])
def test_a_schedule_is_rebuilt_from_a_dictionary(problem):
    schedule = Schedule.of(problem)
    assert Schedule.from_dict(asdict(schedule)) == schedule
