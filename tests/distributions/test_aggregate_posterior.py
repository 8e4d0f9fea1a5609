"""How codes of many parts, taken together, lie to their prior."""

import pytest
import torch
from torch.distributions import Normal

from compvae_pyg.distributions import SumControlledNormal, code_distance, code_variance
from compvae_pyg.nn import PackedParts

N = 3000


@pytest.fixture
def parts():
    """Parts of two kinds, in one set each."""
    torch.manual_seed(0)
    kind = torch.arange(N) % 2
    return PackedParts({"kind": kind, "size": torch.rand(N)}, torch.arange(N), N)


def prior_of(parts):
    """Two wide coordinates and one that is next to constant, other ones for each kind."""
    kind = parts["kind"].float().unsqueeze(1)
    scale = torch.tensor([[2.0, 0.5, 1e-3]]) * (1.0 + kind)
    return Normal(3.0 * kind.expand(-1, 3), scale)


def posterior(prior, code, spread, parts):
    """Codes of given means, in units of the prior, and one standard deviation in these units."""
    scale = spread * prior.stddev
    return SumControlledNormal(
        prior.mean + code * prior.stddev, scale, torch.full_like(scale, -40.0), parts
    )


def test_codes_that_fill_their_prior_are_no_distance_from_it(parts):
    prior = prior_of(parts)
    q = posterior(prior, 0.8 * torch.randn(N, 3), 0.6, parts)
    assert abs(code_distance(q, prior, parts, N)) < 0.01
    assert code_variance(q, prior) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("code", [1.5, 0.2])
def test_codes_that_lie_elsewhere_are_far_from_it(parts, code):
    prior = prior_of(parts)
    q = posterior(prior, code * torch.randn(N, 3), 0.1, parts)
    assert code_distance(q, prior, parts, N) > 0.05
    assert code_variance(q, prior) == pytest.approx(code**2 + 0.01, rel=0.1)


def test_each_kind_is_to_fill_its_own_prior(parts):
    """One kind has the codes above the mean and the other those below: together they fit."""
    prior = prior_of(parts)
    sign = 1.0 - 2.0 * parts["kind"].float().unsqueeze(1)
    q = posterior(prior, sign * torch.randn(N, 3).abs(), 0.01, parts)
    assert code_distance(q, prior, parts, N) > 0.05
    alike = PackedParts({"size": parts["size"]}, parts.batch, N)
    assert abs(code_distance(q, prior, alike, N)) < 0.03


def test_it_is_the_energy_distance_of_points_on_a_line():
    """Of a point at its mean to a normal: 2 E|v| - E|v - v'| = (2 - sqrt 2) sqrt(2 / pi)."""
    zero = torch.zeros(4000, 1)
    parts = PackedParts(torch.zeros(4000), torch.arange(4000), 4000)
    q = SumControlledNormal(zero, zero + 1e-4, zero - 40.0, parts)
    source = torch.Generator().manual_seed(0)
    distance = code_distance(q, Normal(zero, zero + 5.0), parts, 4000, source)
    assert distance.item() == pytest.approx(
        (4.0 - 2.0 * 2**0.5) / (2.0 * torch.pi) ** 0.5, rel=0.05
    )
    again = code_distance(q, Normal(zero, zero + 5.0), parts, 4000, source.manual_seed(0))
    assert torch.equal(distance, again)


def test_descent_spreads_codes_over_the_prior(parts):
    prior = prior_of(parts)
    learned = Normal(prior.mean.clone().requires_grad_(), prior.scale.clone().requires_grad_())
    code = (0.1 * torch.randn(N, 3)).requires_grad_()
    optimizer = torch.optim.Adam([code], lr=0.1)
    for _ in range(60):
        loss = code_distance(posterior(prior, code, 0.05, parts), learned, parts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    q = posterior(prior, code, 0.05, parts)
    assert code_variance(q, prior).item() == pytest.approx(1.0, abs=0.15)
    assert learned.loc.grad is None and learned.scale.grad is None
