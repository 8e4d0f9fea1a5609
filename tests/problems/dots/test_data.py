import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from compvae_pyg.nn import pack
from compvae_pyg.problems import COLORS, Dots, render_dots

RGB = {"red": [1, 0, 0], "green": [0, 1, 0], "blue": [0, 0, 1], "black": [0] * 3, "white": [1] * 3}


def painted(color, pos, intensity, size=32):
    """One image in float64, pixel by pixel, as appendix B.2 means it."""
    image = np.zeros((3, size, size))
    line = np.linspace(-1.0, 1.0, size)
    for row, y in enumerate(line):
        for column, x in enumerate(line):
            square = (pos[:, 0] - x) ** 2 + (pos[:, 1] - y) ** 2
            weight = np.exp(-intensity * square)
            names = [list(RGB)[index] for index in color]
            mixed = sum(w * np.array(RGB[name]) for w, name in zip(weight, names, strict=True))
            image[:, row, column] = np.clip((mixed / weight.sum()) ** (1 / 2.4), 0.0, 1.0)
    return image


def sites(sizes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    batch, ptr = pack(torch.tensor(sizes))
    count = len(batch)
    color = torch.randint(5, (count,), generator=generator)
    pos = 1.8 * torch.rand(count, 2, generator=generator, dtype=dtype) - 0.9
    intensity = 5.0 + 5.0 * torch.rand(count, generator=generator, dtype=dtype)
    return color, pos, intensity, batch, ptr


def render(color, pos, intensity):
    return render_dots(color, pos, intensity, torch.zeros(len(color), dtype=torch.long), 1)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_images_are_those_of_the_appendix(dtype, tolerance):
    sizes = [1, 2, 5, 16]
    color, pos, intensity, batch, ptr = sites(sizes)
    images = render_dots(color, pos.to(dtype), intensity.to(dtype), batch, len(sizes))
    assert images.dtype == dtype
    for s in range(len(sizes)):
        own = slice(int(ptr[s]), int(ptr[s + 1]))
        expected = painted(color[own].numpy(), pos[own].numpy(), intensity[own].numpy())
        np.testing.assert_allclose(images[s].double().numpy(), expected, atol=tolerance)


def test_palette_is_the_five_colours_in_their_order():
    assert list(COLORS) == list(RGB)
    assert all(list(COLORS[name]) == rgb for name, rgb in RGB.items())


def test_x_runs_to_the_right_and_y_downwards():
    color = torch.tensor([0, 2])
    right_of = render(color, torch.tensor([[-0.9, 0.0], [0.9, 0.0]]), torch.full((2,), 9.0))
    below = render(color, torch.tensor([[0.0, -0.9], [0.0, 0.9]]), torch.full((2,), 9.0))
    assert right_of[0, :, 0].min() > 0.99 and right_of[2, :, -1].min() > 0.99
    assert below[0, 0, :].min() > 0.99 and below[2, -1, :].min() > 0.99


def test_images_of_one_batch_do_not_see_each_other():
    sizes = [3, 1, 8, 2]
    color, pos, intensity, batch, ptr = sites(sizes, dtype=torch.float32)
    together = render_dots(color, pos, intensity, batch, len(sizes))
    for s in range(len(sizes)):
        own = slice(int(ptr[s]), int(ptr[s + 1]))
        alone = render(color[own], pos[own], intensity[own])
        torch.testing.assert_close(together[s], alone, rtol=0.0, atol=1e-6)


def test_order_of_sites_does_not_matter():
    color, pos, intensity, _, _ = sites([7])
    shuffled = torch.randperm(7)
    torch.testing.assert_close(
        render(color, pos, intensity),
        render(color[shuffled], pos[shuffled], intensity[shuffled]),
    )


def test_an_image_without_sites_is_black_and_leaves_the_others_alone():
    color, pos, intensity, batch, _ = sites([2, 0, 3, 0])
    images = render_dots(color, pos, intensity, batch, 4)
    full, _ = pack(torch.tensor([2, 3]))
    torch.testing.assert_close(images[[0, 2]], render_dots(color, pos, intensity, full, 2))
    assert not images[[1, 3]].any()


def test_distant_sites_leave_no_pixel_undefined():
    """Far from all sites, every weight vanishes in 32 bits; their ratios do not."""
    pos = torch.tensor([[-0.9, -0.9], [-0.8, -0.9]])
    image = render(torch.tensor([4, 4]), pos, torch.full((2,), 1000.0))
    assert torch.equal(image, torch.ones(3, 32, 32))


def test_sample_depends_on_its_generator_alone():
    sizes = torch.tensor([1, 4, 2])
    first = Dots().sample(sizes, torch.Generator().manual_seed(7))
    state = torch.get_rng_state()
    torch.manual_seed(1)
    second = Dots().sample(sizes, torch.Generator().manual_seed(7))
    other = Dots().sample(sizes, torch.Generator().manual_seed(8))
    for name in ("color", "pos", "whole"):
        assert torch.equal(first[name], second[name])
    assert not torch.equal(first.pos, other.pos)
    torch.set_rng_state(state)
    Dots().sample(sizes, torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)


def test_sites_fill_their_ranges_evenly():
    data = Dots().sample(torch.full((500,), 16), torch.Generator().manual_seed(0))
    count = torch.bincount(data.color, minlength=5)
    assert len(count) == 5
    # Five standard deviations of a binomial of 8,000 draws.
    assert (count - 1600).abs().max() < 5 * (8000 * 0.2 * 0.8) ** 0.5
    assert data.pos.abs().max() <= 0.9
    assert data.pos.abs().max() > 0.899
    for axis in range(2):
        quarters = torch.histc(data.pos[:, axis], bins=4, min=-0.9, max=0.9)
        assert (quarters - 2000).abs().max() < 5 * (8000 * 0.25 * 0.75) ** 0.5
    assert data.whole.min() >= 0.0
    assert data.whole.max() <= 1.0


def test_intensities_read_from_images_are_uniform_in_5_to_10():
    """Of two sites in red, green and blue, log(w_1 / w_2) is linear in both intensities."""
    data = Dots().sample(torch.full((600,), 2), torch.Generator().manual_seed(0))
    color, pos = data.color.view(-1, 2), data.pos.view(-1, 2, 2).double().numpy()
    line = np.linspace(-1.0, 1.0, 32)
    found = []
    for image, (a, b), site in zip(data.whole.double().numpy(), color.tolist(), pos, strict=True):
        if a == b or max(a, b) > 2:
            continue
        first, second = image[a] ** 2.4, image[b] ** 2.4
        clear = (first > 1e-2) & (second > 1e-2)
        if clear.sum() < 50:
            continue
        square = (line[None, None, :] - site[:, 0, None, None]) ** 2
        square = square + (line[None, :, None] - site[:, 1, None, None]) ** 2
        design = np.stack([-square[0][clear], square[1][clear]], axis=1)
        ratio = np.log(first[clear] / second[clear])
        found.extend(np.linalg.lstsq(design, ratio, rcond=None)[0])
    assert len(found) > 100
    assert 4.99 < min(found) < 5.3
    assert 9.7 < max(found) < 10.01
    assert np.mean(found) == pytest.approx(7.5, abs=5 * 5 / 12**0.5 / len(found) ** 0.5)


def test_a_batch_taken_apart_and_collated_again_equals_itself():
    data = Dots().sample(torch.tensor([3, 1, 2]), torch.Generator().manual_seed(0))
    pieces = data.to_data_list()
    assert [piece.num_nodes for piece in pieces] == [3, 1, 2]
    assert [tuple(piece.whole.shape) for piece in pieces] == [(1, 3, 32, 32)] * 3
    again = Batch.from_data_list(pieces)
    assert set(again.keys()) == set(data.keys())
    assert again.num_nodes == data.num_nodes
    assert again.num_graphs == data.num_graphs
    for name in ("color", "pos", "whole", "batch", "ptr"):
        assert torch.equal(again[name], data[name]), name


def test_images_drawn_again_keep_their_sites_and_change_their_intensities():
    dots = Dots()
    data = dots.sample(torch.full((200,), 4), torch.Generator().manual_seed(0))
    sites = (data.color, data.pos, data.batch, 200)
    drawn = dots.draw(*sites, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, dots.draw(*sites, torch.Generator().manual_seed(1)))
    # The intensities are those of the law, and nothing else is drawn.
    uniform = torch.rand(800, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, render_dots(*sites[:2], 5.0 + 5.0 * uniform, *sites[2:]))
    # Two draws of the truth differ by 0.13 at four sites.
    assert float((drawn - data.whole).square().mean().sqrt()) == pytest.approx(0.13, abs=0.015)


def test_the_truth_can_be_drawn_again_from_what_it_tells():
    dots = Dots()
    data = dots.sample(torch.tensor([2, 0, 3]), torch.Generator().manual_seed(1))
    fields = [data[name] for name in (*dots.part_fields, *dots.intrinsic_fields)]
    assert torch.equal(dots.render(*fields, data.batch, 3), data.whole)
    low, high = dots.intensity_range
    assert (data.intensity >= low).all() and (data.intensity <= high).all()
    assert set(dots.parts(data)) == {"color", "pos"}
    assert data.get_example(2).intensity.tolist() == data.intensity[2:].tolist()
