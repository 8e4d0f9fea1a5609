"""Networks of the small dots."""

import pytest
import torch
from torch.testing import assert_close

from compvae_pyg import Dots, Sines
from compvae_pyg.nn import PackedParts
from compvae_pyg.problems.dots.networks import FieldDecoder, SiteField, _by_cell, places


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Dots().build("small")


def test_the_mass_of_a_site_moves_along_with_it():
    """One cell is 8/31 in the pixels' coordinates: a site shifted by it has its mass shifted."""
    torch.manual_seed(0)
    field = SiteField()
    pos = torch.tensor([[-0.3, 0.1]])
    step = torch.tensor([[8 / 31, 0.0]])
    color = torch.tensor([2])
    here, there = (
        field({"color": color, "pos": p})[:, : 5 * 256].view(5, 8, 8, 4) for p in (pos, pos + step)
    )
    assert_close(there[:, :, 1:], here[:, :, :-1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(there, here, atol=1e-3)


def test_the_noise_of_a_site_is_one_number_in_its_channel_and_cell(model):
    # x runs to the right, y downwards; cells are 8/31 wide, from half a pixel beyond -1 on.
    pos, colors = torch.tensor([[0.8, -0.8], [-0.3, 0.1], [-3.0, 3.0]]), [0, 3, 1]
    drawn = model.generator.w_prior({"color": torch.tensor(colors), "pos": pos})
    presence = drawn.mean[:, -2 * 320 : -320].view(3, 5, 8, 8)
    deviation = drawn.stddev[:, -320:].view(3, 5, 8, 8)
    assert_close(deviation, presence, rtol=1e-4, atol=1e-6)
    expected = torch.zeros_like(presence)
    for site, (color, row, column) in enumerate(zip(colors, (0, 4, 7), (7, 2, 0), strict=True)):
        expected[site, color, row, column] = 1.0
    assert torch.equal(presence, expected)


def test_a_site_alone_is_flat_whatever_its_noise(model):
    pos, color = torch.tensor([[0.7, -0.2]]).repeat(8, 1), torch.arange(8) % 5
    parts = PackedParts({"color": color, "pos": pos}, torch.arange(8))
    prior = model.generator.prior_w(parts)
    w = prior.mean + prior.stddev * 3.0 * torch.randn(prior.mean.shape)
    image = model.generator.likelihood(w, torch.zeros(8, 4)).mean
    assert_close(image, image[:, :, :1, :1].expand_as(image), rtol=0.0, atol=1e-6)
    assert_close(image[:3], image[5:], rtol=0.0, atol=1e-6)


def test_all_but_the_noise_of_a_site_is_known_from_its_label(model):
    data = Dots().sample(torch.tensor([1, 3, 5]), torch.Generator().manual_seed(1))
    parts = Dots().pack(data)
    prior = model.generator.prior_w(parts)
    posterior = model.posterior(data.whole, parts, w_prior=prior)
    known = slice(None, -320)
    assert_close(posterior.w.mean[:, known], prior.mean[:, known])
    assert_close(posterior.w.stddev[:, known], prior.stddev[:, known])
    by_number = posterior.w.kl_to_prior()
    assert by_number[:, known].abs().max() < 1e-4
    assert (by_number[:, -320:].sum(dim=1) > 0.1).all()


def test_the_first_guess_at_the_noise_explains_some_of_the_image(model):
    data = Dots().sample(torch.full((32,), 4), torch.Generator().manual_seed(1))
    embedding, parts = model.embedding, Dots().parts(data)
    guess, slopes, image = embedding._guess(data.whole, parts, data.batch)
    assert guess.abs().max() <= 4.0 and slopes.isfinite().all()
    before = model.generator.likelihood(
        Dots().pack(data).sum(model.generator.prior_w(Dots().pack(data)).mean), torch.zeros(32, 4)
    ).mean
    errors = [(data.whole - x).square().mean() for x in (image, before)]
    assert errors[0] < errors[1]


def test_points_are_interpolated_to_pixels_and_extrapolated_to_the_border():
    decoder = FieldDecoder(z_channels=2)
    x = torch.linspace(-1.0, 1.0, 32)
    points = places(16).sum(dim=1)  # a plane
    field = decoder._interpolated(
        _by_cell(torch.stack([points, points], dim=1))[:, :, 0].expand(1, 5, -1)
    )
    assert_close(field[0, 0], x + x[:, None], rtol=1e-5, atol=1e-5)


def test_the_noise_is_spread_from_the_nearest_site_of_a_channel():
    torch.manual_seed(0)
    decoder = FieldDecoder(z_channels=2)
    presence, noise = torch.zeros(1, 5, 8, 8), torch.zeros(1, 5, 8, 8)
    presence[0, 0, 0, 0] = presence[0, 0, 7, 7] = presence[0, 1, 0, 7] = 1.0
    noise[0, 0, 0, 0], noise[0, 0, 7, 7], noise[0, 1, 0, 7] = 1.0, -1.0, 3.0
    with torch.no_grad():
        for layer in decoder.kernel:
            if hasattr(layer, "weight"):
                layer.weight.zero_()
        decoder.kernel[-1].bias.zero_()
        spread = decoder._spread(presence.flatten(2), noise.flatten(2))
    spread = spread.view(5, 8, 8, 4)
    assert_close(spread[0, 0, 0], torch.ones(4), rtol=0.01, atol=0.0)
    assert_close(spread[0, 7, 7], -torch.ones(4), rtol=0.01, atol=0.0)
    assert_close(spread[1, 0, 6], torch.full((4,), 3.0), rtol=0.01, atol=0.0)


def test_untrained_networks_hold_z_back(model):
    """Until training opens its road, z costs nothing and changes nothing."""
    data = Dots().sample(torch.tensor([1, 3, 5]), torch.Generator().manual_seed(1))
    parts = Dots().parts(data)
    terms = model.elbo(data.whole, parts, data.batch)
    assert_close(terms.kl_z, torch.zeros(3))
    w_sum = torch.randn(2, 5 * 384)
    decoder = model.generator.decoder
    assert_close(decoder(w_sum, torch.zeros(2, 4)).mean, decoder(w_sum, torch.randn(2, 4)).mean)


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
    decoder = FieldDecoder(z_channels=3)
    w_sum, z = torch.randn(3, 5 * 384), torch.randn(3, 3)
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


def test_an_unusual_image_has_a_posterior_that_can_be_optimised(model):
    """Untrained, the noise of a site is as wide as e of its prior's standard deviations at most."""
    head = model.encoder.w_head
    h = 1e4 * torch.randn(50, head.lin.in_features)
    known = torch.cat([torch.zeros(50, 3), torch.eye(5).repeat(10, 1)], dim=1)
    _, log_variance, _ = head(h, known).detach().chunk(3, dim=1)
    assert log_variance.max() == pytest.approx(2.0) and log_variance.min() < -100.0
