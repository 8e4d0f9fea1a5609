import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from compvae_pyg.plots import plot_rare_curves
from compvae_pyg.simulation import subset_simulation


@pytest.fixture(scope="module")
def event():
    return subset_simulation(
        lambda noise: noise[:, 0], 2, level=3.0, generator=torch.Generator().manual_seed(0)
    )


def test_curves_and_level_are_where_they_belong():
    ordinary, rare = np.random.default_rng(0).normal(size=(2, 4, 30))
    rare += 5.0
    left, right = plot_rare_curves(ordinary, torch.tensor(rare[:3]), 4.5).axes
    for axes, curves in ((left, ordinary), (right, rare[:3])):
        *drawn, level = axes.lines
        np.testing.assert_array_equal([line.get_ydata() for line in drawn], curves)
        assert list(level.get_ydata()) == [4.5, 4.5]
        low, high = axes.get_ylim()
        assert low < ordinary.min() and high > rare[:3].max()


def test_tails_are_the_levels_of_the_simulation(event):
    figure = plot_rare_curves(np.zeros((1, 5)), np.ones((1, 5)), 0.5, {"model": event})
    axes = figure.axes[2]
    line = axes.lines[0]
    assert line.get_xdata()[-1] == event.level == 3.0
    assert line.get_ydata()[-1] == pytest.approx(event.probability)
    assert list(line.get_xdata()) == [level.threshold for level in event.levels]
    (bar,) = axes.collections
    low, high = bar.get_segments()[0][:, 1]
    assert (low, high) == pytest.approx(event.interval())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["model"]
    assert axes.get_yscale() == "log"


def test_unfit_curves_are_refused(refuses):
    with refuses(ValueError, "rare"):
        plot_rare_curves(np.zeros((3, 5)), np.zeros((3, 4)), 0.0)
