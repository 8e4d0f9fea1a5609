"""Networks of the small dots."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from compvae_pyg import Dots, Sines
from compvae_pyg.problems.dots.networks import FieldDecoder, GlimpseEmbedding, SiteField


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Dots().build("small")


def test_the_field_of_a_site_moves_along_with_it():
    """One cell is 8/31 in the pixels' coordinates: a site shifted by it has its field shifted."""
    torch.manual_seed(0)
    field = SiteField(channels=3, grid=8)
    pos = torch.tensor([[-0.3, 0.1]])
    step = torch.tensor([[8 / 31, 0.0]])
    color = torch.tensor([2])
    here, there = (field({"color": color, "pos": p}).view(6, 8, 8) for p in (pos, pos + step))
    assert_close(there[:, :, 1:], here[:, :, :-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(there, here, atol=1e-3)


def test_the_first_coordinate_runs_to_the_right_and_the_second_down():
    torch.manual_seed(0)
    field = SiteField(channels=1, grid=8)
    with torch.no_grad():
        # Read nothing but the narrowest bump: the mean is largest in the cell of the site.
        for lin in (field.lin1, field.lin2, field.lin3):
            lin.weight.zero_()
            lin.bias.zero_()
        field.color.weight.zero_()
        field.lin1.weight[0, 4] = field.lin2.weight[0, 0] = field.lin3.weight[0, 0] = 1.0
    out = field({"color": torch.tensor([0]), "pos": torch.tensor([[0.8, -0.8]])})
    row, column = divmod(int(out[0, :64].argmax()), 8)
    assert (row, column) == (0, 7)


def test_glimpses_interpolate_as_grid_sample_does():
    torch.manual_seed(0)
    embedding = GlimpseEmbedding(4, 4)
    features = torch.randn(2, 5, 8, 8)
    at = torch.rand(6, 4, 2) * 1.8 - 0.9
    batch = torch.tensor([0, 0, 1, 1, 1, 1])
    seen = embedding._look_up(features, at, batch)
    # grid_sample with corners not aligned takes -1 and 1 for the borders of the outer cells,
    # which lie half a pixel beyond the outer pixels' centres.
    scaled = at * 31 / 32
    for i, image in enumerate(batch.tolist()):
        expected = F.grid_sample(
            features[image : image + 1],
            scaled[i].view(1, 1, 4, 2),
            padding_mode="border",
            align_corners=False,
        )
        assert_close(seen[i], expected[0, :, 0].T, rtol=1e-4, atol=1e-5)


def test_glimpses_beyond_the_border_see_the_border():
    embedding = GlimpseEmbedding(4, 4)
    features = torch.arange(64.0).view(1, 1, 8, 8)
    at = torch.tensor([[[-5.0, -5.0], [5.0, 5.0], [5.0, -5.0]]])
    seen = embedding._look_up(features, at, torch.tensor([0]))
    assert seen.flatten().tolist() == [0.0, 63.0, 7.0]


def test_untrained_networks_hold_z_back(model):
    """Until training opens its road, z costs nothing and changes nothing."""
    data = Dots().sample(torch.tensor([1, 3, 5]), torch.Generator().manual_seed(1))
    parts = Dots().parts(data)
    terms = model.elbo(data.whole, parts, data.batch)
    assert_close(terms.kl_z, torch.zeros(3))
    w_sum = torch.randn(2, 512)
    decoder = model.generator.decoder
    assert_close(decoder(w_sum, torch.zeros(2, 16)).mean, decoder(w_sum, torch.randn(2, 16)).mean)


@pytest.mark.parametrize("problem", [Dots(), Sines()], ids=["dots", "sines"])
def test_the_mean_may_take_the_sum_s_place_in_the_graph_blocks(problem):
    for aggr in ("sum", "mean"):
        model = problem.build("small", aggr=aggr)
        assert [block.aggr for block in model.encoder.blocks] == [aggr] * 2
        data = problem.sample(torch.tensor([1, 3]))
        assert model.elbo(data.whole, problem.parts(data), data.batch).elbo.isfinite().all()


def test_the_posterior_begins_near_the_prior(model):
    data = Dots().sample(torch.full((16,), 4), torch.Generator().manual_seed(1))
    terms = model.elbo(data.whole, Dots().parts(data), data.batch)
    assert (terms.kl_w < 100).all()
    assert (terms.kl_w > 0).all()


def test_an_image_is_read_from_its_own_field_alone():
    torch.manual_seed(0)
    decoder = FieldDecoder(channels=2, grid=8, z_channels=3)
    w_sum, z = torch.randn(3, 128), torch.randn(3, 3)
    out = decoder(w_sum, z)
    assert out.shape == (3, 4, 32, 32)
    assert_close(out[1:2], decoder(w_sum[1:2], z[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "error", "name"),
    [
        ({"color": torch.tensor([0, 7]), "pos": torch.zeros(2, 2)}, ValueError, "color"),
        ({"color": torch.tensor([-1]), "pos": torch.zeros(1, 2)}, ValueError, "color"),
        ({"color": torch.tensor([1.0]), "pos": torch.zeros(1, 2)}, TypeError, "color"),
        (
            {"color": torch.tensor([1]), "pos": torch.zeros(1, 2, dtype=torch.long)},
            TypeError,
            "pos",
        ),
        ({"color": torch.tensor([1]), "pos": torch.zeros(1, 3)}, ValueError, "pos"),
        ({"color": torch.tensor([[1]]), "pos": torch.zeros(1, 2)}, ValueError, "color"),
        ({"color": torch.tensor([1]), "pos": torch.tensor([[0.0, torch.nan]])}, ValueError, "pos"),
        ({"color": torch.tensor([1])}, TypeError, "pos"),
        (torch.zeros(1, 3), TypeError, "parts"),
    ],
)
def test_bad_sites_are_named(model, refuses, parts, error, name):
    with refuses(error, name):
        model.generate(parts)
