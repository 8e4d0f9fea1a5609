import pytest
import torch

from compvae_pyg.nn import pack
from compvae_pyg.problems import COLORS, Dots
from compvae_pyg.problems.dots import site_accuracy, sites_shown

RED, GREEN, BLUE, BLACK, WHITE = range(5)


def plain(*colors):
    """One image of a single colour each."""
    palette = torch.tensor(list(COLORS.values()))
    return palette[list(colors)].view(-1, 3, 1, 1).expand(-1, 3, 32, 32).clone()


def test_images_of_the_colour_asked_for_are_all_right():
    images = plain(RED, GREEN, BLUE, BLACK, WHITE)
    batch = torch.arange(5).repeat_interleave(3)
    pos = 2.0 * torch.rand(15, 2) - 1.0
    assert site_accuracy(images, batch, pos, batch) == 1.0
    assert site_accuracy(images, (batch + 1) % 5, pos, batch) == 0.0


def test_the_pixel_nearest_a_site_is_the_one_that_counts():
    """Pixels are 2/31 apart, so that the border between two is half of that from either."""
    step = 2.0 / 31.0
    images = plain(BLACK)
    row, column = 5, 20
    images[0, :, row, column] = torch.tensor([0.0, 1.0, 0.0])
    x, y = -1.0 + column * step, -1.0 + row * step
    near, far = 0.49 * step, 0.51 * step
    inside = [[x, y], [x + near, y], [x - near, y], [x, y + near], [x, y - near]]
    outside = [[x + far, y], [x - far, y], [x, y + far], [x, y - far], [y, x]]
    pos = torch.tensor(inside + outside)
    color, batch = torch.full((10,), GREEN), torch.zeros(10, dtype=torch.long)
    shown = sites_shown(images, color, pos, batch)
    assert shown.tolist() == [True] * 5 + [False] * 5
    assert site_accuracy(images, color, pos, batch) == 0.5


def test_corners_are_pixels_and_sites_beyond_them_use_the_border():
    images = plain(BLACK)
    images[0, :, 0, 31] = 1.0
    pos = torch.tensor([[1.0, -1.0], [1.3, -2.0], [-1.0, 1.0]])
    color, batch = torch.full((3,), WHITE), torch.zeros(3, dtype=torch.long)
    assert sites_shown(images, color, pos, batch).tolist() == [True, True, False]


def test_the_nearest_colour_decides():
    """Of 0.6 grey, white is nearer than black; of 0.4 grey, black; of dark red, black."""
    images = plain(WHITE, WHITE, WHITE, WHITE)
    for image, rgb in zip(
        images, [[0.6] * 3, [0.4] * 3, [0.4, 0.0, 0.0], [0.6, 0.1, 0.1]], strict=True
    ):
        image[:] = torch.tensor(rgb).view(3, 1, 1)
    pos, batch = torch.zeros(4, 2), torch.arange(4)
    assert sites_shown(images, torch.tensor([WHITE, BLACK, BLACK, RED]), pos, batch).all()


def test_packed_sites_give_what_single_images_give():
    data = Dots().sample(torch.tensor([4, 1, 0, 9]), torch.Generator().manual_seed(0))
    images = torch.rand(4, 3, 32, 32)
    shown = sites_shown(images, data.color, data.pos, data.batch)
    palette = list(COLORS.values())
    for i in range(data.num_nodes):
        image = images[int(data.batch[i])]
        column = min(range(32), key=lambda c: abs(-1 + 2 * c / 31 - float(data.pos[i, 0])))
        row = min(range(32), key=lambda r: abs(-1 + 2 * r / 31 - float(data.pos[i, 1])))
        distance = [sum((image[:, row, column] - torch.tensor(rgb)) ** 2) for rgb in palette]
        assert bool(shown[i]) == (distance.index(min(distance)) == int(data.color[i]))


@pytest.mark.parametrize(
    ("num_parts", "accuracy"), [(1, 1.0), (2, 0.96), (4, 0.87), (8, 0.72), (16, 0.53)]
)
def test_sites_of_the_ground_truth_cover_each_other_as_often_as_is_known(num_parts, accuracy):
    data = Dots().sample(torch.full((2000,), num_parts), torch.Generator().manual_seed(0))
    found = site_accuracy(data.whole, data.color, data.pos, data.batch)
    assert float(found) == pytest.approx(accuracy, abs=0.015)


def test_shapes_that_do_not_fit_are_refused(refuses):
    images, (batch, _) = plain(RED), pack(torch.tensor([2]))
    color, pos = torch.zeros(2, dtype=torch.long), torch.zeros(2, 2)
    with refuses(ValueError, "images"):
        site_accuracy(images[0], color, pos, batch)
    with refuses(ValueError, "pos"):
        site_accuracy(images, color, torch.zeros(2, 3), batch)
    with refuses(ValueError, "batch"):
        site_accuracy(images, color, pos, batch[:1])
