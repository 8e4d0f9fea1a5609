import pytest

pytest.importorskip("matplotlib")

import numpy as np

from compvae_pyg.plots import Operation, plot_operations
from compvae_pyg.plots.operations import draw_whole


def test_images_of_the_ground_truth_stand_above_those_of_the_model(drawn):
    truth, model = np.full((3, 8, 8), 0.25), np.full((3, 8, 8), 0.75)
    pos = np.array([[0.5, -0.5]])
    operations = [Operation(name, truth, model, pos) for name in ("observed", "removed")]
    figure = plot_operations(operations, {"fading": np.zeros((3, 3, 8, 8))})
    drawn(figure)
    above, below = figure.subfigs
    first, second, model_first, _ = above.axes
    assert [axes.get_title() for axes in (first, second)] == ["observed", "removed"]
    assert (first.images[0].get_array() == 0.25).all()
    assert (model_first.images[0].get_array() == 0.75).all()
    np.testing.assert_allclose(first.collections[0].get_offsets(), pos)
    assert len(below.axes) == 3 and below.get_suptitle() == "fading"
    assert [axes.get_title() for axes in below.axes] == ["1", "2", "3"]


def test_a_site_is_marked_on_the_pixel_nearest_to_it():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_whole(axes, np.zeros((3, 4, 4)), np.array([[-1.0, 1.0]]))
    left, right, bottom, top = axes.images[0].get_extent()
    width, height = (right - left) / 4, (bottom - top) / 4
    # The centre of the lowest pixel on the left.
    assert (left + width / 2, bottom - height / 2) == pytest.approx((-1.0, 1.0))


def test_curves_of_the_model_lie_over_those_of_the_ground_truth(drawn):
    truth, model = np.zeros(50), np.ones(50)
    figure = plot_operations([Operation("observed", truth, model)])
    drawn(figure)
    (axes,) = figure.axes
    broad, thin = axes.lines
    assert (broad.get_ydata() == 0.0).all() and (thin.get_ydata() == 1.0).all()
    assert broad.get_linewidth() > thin.get_linewidth()


def test_ink_is_black_on_white_paper():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_whole(axes, np.tile([0.0, 0.25, 1.5], (1, 2, 1)))
    np.testing.assert_array_equal(axes.images[0].get_array()[0, :, 1], [1.0, 0.75, 0.0])


def test_nothing_to_draw_is_refused(refuses):
    with refuses(ValueError, "operations"):
        plot_operations([])


@pytest.mark.parametrize("shape", [(3, 1, 4), (3, 4, 1), (1, 1, 1)])
def test_images_one_pixel_high_or_wide_are_drawn(drawn, shape):
    figure = plot_operations([Operation("observed", np.zeros(shape), np.ones(shape))])
    drawn(figure)
    left, right, bottom, top = figure.subfigs[0].axes[0].images[0].get_extent()
    assert np.isfinite([left, right, bottom, top]).all() and left < right and top < bottom
