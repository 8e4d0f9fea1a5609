import math

import pytest
import torch
from torch import nn
from torch.distributions import Gamma, Independent, Laplace, LogNormal, Poisson

from compvae_pyg.nn import PackedParts
from compvae_pyg.simulation import WholeFromNoise

W, Z, WHOLE = 3, 2, 4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("observation_noise", [False, True])
def test_wholes_have_the_distribution_of_the_model(build_model, parts, moments, observation_noise):
    model = build_model()
    draw = WholeFromNoise(model, parts, observation_noise=observation_noise)
    assert draw.num_channels == W + Z + (WHOLE if observation_noise else 0)
    mean, covariance = moments(model, parts, observation_noise)
    # The map is affine, so that its law is told by its value and its slope at zero.
    zero = torch.zeros(1, draw.num_channels, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda noise: draw(noise).squeeze(0), zero)
    slope = slope.squeeze(1)
    torch.testing.assert_close(draw(zero).squeeze(0), mean)
    torch.testing.assert_close(slope @ slope.T, covariance)
    far = 5.0 * normal(3, draw.num_channels)
    torch.testing.assert_close(draw(far), mean + far @ slope.T)


def test_wholes_are_what_their_latents_decode_to(build_model, parts):
    model = build_model(bounded=True)
    draw = WholeFromNoise(model, parts)
    noise = normal(7, draw.num_channels)
    w_sum, z = draw.latents(noise)
    assert w_sum.shape == (7, W) and z.shape == (7, Z)
    assert (draw(noise) == model.generator.decoder(w_sum, z).mean).all()


@pytest.mark.parametrize("observation_noise", [False, True])
def test_counts_are_as_many_parts(build_model, parts, observation_noise):
    model = build_model(bounded=True)
    count = torch.tensor([2, 0, 5])
    by_count = WholeFromNoise(model, parts, count=count, observation_noise=observation_noise)
    one_by_one = WholeFromNoise(
        model, parts.repeat_interleave(count, 0), observation_noise=observation_noise
    )
    noise = normal(5, by_count.num_channels)
    torch.testing.assert_close(by_count(noise), one_by_one(noise))
    by_generator = model.generator.counts_prior(count.unsqueeze(0), parts)
    assert (by_count.w_sum_prior.mean == by_generator.mean).all()
    absent = by_count.draw_parts(by_count.latents(noise)[0])[:, 1]
    assert (absent == 0.0).all()


def test_a_million_parts_are_no_more_work(build_model, parts):
    model = build_model(bounded=True)
    draw = WholeFromNoise(model, parts, count=torch.tensor([10**6, 1, 10**6]))
    assert draw.num_channels == W + Z
    assert draw(normal(5, W + Z)).isfinite().all()


def test_a_whole_may_have_no_parts(build_model, parts):
    draw = WholeFromNoise(build_model(), parts[:0])
    noise = normal(4, draw.num_channels)
    assert (draw.latents(noise)[0] == 0.0).all()
    assert draw(noise).shape == (4, WHOLE)
    assert draw.draw_parts(draw.latents(noise)[0]).shape == (4, 0, W)


@pytest.mark.parametrize("weight", [None, torch.tensor([2.0, -1.0, 0.5])])
def test_parts_given_their_sum_have_the_distribution_of_the_prior_given_it(
    build_model, parts, weight
):
    model = build_model()
    draw = WholeFromNoise(model, parts, weight=weight)
    prior = model.generator.w_prior(parts)
    a = torch.ones(3).double() if weight is None else weight.double()
    count, w_sum = 40_000, normal(1, W, seed=1)
    w = draw.draw_parts(w_sum.expand(count, W)).detach()
    torch.testing.assert_close((a.unsqueeze(1) * w).sum(dim=1), w_sum.expand(count, W))
    # Conditioning a Gaussian on a weighted sum of its coordinates, for each latent coordinate.
    for d in range(W):
        variance = prior.variance[:, d]
        gain = a * variance / (a.square() * variance).sum()
        mean = prior.mean[:, d] + gain * (w_sum[0, d] - (a * prior.mean[:, d]).sum())
        covariance = variance.diag() - torch.outer(gain, a * variance)
        error = (w[:, :, d].mean(dim=0) - mean) / (covariance.diagonal() / count).sqrt()
        assert error.abs().max() < 4.5
        found = torch.cov(w[:, :, d].T)
        spread = covariance.diagonal()
        spread = (torch.outer(spread, spread) + covariance.square()) / count
        assert ((found - covariance) / spread.sqrt()).abs().max() < 4.5


def test_weights_are_those_of_the_model(build_model, parts):
    model, weight = build_model(bounded=True), torch.tensor([2.0, -1.0, 0.5])
    draw = WholeFromNoise(model, parts, weight=weight)
    law = model.generator.w_sum_prior(parts, weight=weight)
    noise = normal(4, draw.num_channels)
    expected = law.mean + law.stddev * noise[:, :W]
    torch.testing.assert_close(draw.latents(noise)[0], expected)
    without = WholeFromNoise(model, parts[:2])
    absent = WholeFromNoise(model, parts, weight=torch.tensor([1, 1, 0]))
    torch.testing.assert_close(absent(noise), without(noise))


@pytest.mark.parametrize("weight", [None, torch.tensor([2.0, -1.0, 0.5])])
def test_rows_given_their_sum_are_sums_of_parts_given_it(build_model, parts, weight):
    # Each part by itself, given the sum of all, added up by the row that it is written in.
    model, count, copies = build_model(), torch.tensor([3, 1, 2]), 40_000
    rows = WholeFromNoise(model, parts, count=count, weight=weight)
    row = torch.arange(3).repeat_interleave(count)
    each = None if weight is None else weight[row]
    written = WholeFromNoise(model, parts[row], weight=each)
    w_sum = normal(1, W, seed=1).expand(copies, W)
    by_row = rows.draw_parts(w_sum).detach()
    by_part = (
        torch.zeros(copies, 3, W).double().index_add(1, row, written.draw_parts(w_sum).detach())
    )
    for d in range(W):
        one, other = torch.cov(by_row[:, :, d].T), torch.cov(by_part[:, :, d].T)
        variance = one.diagonal()
        error = (by_row[:, :, d] - by_part[:, :, d]).mean(0) / (2.0 * variance / copies).sqrt()
        assert error.abs().max() < 4.5
        spread = (torch.outer(variance, variance) + one.square()) * 2.0 / copies
        assert ((one - other) / spread.sqrt()).abs().max() < 4.5


def test_packed_parts_bring_their_counts_and_weights(build_model, parts):
    model, count = build_model(bounded=True), torch.tensor([3, 1, 2])
    weight = torch.tensor([2.0, -1.0, 0.5])
    expected = WholeFromNoise(model, parts, count=count, weight=weight)
    draw = WholeFromNoise(model, PackedParts(parts, count=count, weight=weight))
    noise = normal(4, draw.num_channels)
    assert torch.equal(draw(noise), expected(noise))


def test_parts_given_their_sum_obey_their_generator(build_model, parts):
    draw = WholeFromNoise(build_model(), parts)
    first, again, other = (
        draw.draw_parts(normal(2, W), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).all()


def test_parts_that_are_drawn_keep_the_model_s_type_and_take_no_gradient(build_model, parts):
    model, parts = build_model().float(), parts.float()
    for weight in (torch.ones(3, dtype=torch.float64), torch.ones(3, requires_grad=True)):
        draw = WholeFromNoise(model, parts, weight=weight)
        drawn = draw.draw_parts(torch.zeros(2, W))
        assert drawn.dtype == torch.float32 and not drawn.requires_grad


def test_unfit_input_is_refused(refuses, build_model, parts):
    model = build_model()
    with refuses(ValueError, "count"):
        WholeFromNoise(model, parts, count=torch.ones(1, 3))
    with refuses(ValueError, "count"):
        WholeFromNoise(model, parts, count=torch.ones(2))
    with refuses(TypeError, "count"):
        WholeFromNoise(model, parts, count=[1, 1, 1])
    with refuses(ValueError, "count"):
        WholeFromNoise(model, parts, count=torch.tensor([1, -1, 1]))
    with refuses(ValueError, "count"):
        WholeFromNoise(model, parts, count=torch.tensor([1.0, math.nan, 1.0]))
    with refuses(ValueError, "weight"):
        WholeFromNoise(model, parts, weight=torch.ones(2))
    two = PackedParts(parts, torch.tensor([0, 0, 1]))
    with refuses(ValueError, "parts"):
        WholeFromNoise(model, two)
    draw = WholeFromNoise(model, parts)
    for noise in (normal(5, 4), normal(5)):
        with refuses(ValueError, "noise"):
            draw(noise)


class Decodes(nn.Module):
    """A decoder of one distribution, whatever the latents are."""

    def __init__(self, kind, *numbers):
        super().__init__()
        self.kind, self.numbers = kind, numbers

    def forward(self, w_sum, z):
        rows = [torch.full((len(z), WHOLE), number) for number in self.numbers]
        return Independent(self.kind(*rows), 1)


def test_observation_noise_of_any_distribution_becomes_wholes(build_model, parts):
    model = build_model()
    for kind, numbers in ((Laplace, (0.0, 1.0)), (Gamma, (0.7, 2.0)), (LogNormal, (0.0, 0.5))):
        model.generator.decoder = Decodes(kind, *numbers)
        draw = WholeFromNoise(model, parts, observation_noise=True)
        x = draw(normal(4000, W + Z + WHOLE)).flatten().float()
        expected = kind(*map(torch.tensor, numbers))
        torch.testing.assert_close(x.mean(), expected.mean, rtol=0.05, atol=0.05)
        torch.testing.assert_close(x.std(), expected.stddev, rtol=0.1, atol=0)


def test_observation_noise_needs_a_distribution_function(build_model, parts):
    model = build_model()
    model.generator.decoder = Decodes(Poisson, 2.0)
    assert WholeFromNoise(model, parts)(normal(2, W + Z)).shape == (2, WHOLE)
    draw = WholeFromNoise(model, parts, observation_noise=True)
    with pytest.raises(TypeError, match="decoder"):
        draw(normal(2, W + Z + WHOLE))


def test_the_model_says_whether_wholes_are_draws(build_model, parts):
    model = build_model()
    model.observation_noise = True
    assert WholeFromNoise(model, parts).num_channels == W + Z + WHOLE
    assert WholeFromNoise(model, parts, observation_noise=False).num_channels == W + Z
