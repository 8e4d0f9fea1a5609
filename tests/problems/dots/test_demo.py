"""What a click does, without a browser."""

import pytest
import torch

from compvae_pyg import CompVAE, Dots
from compvae_pyg.problems import COLORS, Sines
from compvae_pyg.problems.dots.demo import TOOLS, act, describe, draw_samples
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


def click(x, y):
    """What the page says of a click at a position."""
    return " ".join(map(str, ("click", 0, *pixel(x, y), *pixel(x, y))))


def dragged(start, end):
    """What the page says of a drag from one position to another."""
    return " ".join(map(str, ("drag", 1, *pixel(*start), *pixel(*end))))


def test_an_added_site_is_where_the_click_was_and_shows_its_colour(scene):
    edited, selected = act(scene, "add", 2, click(-0.7, 0.7))
    assert edited.color.tolist() == [0, 4, 2] and selected == 2
    torch.testing.assert_close(edited.pos[2], torch.tensor([-0.7, 0.7]))
    for image in edited.images():
        assert (image[:, 27, 4] - torch.tensor([0.0, 0.0, 1.0])).abs().max() < 0.1


def test_clicks_beyond_the_border_stay_within_the_data(scene):
    edited, _ = act(scene, "add", 2, "click 0 0 383 0 383")
    torch.testing.assert_close(edited.pos[2], torch.tensor([-Dots.border, Dots.border]))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_drag_moves_the_site_that_it_begins_at_whatever_the_tool(scene, tool):
    moved, selected = act(scene, tool, 2, dragged((0.55, 0.45), (0.5, -0.5)))
    assert moved.color.tolist() == [0, 4] and selected == 1
    torch.testing.assert_close(moved.pos, torch.tensor([[-0.5, -0.5], [0.5, -0.5]]))
    assert act(scene, tool, 2, dragged((0.0, 0.0), (0.5, 0.5))) == (scene, None)


@pytest.mark.parametrize("tool", ["select", "recolour", "delete"])
def test_what_hits_no_site_changes_nothing(scene, model, tool):
    assert act(scene, tool, 0, click(0.0, 0.0)) == (scene, None)
    empty = Scene.empty(model)
    assert act(empty, tool, 0, click(0.0, 0.0)) == (empty, None)


def test_a_click_selects_a_site_close_by(scene):
    assert act(scene, "select", 2, click(0.45, 0.55)) == (scene, 1)
    assert describe(scene, 1) == "2: white at (0.50, 0.50)"


def test_recolour_changes_one_colour_and_keeps_its_place(scene):
    edited, selected = act(scene, "recolour", 1, click(-0.45, -0.45))
    assert edited.color.tolist() == [1, 4] and torch.equal(edited.pos, scene.pos)
    assert selected == 0


def test_a_deleted_site_takes_nothing_else_with_it(scene):
    more = scene.add(2, (0.0, 0.8))
    back, selected = act(more, "delete", 0, click(0.0, 0.9))
    assert selected is None
    for after, before in zip(back.images(), scene.images(), strict=True):
        assert torch.equal(after, before)


def test_draws_of_the_same_sites_stand_beside_each_other(scene, model):
    torch.manual_seed(0)
    sheet = torch.tensor(draw_samples(model, scene, 3))
    assert sheet.shape == (2 * 128 + 6, 3 * 128 + 2 * 6, 3)
    first, second = sheet[:128, :128], sheet[:128, 134:262]
    assert not torch.equal(first, second)
    # The red site is red in each draw, of the model and of the truth.
    for row in (0, 134):
        for column in (0, 134, 268):
            red = sheet[row + 31, column + 31].tolist()
            assert red[0] > 200 and max(red[1:]) < 60
    empty = torch.tensor(draw_samples(model, Scene.empty(model), 3))
    assert empty[1:127, 1:127].unique().tolist() == [217]


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
    drawn = torch.tensor(draw_sites(torch.full((3, 32, 32), 0.5), torch.tensor([1, 3]), pos))
    assert drawn.shape == (32 * SCALE, 32 * SCALE, 3)
    for color, place in zip((1, 3), pos.tolist(), strict=True):
        x, y = (round(value) for value in pixel(*place))
        expected = [255 * channel for channel in list(COLORS.values())[color]]
        assert drawn[y, x].tolist() == expected
    assert drawn[1, 1].tolist() == [128, 128, 128]
    # A white image on a white page ends at its frame.
    assert drawn[0].unique().tolist() == drawn[:, -1].unique().tolist() == [153]


def test_curves_of_counts_hold_the_waves_asked_for():
    table = draw_curves(Sines().build("small"), [0, 2, 0], seed=3)
    truth = torch.tensor(table["x"][200:])
    spectrum = torch.fft.rfft(truth).abs()
    assert int(spectrum.argmax()) == 4  # two turns in 100 samples are four in 200
    assert truth.abs().max() <= 2.0


def test_no_waves_are_shown_as_flat_curves_and_several_draws_beside_one_truth():
    model = Sines().build("small")
    flat = draw_curves(model, [0] * 10, seed=0)
    assert set(flat["x"]) == {0.0} and len(flat["x"]) == 400
    several = draw_curves(model, [1, 0, 2], seed=0, number=3)
    assert len(several["t"]) == 800
    assert sorted(set(several["curve"])) == ["1", "2", "3", "ground truth"]
    assert several["x"][:200] != several["x"][200:400]
