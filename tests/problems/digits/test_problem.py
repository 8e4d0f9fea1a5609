import json

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from compvae_pyg import CompVAE
from compvae_pyg.evaluation import evaluate
from compvae_pyg.problems import Digits, problem_of


@pytest.fixture
def digits(monkeypatch):
    """Twenty images, two of each class, each of one grey of its own."""
    grey = torch.arange(1, 21).float() / 20
    images = grey.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), torch.arange(20) % 10
    monkeypatch.setattr("compvae_pyg.problems.digits.problem._scans", lambda: {"train": images})
    return Digits()


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


def test_splits_share_no_scan():
    train, test = (Digits(split) for split in ("train", "test"))
    assert (len(train.images), len(test.images)) == (1198, 599)
    assert train.held_out().split == "test"
    assert isinstance(problem_of(train.build("small")), Digits)


def test_true_canvases_are_read_and_untrained_ones_are_not():
    torch.manual_seed(0)
    options = {"num_wholes": 200, "num_draws": 8, "num_samples": 1, "num_classified": 0}
    (row,) = evaluate(Digits().build("small"), Digits("test"), num_parts=[1], **options)
    assert row.true_accuracy.mean > 0.9
    assert row.generated_accuracy.mean < 0.5 and row.accuracy_ratio.mean < 0.5
    assert row.reconstructed_accuracy.mean < 0.5
    assert 0.05 < row.true_spread.mean < 0.1
    heads = ["accuracy (ground truth)", "ratio", "reconstructed", "rmse between two (oracle)"]
    assert list(row.formatted())[1:5] == heads


@pytest.mark.slow
def test_the_example_leaves_all_that_it_promises(tmp_path, run_example):
    for package in ("lightning", "tyro", "matplotlib"):
        pytest.importorskip(package)
    from matplotlib.image import imread

    options = ("--steps", "6", "--num-wholes", "8", "--log-every", "2")
    done = run_example("train_digits.py", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "outputs" / "digits"
    rows = json.loads((output / "evaluation.json").read_text())["rows"]
    assert [row["num_parts"] for row in rows] == [1, 2, 3, 4, 6, 8]
    # The classifier reads real digits: nearly all of those that stand alone.
    assert rows[0]["true_accuracy"]["mean"] >= 0.75
    for name in ("losses", "compositions", "quality", "energy_distances"):
        assert imread(output / f"{name}.png")[..., :3].std() > 0.05, name
    assert CompVAE.from_pretrained(output).event_shape == (1, 24, 24)
