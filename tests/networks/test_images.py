"""Networks for images that are made of parts at places."""

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence
from torch.testing import assert_close

from compvae_pyg import CompVAE
from compvae_pyg.networks import Categorical, Continuous, build_images, cut_patches, place_patches
from compvae_pyg.networks.images import TemplateField
from compvae_pyg.nn.checks import check_places


def interpolate(image, y, x):
    """Bilinear interpolation at a point in pixels, zero outside, one point at a time."""
    height, width = image.shape
    value = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1.0 - abs(y - row)) * (1.0 - abs(x - column)) * image[row, column]
    return value


def placed_by_hand(patch, pos, size, extent):
    """A patch on an empty canvas, pixel by pixel in float64."""
    (height, width), (rows, columns) = size, patch.shape
    canvas = np.zeros(size)
    for i in range(height):
        for j in range(width):
            # Centres of the pixels, with the canvas from -1 to 1, then within the patch.
            y, x = (2 * i + 1) / height - 1, (2 * j + 1) / width - 1
            v, u = (y - pos[1]) / extent, (x - pos[0]) / extent
            canvas[i, j] = interpolate(patch, (v + 1) * rows / 2 - 0.5, (u + 1) * columns / 2 - 0.5)
    return canvas


@pytest.mark.parametrize("size", [(24, 24), (6, 12)])
@pytest.mark.parametrize("pos", [(0.0, 0.0), (0.31, -0.57), (-0.95, 0.8)])
def test_a_patch_is_interpolated_where_it_is_placed(size, pos):
    patch = torch.rand(1, 1, 8, 8, dtype=torch.double)
    where = torch.tensor([pos], dtype=torch.double)
    image = place_patches(patch, where, size, 1 / 3)[0, 0].numpy()
    expected = placed_by_hand(patch[0, 0].numpy(), pos, size, 1 / 3)
    np.testing.assert_allclose(image, expected, atol=1e-12)
    assert expected.max() > 0.0


def test_cutting_reads_what_each_image_shows_at_a_place():
    images = torch.rand(2, 1, 10, 14, dtype=torch.double)
    pos = torch.tensor([[0.3, 0.1], [-0.2, 0.45], [0.9, -0.9]], dtype=torch.double)
    batch = torch.tensor([0, 1, 1])
    patches = cut_patches(images, pos, batch, (4, 6), 0.4)
    for n, s in enumerate(batch):
        for i in range(4):
            for j in range(6):
                y = pos[n, 1].item() + 0.4 * ((2 * i + 1) / 4 - 1)
                x = pos[n, 0].item() + 0.4 * ((2 * j + 1) / 6 - 1)
                expected = interpolate(
                    images[s, 0].numpy(), (y + 1) * 10 / 2 - 0.5, (x + 1) * 14 / 2 - 0.5
                )
                assert patches[n, 0, i, j].item() == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_a_category_moves_along_with_its_place_and_ends_with_its_template():
    field = TemplateField({"category": Categorical(3)}, 4, 1, (12, 12), 0.5, 6, 8)
    category, pos = torch.tensor([2]), torch.tensor([[-0.25, 0.1]])
    step = torch.tensor([[2 / 12, 0.0]])
    here, there = (
        field({"category": category, "pos": p}).view(8, 12, 12) for p in (pos, pos + step)
    )
    assert_close(there[..., 1:], here[..., :-1], rtol=1e-4, atol=1e-5)
    loc, log_variance = here.chunk(2)
    # 0.5 + 1/12 from the centre nothing of the template is left.
    far = (torch.arange(12) * 2 + 1) / 12 - 1 > -0.25 + 0.5 + 1 / 12
    assert far.any() and (loc[..., far] == 0.0).all() and (loc != 0.0).any()
    assert_close(log_variance[..., far].exp().sqrt(), torch.full_like(loc[..., far], 1e-3))


def test_away_from_a_part_its_posterior_is_its_prior():
    model = build_images(fields={"category": Categorical(3)}, size=(24, 24))
    parts = {
        "category": torch.tensor([0, 2]),
        "pos": torch.tensor([[-0.6, -0.6], [-0.5, 0.5]]),
    }
    batch = torch.zeros(2, dtype=torch.long)
    posterior = model.encoder(
        *model.embedding(torch.rand(1, 1, 24, 24), parts, batch),
        batch,
        w_prior=model.generator.w_prior(parts),
    )
    prior = model.generator.w_prior(parts)
    divergence = kl_divergence(posterior.w, prior).view(5, 12, 12)
    # What is left is the coupling, by logits of -4.
    assert divergence[:, :, 9:].abs().max() < 0.01
    assert divergence[:, :, :6].max() > 0.1
    assert_close(posterior.w.loc.view(2, 5, 12, 12)[..., 9:], torch.zeros(2, 5, 12, 3))


def test_a_model_survives_saving(tmp_path):
    pytest.importorskip("safetensors")
    model = build_images(fields={"category": Categorical(3)}, size=[8, 12], channels=3)
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    parts = {"category": torch.tensor([0, 2]), "pos": torch.zeros(2, 2)}
    images = [
        one.eval().generate(parts, generator=torch.Generator().manual_seed(0))
        for one in (model, again)
    ]
    assert images[0].shape == (1, 3, 8, 12)
    assert_close(images[0], images[1], rtol=0.0, atol=0.0)


def test_bad_input_is_refused_in_a_line(refuses):
    category, pos = torch.tensor([0, 1]), torch.zeros(2, 2)
    with refuses(TypeError, "pos"):
        check_places({"category": category}, 3)
    with refuses(TypeError, "pos"):
        check_places({"category": category, "pos": pos.long()}, 3)
    with refuses(ValueError, "pos"):
        check_places({"category": category, "pos": torch.zeros(2, 3)}, 3)
    pos[1, 0] = float("nan")
    with refuses(ValueError, "pos"):
        check_places({"category": category, "pos": pos}, 3)
    with refuses(ValueError, "size"):
        build_images(fields={"category": Categorical(3)}, size=(24, 25))
    with refuses(ValueError, "extent"):
        build_images(fields={"category": Categorical(3)}, size=(24, 24), extent=0.0)
    with refuses(ValueError, "fields"):
        build_images(fields={"pos": Continuous(2)}, size=(24, 24))
