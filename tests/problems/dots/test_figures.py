import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from compvae_pyg.problems.dots import Dots, Recomposition, Reconstructions, figures


def images(*colors):
    return torch.tensor(colors, dtype=torch.float32).view(-1, 3, 1, 1).expand(-1, 3, 32, 32)


@pytest.mark.parametrize("marked", [False, True])
def test_data_shows_its_images_in_rows_of_one_size(drawn, shows, marked):
    sizes = torch.tensor([2, 1, 2, 3])
    data = Dots().sample(sizes, torch.Generator().manual_seed(0))
    red, green, blue = [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]
    wholes = images(red, green, blue, red)
    image = drawn(figures.plot_data(wholes, sizes, data.pos if marked else None))
    assert all(shows(image, rgb, 0.02) for rgb in (red, green, blue))
    assert shows(image, [0.0, 0.0, 0.0], 1e-3) or not marked
    height = image.shape[0]
    # From above: the one of one site, then the two of two, then the one of three.
    top, middle, bottom = np.array_split(image[height // 20 : -height // 20], 3)
    assert shows(top, green, 0.1) and not shows(top, red)
    assert shows(middle, red, 0.1) and shows(middle, blue, 0.1)
    assert shows(bottom, red, 0.1) and not shows(bottom, blue)


def test_markers_lie_where_the_sites_are(drawn):
    pos = torch.tensor([[0.5, -0.5]])
    plain = drawn(figures.plot_data(images([1.0, 0, 0]), [1]))
    marked = drawn(figures.plot_data(images([1.0, 0, 0]), [1], pos))
    red = np.argwhere(np.abs(plain - [1.0, 0, 0]).max(axis=-1) < 0.02)
    (top, left), (bottom, right) = red.min(axis=0), red.max(axis=0)
    changed = np.argwhere(np.abs(plain - marked).max(axis=-1) > 0.02)
    y, x = changed.mean(axis=0)
    assert (x - left) / (right - left) == pytest.approx(0.75, abs=0.02)
    assert (y - top) / (bottom - top) == pytest.approx(0.25, abs=0.02)


def test_data_of_wrong_shapes_is_refused(refuses):
    with refuses(ValueError, "num_parts"):
        figures.plot_data(torch.zeros(2, 3, 4, 4), [1, 1, 1])
    with refuses(ValueError, "pos"):
        figures.plot_data(torch.zeros(2, 3, 4, 4), [1, 2], torch.zeros(2, 2))


def test_recomposition_shows_parts_truth_and_samples_from_above(drawn, shows):
    truth = images([1.0, 0, 0], [0, 1.0, 0])
    generated = images([0, 0, 1.0], [1.0, 1.0, 0]).unsqueeze(0).repeat(4, 1, 1, 1, 1)
    series = Recomposition(torch.tensor([2, 1]), torch.zeros(2, 2), truth, generated)
    image = drawn(figures.plot_recomposition(series))
    rows = np.array_split(image, 6)
    # Blue and green are the parts' own colours, as marks.
    assert shows(rows[0], [0, 0, 1.0], 1e-3) and shows(rows[0], [0, 1.0, 0], 1e-3)
    assert shows(rows[1], [1.0, 0, 0], 0.05) and shows(rows[1], [0, 1.0, 0], 0.05)
    for sample in rows[2:]:
        assert shows(sample, [0, 0, 1.0], 0.05) and shows(sample, [1.0, 1.0, 0], 0.05)


def test_reconstructions_stand_to_the_right_of_their_wholes(drawn):
    red, blue = [1.0, 0, 0], [0, 0, 1.0]
    pairs = Reconstructions(torch.tensor([1, 4]), images(red, red), images(blue, blue))
    image = drawn(figures.plot_reconstructions(pairs))
    columns = {
        name: np.argwhere(np.abs(image - rgb).max(axis=-1) < 0.02)[:, 1].mean()
        for name, rgb in (("whole", red), ("reconstruction", blue))
    }
    assert columns["whole"] < columns["reconstruction"]


def test_images_are_the_right_way_round(drawn):
    whole = images([1.0, 0, 0]).clone()
    whole[:, :, 16:] = torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1)
    whole[:, :, :16, 16:] = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)
    image = drawn(figures.plot_data(whole, [1]))
    (red_y, red_x), (green_y, _), (blue_y, blue_x) = (
        np.argwhere(np.abs(image - rgb).max(axis=-1) < 0.02).mean(axis=0) for rgb in np.eye(3)
    )
    assert red_y == pytest.approx(blue_y, abs=1.0)
    assert red_y < green_y
    assert red_x < blue_x


def test_images_beyond_the_range_are_clipped_and_not_wrapped(drawn, shows):
    image = drawn(figures.plot_data(images([1.7, -0.4, 0.0]), [1]))
    assert shows(image, [1.0, 0.0, 0.0], 0.1)
