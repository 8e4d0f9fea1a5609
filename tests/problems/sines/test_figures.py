from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb

from compvae_pyg.plots.style import BLUE, GREEN, GREY, PURPLE
from compvae_pyg.problems.sines import SinesNonlinearity, SinesRecomposition, SinesVariety, figures


def waves(count, size=1.0):
    return size * torch.sin(torch.arange(50) * torch.arange(1.0, count + 1).unsqueeze(1) / 5.0)


@pytest.fixture
def recomposition():
    """Three parts; the model's curves are half the true ones."""
    alone, so_far = waves(3), waves(3).cumsum(0)
    without = so_far[-1] - alone
    return SinesRecomposition(
        torch.tensor([0, 1, 8]), alone, so_far, without, alone / 2, so_far / 2, without / 2
    )


def test_the_sum_is_that_of_the_parts_and_the_whole_is_all_of_them(recomposition, drawn, shows):
    figure = figures.plot_sum(replace(recomposition, true_wholes=torch.tanh(waves(3).cumsum(0))))
    image = drawn(figure)
    assert shows(image, to_rgb(PURPLE), 1e-3) and shows(image, to_rgb(GREEN), 1e-3)
    truth, model = figure.axes
    total, whole = truth.lines
    np.testing.assert_allclose(total.get_ydata(), waves(3).sum(0), atol=1e-6)
    np.testing.assert_allclose(whole.get_ydata(), torch.tanh(waves(3).sum(0)), atol=1e-6)
    np.testing.assert_allclose(model.lines[0].get_ydata(), waves(3).sum(0) / 2, atol=1e-6)


def test_recomposition_has_a_row_for_each_part_with_the_model_over_the_ground_truth(
    recomposition, drawn, shows
):
    figure = figures.plot_sines_recomposition(recomposition)
    assert shows(drawn(figure), to_rgb(BLUE), 1e-3)
    grid = np.array(figure.axes).reshape(3, 3)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == [rf"$\ell={n}$" for n in (1, 2, 9)]
    names = ("parts", "wholes", "without")
    for column, name in zip(grid.T, names, strict=True):
        for number, axes in enumerate(column):
            truth, model = axes.lines
            true = getattr(recomposition, f"true_{name}")[number]
            np.testing.assert_allclose(truth.get_ydata(), true)
            np.testing.assert_allclose(model.get_ydata(), true / 2)
        # One scale a column, so that the growth of the whole is seen.
        assert len({axes.get_ylim() for axes in column}) == 1


def test_variety_shows_each_curve_of_each_category(drawn):
    curves = torch.stack([waves(4), waves(4, 0.5)])
    figure = figures.plot_variety(SinesVariety(torch.tensor([0, 4]), curves, -curves))
    drawn(figure)
    truth, generated = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in truth] == [
        r"one wave, $\ell=1$",
        r"one wave, $\ell=5$",
    ]
    for category in range(2):
        for axes, sign, color in ((truth, 1.0, GREY), (generated, -1.0, BLUE)):
            lines = axes[category].lines
            np.testing.assert_allclose(
                [line.get_ydata() for line in lines], sign * curves[category]
            )
            assert {line.get_color() for line in lines} == {color}


def test_nonlinearity_has_a_panel_for_each_value(drawn, shows):
    result = SinesNonlinearity((1.0, 3.0), torch.tanh(waves(2)), waves(2, 2.0), num_parts=2)
    figure = figures.plot_nonlinearity(result)
    image = drawn(figure)
    assert shows(image, to_rgb(PURPLE), 1e-3) and shows(image, to_rgb(GREEN), 1e-3)
    assert [axes.get_title() for axes in figure.axes] == ["$C=1$", "$C=3$"]
    linear, whole = figure.axes[1].lines
    np.testing.assert_allclose(linear.get_ydata(), waves(2, 2.0)[1])
    np.testing.assert_allclose(whole.get_ydata(), torch.tanh(waves(2))[1])


def test_curves_of_wrong_shapes_are_refused(recomposition, refuses):
    broken = replace(recomposition, without=torch.zeros(2, 50))
    for plot in (figures.plot_sum, figures.plot_sines_recomposition):
        with refuses(ValueError, "without"):
            plot(broken)
    curves = torch.zeros(2, 4, 50)
    with refuses(ValueError, "truth"):
        figures.plot_variety(SinesVariety(torch.arange(3), curves, curves))
    with refuses(ValueError, "whole"):
        figures.plot_nonlinearity(SinesNonlinearity((1.0,), curves[:, 0], curves[:, 0], 1))
