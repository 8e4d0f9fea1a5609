import math

import pytest
import torch

pytest.importorskip("matplotlib")

import numpy as np

from compvae_pyg.models import Attribution
from compvae_pyg.plots import plot_attribution

NATS = math.log(2.0)


def shares():
    return Attribution(
        NATS * torch.tensor([8.0, 2.0, 5.0]),
        NATS * torch.tensor([3.0, -1e-9]),
        torch.tensor([0, 0, 1]),
    )


def bars(axes):
    return [bar.get_width() for bar in axes.patches]


def test_bars_are_the_bits_of_the_parts_and_what_they_have_in_common():
    figure = plot_attribution(np.zeros((2, 3, 8, 8)), shares(), ["red", "blue", "red"])
    first, second, below_first, below_second = figure.axes
    assert bars(below_first) == pytest.approx([8.0, 2.0, 3.0])
    assert bars(below_second) == pytest.approx([5.0, 0.0])
    assert first.get_title() == "13 bits" and second.get_title() == "5 bits"
    names = [label.get_text() for label in below_first.get_yticklabels()]
    assert names == ["red", "blue", "in common"]
    # One scale for all wholes.
    assert below_first.get_xlim() == below_second.get_xlim()


def test_bars_and_sites_have_the_colours_of_their_parts(drawn):
    colors = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    pos = np.array([[0.5, -0.5], [0.0, 0.0], [-0.25, 1.0]])
    figure = plot_attribution(
        np.zeros((2, 3, 8, 8)), shares(), ["a", "b", "c"], colors=colors, pos=pos
    )
    drawn(figure)
    first, _, below_first, _ = figure.axes
    assert [bar.get_facecolor()[:3] for bar in below_first.patches][:2] == [
        (1.0, 0.0, 0.0),
        (0.0, 0.0, 1.0),
    ]
    _, dots = first.collections
    np.testing.assert_allclose(dots.get_offsets(), pos[:2])
    np.testing.assert_allclose(dots.get_facecolors()[:, :3], colors[:2])


def test_curves_may_be_drawn():
    figure = plot_attribution(np.ones((2, 50)), shares(), ["a", "b", "c"])
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"wholes": np.zeros((3, 50))},
        {"labels": ["a"]},
        {"colors": np.zeros((2, 3))},
        {"pos": np.zeros((3, 3))},
    ],
)
def test_unfit_input_is_refused(refuses, changes):
    arguments = {"wholes": np.zeros((2, 50)), "attribution": shares(), "labels": ["a", "b", "c"]}
    (name,) = changes
    with refuses(ValueError, name):
        plot_attribution(**{**arguments, **changes})
