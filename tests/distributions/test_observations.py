"""Distributions of curves have the moments and correlations asked for; noise maps to draws."""

import pytest
import torch
from torch import distributions as td

from compvae_pyg.distributions import from_noise, observation


@pytest.fixture
def moments():
    g = torch.Generator().manual_seed(0)
    mean = 1.0 + torch.rand(2, 4, generator=g, dtype=torch.float64)
    return mean, 0.3 * mean, torch.randn(2, 4, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("family", ["normal", "lognormal", "power"])
def test_moments_are_those_asked_for(family, moments):
    mean, std, factor = moments
    p = observation(family, mean, std, factor)
    assert p.batch_shape == (2,) and p.event_shape == (4,)
    torch.testing.assert_close(p.mean, mean)
    torch.testing.assert_close(p.stddev, std, rtol=0.06 if family == "power" else 1e-7, atol=0)
    torch.manual_seed(0)
    x = p.sample((40_000,))
    torch.testing.assert_close(x.mean(0), mean, rtol=0.02, atol=0)
    torch.testing.assert_close(x.std(0), p.stddev, rtol=0.03, atol=0)


def test_the_density_of_powers_is_one_in_all():
    grid = torch.linspace(1e-5, 60.0, 400_001, dtype=torch.float64)
    for ratio in (0.1, 1.0, 2.0):
        mean = torch.full((len(grid), 1), 2.0, dtype=torch.float64)
        p = observation("power", mean, ratio * mean)
        total = torch.trapezoid(p.log_prob(grid.unsqueeze(1)).exp(), grid)
        assert 0.97 < float(total) < 1.001  # the rest is near zero
    skew = [
        float(from_noise(observation(f, mean[:1], mean[:1]), torch.tensor([[3.0]])))
        for f in ("normal", "power", "lognormal")
    ]
    assert skew == sorted(skew) and skew[1] < 0.9 * skew[2]


@pytest.mark.parametrize("family", ["normal", "lognormal"])
def test_density_is_that_of_the_full_covariance(family, moments):
    mean, std, factor = moments
    norm = (1.0 + factor.square().sum(2)).sqrt()
    correlation = (factor @ factor.mT + torch.eye(4)) / (norm.unsqueeze(1) * norm.unsqueeze(2))
    x = mean * 1.1
    if family == "normal":
        loc, scale, jacobian, at = mean, std, 0.0, x
    else:
        scale = torch.log1p((std / mean) ** 2).sqrt()
        loc, jacobian, at = mean.log() - scale**2 / 2, -x.log().sum(1), x.log()
    covariance = scale.unsqueeze(1) * scale.unsqueeze(2) * correlation
    expected = td.MultivariateNormal(loc, covariance).log_prob(at) + jacobian
    p = observation(family, mean, std, factor)
    torch.testing.assert_close(p.log_prob(x), expected)
    torch.testing.assert_close(p.expand([2]).log_prob(x), expected)


DISTRIBUTIONS = {
    "normal": td.Independent(td.Normal(torch.zeros(3, 2), 2.0), 1),
    "correlated": observation("lognormal", torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 2, 1)),
    "full": td.MultivariateNormal(torch.ones(3, 2), torch.tensor([[2.0, 1.0], [1.0, 2.0]])),
    "power": observation("power", torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 2, 1)),
    "lognormal": td.Independent(td.LogNormal(torch.zeros(3, 2), 1.0), 1),
    "laplace": td.Independent(td.Laplace(torch.zeros(3, 2), 1.0), 1),
    "beta of uniform": td.Independent(td.Kumaraswamy(torch.ones(3, 2), 2.0), 1),
    "student": td.Independent(td.Gamma(torch.full((3, 2), 9.0), 0.1), 1),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_normal_noise_becomes_draws(name):
    p, g = DISTRIBUTIONS[name], torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    if name == "beta of uniform":  # a transformed uniform
        noise = torch.randn(1, 3, 2, generator=g)
        assert bool(((from_noise(p, noise) > 0) & (from_noise(p, noise) < 1)).all())
        return
    noise = torch.randn(4000, 3, 2, generator=g)
    x, y = torch.stack([from_noise(p, n) for n in noise]), p.sample((4000,))
    levels = torch.tensor([0.02, 0.25, 0.5, 0.75, 0.98])
    spread = y.flatten().quantile(0.9) - y.flatten().quantile(0.1)
    error = (x[:, 0].quantile(levels, 0) - y[:, 0].quantile(levels, 0)).abs() / spread
    assert float(error[:4].max()) < 0.06
    correlation = [torch.corrcoef(v[:, 0].T)[0, 1] for v in (x, y)]
    torch.testing.assert_close(*correlation, rtol=0, atol=0.08)


def test_far_tails_are_exact():
    p = td.Gamma(torch.tensor([0.5], dtype=torch.float64), 2.0)
    noise = torch.tensor([-4.0, 0.0, 6.0], dtype=torch.float64)
    x = from_noise(p.expand([3]), noise)
    # Half a chi-square of one degree over two: |normal|^2 / 4 at the same probability.
    other = td.Normal(0.0, 1.0).icdf(0.5 + torch.special.ndtr(noise) / 2)
    torch.testing.assert_close(x[:2], (other**2 / 4)[:2], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(p.cdf(x), torch.special.ndtr(noise), rtol=1e-7, atol=1e-13)


def test_what_cannot_be_drawn_from_noise_is_refused(moments, refuses):
    with refuses(TypeError, "cdf"):
        from_noise(td.Poisson(torch.ones(2)), torch.zeros(2))
    mean, std, _ = moments
    with refuses(ValueError, "family"):
        observation("cauchy", mean, std)
    with refuses(ValueError, "std"):
        observation("normal", mean, std[:1])
