import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.image import imread

from compvae_pyg import plots
from compvae_pyg.evaluation import DotsRow, Estimate, Recomposition, Reconstructions
from compvae_pyg.problems import Dots


def drawn(figure):
    """The figure as it would be saved, [height, width, 3] in [0, 1]."""
    assert isinstance(figure, Figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    image = imread(file)[..., :3]
    assert image.std() > 0.05, "a blank page"
    return image


def shows(image, rgb, share=1e-4):
    """Whether a share of an image's pixels has a colour."""
    near = np.abs(image - np.asarray(rgb)).max(axis=-1) < 0.02
    return near.mean() > share


def row(num_parts, generated, true=None, error=0.01):
    fields = ("log_likelihood", "kl_w", "kl_z", "elbo", "reconstruction_rmse", "accuracy_ratio")
    others = dict.fromkeys((*fields, "true_rmse", "generated_rmse"), Estimate(1.0, 0.1))
    return DotsRow(
        num_parts=num_parts,
        num_wholes=100,
        true_accuracy=Estimate(true or generated, error),
        generated_accuracy=Estimate(generated, error),
        **others,
    )


def metrics(steps=40, lowest=-2000.0):
    step = np.arange(1.0, steps + 1) * 50
    stage = np.where(step <= step[-1] / 2, "labels", "whole")
    kl_w = np.where(stage == "whole", 100.0, 0.0)
    kl_z = np.where(stage == "whole", np.linspace(2.0, -0.1, steps), 0.0)
    reconstruction = np.linspace(3000.0, lowest, steps)
    return {
        "step": step,
        "stage": stage,
        "kl_w_nats": kl_w,
        "kl_z_nats": kl_z,
        "reconstruction_nats": reconstruction,
        "elbo_nats": -(reconstruction + kl_w + kl_z),
    }


def images(*colors):
    return torch.tensor(colors, dtype=torch.float32).view(-1, 3, 1, 1).expand(-1, 3, 32, 32)


def test_importing_neither_needs_a_display_nor_touches_global_state():
    code = "import sys; from compvae_pyg import plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("marked", [False, True])
def test_data_shows_its_images_in_rows_of_one_size(marked):
    sizes = torch.tensor([2, 1, 2, 3])
    data = Dots().sample(sizes, torch.Generator().manual_seed(0))
    red, green, blue = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]
    wholes = images(red, green, blue, red)
    image = drawn(plots.plot_data(wholes, sizes, data.pos if marked else None))
    assert all(shows(image, rgb, 0.02) for rgb in (red, green, blue))
    assert shows(image, [0.0, 0.0, 0.0], 1e-3) or not marked
    height = image.shape[0]
    # From above: the one of one site, then the two of two, then the one of three.
    top, middle, bottom = np.array_split(image[height // 20 : -height // 20], 3)
    assert shows(top, green, 0.1) and not shows(top, red)
    assert shows(middle, red, 0.1) and shows(middle, blue, 0.1)
    assert shows(bottom, red, 0.1) and not shows(bottom, blue)


def test_markers_lie_where_the_sites_are():
    pos = torch.tensor([[0.5, -0.5]])
    plain = drawn(plots.plot_data(images([1.0, 0, 0]), [1]))
    marked = drawn(plots.plot_data(images([1.0, 0, 0]), [1], pos))
    red = np.argwhere(np.abs(plain - [1.0, 0, 0]).max(axis=-1) < 0.02)
    (top, left), (bottom, right) = red.min(axis=0), red.max(axis=0)
    changed = np.argwhere(np.abs(plain - marked).max(axis=-1) > 0.02)
    y, x = changed.mean(axis=0)
    assert (x - left) / (right - left) == pytest.approx(0.75, abs=0.02)
    assert (y - top) / (bottom - top) == pytest.approx(0.25, abs=0.02)


def test_data_of_wrong_shapes_is_refused(refuses):
    with refuses(
        ValueError, "images and num_parts must be [S, 3, H, W] and [S] (got [2, 3, 4, 4] and [3])"
    ):
        plots.plot_data(torch.zeros(2, 3, 4, 4), [1, 1, 1])
    with refuses(ValueError, "pos must be [3, 2] (got [2, 2])"):
        plots.plot_data(torch.zeros(2, 3, 4, 4), [1, 2], torch.zeros(2, 2))


def test_recomposition_shows_parts_truth_and_samples_from_above():
    truth = images([1.0, 0, 0], [0, 1.0, 0])
    generated = images([0, 0, 1.0], [1.0, 1.0, 0]).unsqueeze(0).repeat(4, 1, 1, 1, 1)
    series = Recomposition(torch.tensor([2, 1]), torch.zeros(2, 2), truth, generated)
    image = drawn(plots.plot_recomposition(series))
    rows = np.array_split(image, 6)
    # Blue and green are the parts' own colours, as marks.
    assert shows(rows[0], [0, 0, 1.0], 1e-3) and shows(rows[0], [0, 1.0, 0], 1e-3)
    assert shows(rows[1], [1.0, 0, 0], 0.05) and shows(rows[1], [0, 1.0, 0], 0.05)
    for sample in rows[2:]:
        assert shows(sample, [0, 0, 1.0], 0.05) and shows(sample, [1.0, 1.0, 0], 0.05)


def test_reconstructions_stand_to_the_right_of_their_wholes():
    red, blue = [1.0, 0, 0], [0, 0, 1.0]
    pairs = Reconstructions(torch.tensor([1, 4]), images(red, red), images(blue, blue))
    image = drawn(plots.plot_reconstructions(pairs))
    columns = {
        name: np.argwhere(np.abs(image - rgb).max(axis=-1) < 0.02)[:, 1].mean()
        for name, rgb in (("whole", red), ("reconstruction", blue))
    }
    assert columns["whole"] < columns["reconstruction"]


def test_images_are_the_right_way_round():
    whole = images([1.0, 0, 0]).clone()
    whole[:, :, 16:] = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    whole[:, :, :16, 16:] = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)
    image = drawn(plots.plot_data(whole, [1]))
    (red_y, red_x), (green_y, _), (blue_y, blue_x) = (
        np.argwhere(np.abs(image - rgb).max(axis=-1) < 0.02).mean(axis=0) for rgb in np.eye(3)
    )
    assert red_y == pytest.approx(blue_y, abs=1.0)
    assert red_y < green_y
    assert red_x < blue_x


def test_images_beyond_the_range_are_clipped_and_not_wrapped():
    image = drawn(plots.plot_data(images([1.7, -0.4, 0.0]), [1]))
    assert shows(image, [1.0, 0.0, 0.0], 0.1)


def test_losses_lie_where_the_logarithmic_axis_says():
    figure = plots.plot_losses(metrics())
    drawn(figure)
    axes, bits = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert axes.get_yscale() == bits.get_yscale() == "log"
    total = next(line for label, line in lines.items() if "ELBO" in label)
    reconstruction = next(line for label, line in lines.items() if "reconstruction" in label)
    # -2,000 is the lowest value: raised by a round constant that both labels tell.
    assert "+ 2,200 nats" in total.get_label() and "+ 2,200 nats" in reconstruction.get_label()
    np.testing.assert_allclose(
        reconstruction.get_ydata(), metrics()["reconstruction_nats"] + 2200.0
    )
    np.testing.assert_allclose(total.get_ydata(), 2200.0 - metrics()["elbo_nats"])
    np.testing.assert_allclose(np.array(axes.get_ylim()) / np.log(2.0), bits.get_ylim())
    assert [text.get_text() for text in axes.texts] == ["labels", "whole"]


def test_positive_losses_are_not_shifted():
    labels = [line.get_label() for line in plots.plot_losses(metrics(lowest=50.0)).axes[0].lines]
    assert not any("+" in str(label) for label in labels)


def test_latents_that_cost_nothing_are_not_drawn():
    lines = plots.plot_losses(metrics()).axes[0].lines
    kl_z = next(line for line in lines if "$z$" in str(line.get_label())).get_ydata()
    held = metrics()["kl_z_nats"] <= 0.0
    assert held.any()
    assert np.isnan(kl_z[held]).all()
    assert not np.isnan(kl_z[~held]).any()


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_of_trainings_can_be_drawn(steps):
    drawn(plots.plot_losses(metrics(steps)))


def test_metrics_without_what_is_drawn_are_refused(refuses):
    with refuses(ValueError, "metrics must have at least one row (got 0)"):
        plots.plot_losses({name: values[:0] for name, values in metrics().items()})
    incomplete = metrics()
    del incomplete["stage"]
    with pytest.raises(ValueError, match=r"metrics must have .* \(got none of \['stage'\]\)"):
        plots.plot_losses(incomplete)


def test_accuracy_shows_both_curves_with_their_intervals():
    rows = [row(1, 1.0, error=float("nan")), row(8, 0.6, 0.7), row(16, 0.4, 0.5, error=0.02)]
    figure = plots.plot_accuracy(rows, trained_to=8)
    drawn(figure)
    (axes,) = figure.axes
    true, generated = axes.containers
    np.testing.assert_allclose(true.lines[0].get_ydata(orig=False), [1.0, 0.7, 0.5])
    np.testing.assert_allclose(generated.lines[0].get_ydata(orig=False), [1.0, 0.6, 0.4])
    (bars,) = generated.lines[2]
    low, high = bars.get_segments()[2][:, 1]
    assert (low, high) == (pytest.approx(0.4 - 1.96 * 0.02), pytest.approx(0.4 + 1.96 * 0.02))
    assert "more sites than in training" in [text.get_text() for text in axes.texts]


def test_accuracy_within_the_trained_sizes_has_nothing_to_set_apart(refuses):
    (axes,) = plots.plot_accuracy([row(1, 1.0), row(8, 0.6)], trained_to=8).axes
    assert [text.get_text() for text in axes.texts] == ["chance"]
    with refuses(ValueError, "rows must not be empty (got none)"):
        plots.plot_accuracy([])


def test_metrics_are_read_as_numbers_and_text_by_column(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage,rmse\n50,labels,0.25\n100,parts,\n150,parts,nan\n")
    found = plots.read_metrics(path)
    np.testing.assert_array_equal(found["step"], [50.0, 100.0, 150.0])
    np.testing.assert_array_equal(found["rmse"], [0.25, np.nan, np.nan])
    assert found["stage"].tolist() == ["labels", "parts", "parts"]


def test_a_broken_row_is_refused_by_its_line(tmp_path, refuses):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage\n50,labels\n100\n")
    with refuses(ValueError, f"{path} must have 2 columns (got 1 in line 3)"):
        plots.read_metrics(path)


def test_a_file_without_rows_has_its_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,stage\n")
    assert {name: len(values) for name, values in plots.read_metrics(path).items()} == {
        "step": 0,
        "stage": 0,
    }
