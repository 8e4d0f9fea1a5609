"""What a click does, without a browser."""

import pytest
import torch

from compvae_pyg import CompVAE, Dots
from compvae_pyg.problems import COLORS, Sines
from compvae_pyg.problems.dots.demo import drag, edit
from compvae_pyg.problems.dots.drawing import SCALE, draw_sites, position_of
from compvae_pyg.problems.dots.scene import Scene
from compvae_pyg.problems.sines.demo import draw_curves


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("safetensors")
    return CompVAE.from_pretrained("dots-small").requires_grad_(False)


@pytest.fixture
def scene(model):
    return Scene.empty(model).add(0, (-0.5, -0.5)).add(4, (0.5, 0.5))


def pixel(x, y):
    """The screen pixel of a position."""
    return tuple(SCALE * ((value + 1.0) / 2.0 * 31 + 0.5) - 0.5 for value in (x, y))


def test_pixels_and_positions_are_each_others_inverse():
    assert position_of(*pixel(0.3, -0.8)) == pytest.approx((0.3, -0.8))


def test_an_added_site_is_where_the_click_was_and_shows_its_colour(scene):
    edited = edit(scene, "add", 2, pixel(-0.7, 0.7))
    assert edited.color.tolist() == [0, 4, 2]
    torch.testing.assert_close(edited.pos[2], torch.tensor([-0.7, 0.7]))
    for image in edited.images():
        assert (image[:, 27, 4] - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 0.1


def test_clicks_beyond_the_border_stay_within_the_data(scene):
    edited = edit(scene, "add", 2, (0.0, 383.0))
    torch.testing.assert_close(edited.pos[2], torch.tensor([-Dots.border, Dots.border]))


def test_a_drag_moves_the_nearest_site_and_a_click_moves_none(scene):
    assert edit(scene, "move", 2, pixel(0.6, 0.4)) is scene
    moved = drag(scene, pixel(0.6, 0.4), pixel(0.5, -0.5))
    assert moved.color.tolist() == [0, 4]
    torch.testing.assert_close(moved.pos, torch.tensor([[-0.5, -0.5], [0.5, -0.5]]))


def test_recolour_changes_one_colour_and_keeps_its_place(scene):
    edited = edit(scene, "recolour", 1, pixel(-0.4, -0.4))
    assert edited.color.tolist() == [1, 4] and torch.equal(edited.pos, scene.pos)


def test_a_deleted_site_takes_nothing_else_with_it(scene):
    more = scene.add(2, (0.0, 0.8))
    back = edit(more, "delete", 0, pixel(0.0, 0.9))
    for after, before in zip(back.images(), scene.images(), strict=True):
        assert torch.equal(after, before)


@pytest.mark.parametrize("tool", ["move", "recolour", "delete"])
def test_there_may_be_no_site(model, tool):
    empty = Scene.empty(model)
    assert edit(empty, tool, 0, (9.0, 9.0)) is empty
    assert drag(empty, (9.0, 9.0), (0.0, 0.0)) is empty
    assert (empty.images()[1] == 0).all()


def test_without_noise_redrawing_the_parts_changes_nothing(scene):
    again = scene.resample_parts()
    for after, before in zip(again.images(0.0), scene.images(0.0), strict=True):
        torch.testing.assert_close(after, before)
    for after, before in zip(again.images(1.0), scene.images(1.0), strict=True):
        assert not torch.equal(after, before)


def test_a_new_z_leaves_the_truth_alone(scene):
    (before, truth), (after, same) = scene.images(), scene.resample_z().images()
    assert torch.equal(truth, same) and not torch.equal(before, after)


def test_marks_have_the_colours_of_their_sites():
    pos = torch.tensor([[0.0, 0.0], [0.5, -0.5]])
    drawn = draw_sites(torch.full((3, 32, 32), 0.5), torch.tensor([1, 3]), pos)
    assert drawn.shape == (32 * SCALE, 32 * SCALE, 3)
    for color, place in zip((1, 3), pos.tolist(), strict=True):
        x, y = (round(value) for value in pixel(*place))
        expected = [255 * channel for channel in list(COLORS.values())[color]]
        assert drawn[y, x].tolist() == expected
    assert drawn[0, 0].tolist() == [128, 128, 128]


def test_curves_of_amounts_hold_the_waves_asked_for():
    table = draw_curves(Sines().build("small"), [0, 2, 0], seed=3)
    truth = torch.tensor(table["x"][200:])
    spectrum = torch.fft.rfft(truth).abs()
    assert int(spectrum.argmax()) == 4  # two turns in 100 samples are four in 200
    assert truth.abs().max() <= 2.0
