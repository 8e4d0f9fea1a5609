import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tyro")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from matplotlib.image import imread

from compvae_pyg import CompVAE

SCRIPT = Path(__file__).parents[2] / "examples" / "own_problem_digits.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("own_problem_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_problem_digits"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["own_problem_digits"]


@pytest.fixture
def digits(example):
    """Twenty images, two of each class, each of one grey of its own."""
    grey = torch.arange(1, 21).float() / 20
    return example.Digits(grey.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), torch.arange(20) % 10)


def ink_by_hand(ink, pos, y, x):
    """The ink of one digit at a pixel of the canvas, in float64."""
    value = 0.0
    # In pixels of the digit, whose centre is at 3.5.
    v, u = y - ((pos[1] + 1) * 12 - 0.5) + 3.5, x - ((pos[0] + 1) * 12 - 0.5) + 3.5
    for row in (int(np.floor(v)), int(np.floor(v)) + 1):
        for column in (int(np.floor(u)), int(np.floor(u)) + 1):
            if 0 <= row < 8 and 0 <= column < 8:
                value += (1 - abs(v - row)) * (1 - abs(u - column)) * ink[row, column]
    return value


def test_a_canvas_shows_the_darkest_ink_of_its_own_digits(digits):
    data = digits.sample(torch.tensor([2, 0, 3]), torch.Generator().manual_seed(0))
    assert data.whole.shape == (3, 1, 24, 24) and (data.whole[1] == 0.0).all()
    ink, pos = data.ink[:, 0].double().numpy(), data.pos.double().numpy()
    for s, members in ((0, [0, 1]), (2, [2, 3, 4])):
        expected = np.array(
            [
                [max(ink_by_hand(ink[n], pos[n], y, x) for n in members) for x in range(24)]
                for y in range(24)
            ]
        )
        np.testing.assert_allclose(data.whole[s, 0].numpy(), expected, atol=1e-5)


def test_each_digit_is_one_of_its_class_and_all_of_them_come(digits):
    data = digits.sample(torch.full((100,), 4), torch.Generator().manual_seed(0))
    grey = (data.ink[:, 0, 0, 0] * 20).round().long() - 1
    assert (grey % 10 == data.category).all()
    assert grey.unique().tolist() == list(range(20))
    # A digit is on the canvas as a whole.
    assert data.pos.abs().max() <= 2 / 3 and data.pos.abs().max() > 0.6


def test_the_example_leaves_all_that_it_promises(tmp_path, run_example):
    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2")
    done = run_example("own_problem_digits.py", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "digits"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["bound"]["num_parts"] for row in rows] == [1, 2, 3, 4, 6, 8]
    # The classifier reads real digits: nearly all of those that stand alone.
    assert rows[0]["measured"]["accuracy (ground truth)"]["mean"] >= 0.75
    assert all(row["measured"]["generated"]["mean"] <= 1.0 for row in rows)
    for name in ("losses", "compositions"):
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name
    # Whoever loads the model needs the library alone, not the example.
    assert CompVAE.from_pretrained(output).event_shape == (1, 24, 24)
