import pytest
import torch

from compvae_pyg.problems import Curriculum, Schedule, Stage


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
    weights = schedule.weights(0)
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
    names = [schedule.weights(step).stage.name for step in range(20)]
    assert names == ["labels"] * 5 + ["parts"] * 7 + ["whole"] * 8
    assert schedule.weights(5).beta_w == 4.0
    assert schedule.weights(8).beta_w == pytest.approx(4.0 ** (1 - 3 / 7))
    assert schedule.weights(11).beta_w == pytest.approx(4.0 ** (1 - 6 / 7))
    assert (schedule.weights(12).beta_w, schedule.weights(12).beta_z) == (1.0, 8.0)
    assert schedule.weights(16).beta_z == pytest.approx(4.0)
    assert schedule.weights(20).beta_z == schedule.weights(1000).beta_z == 2.0


def test_rounding_of_shares_moves_no_border():
    stages = tuple(Stage(name, share) for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)))
    schedule = Schedule(10, 1, stages=stages)
    assert [schedule.weights(step).stage.name for step in (0, 1, 2, 3, 9)] == list("abbcc")
