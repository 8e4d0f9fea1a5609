"""How codes of many parts, taken together, lie to their prior."""

import math

import pytest
import torch
from torch.distributions import Normal

from compvae_pyg.distributions import (
    ResidualSumControlledNormal,
    SumControlledNormal,
    code_distance,
    code_variance,
)
from compvae_pyg.nn import PackedParts

N = 1200


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
    assert abs(code_distance(q, prior, parts, N)) < 0.02
    assert code_variance(q, prior) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("code", [1.5, 0.2])
def test_codes_that_lie_elsewhere_are_far_from_it(parts, code):
    prior = prior_of(parts)
    q = posterior(prior, code * torch.randn(N, 3), 0.1, parts)
    assert code_distance(q, prior, parts, N) > 0.03
    assert code_variance(q, prior) == pytest.approx(code**2 + 0.01, rel=0.1)


def test_each_kind_is_to_fill_its_own_prior(parts):
    """One kind has the codes above the mean and the other those below: together they fit."""
    prior = prior_of(parts)
    sign = 1.0 - 2.0 * parts["kind"].float().unsqueeze(1)
    code = torch.cat([sign * torch.randn(N, 1).abs(), torch.randn(N, 2)], dim=1)
    q = posterior(prior, code, 0.01, parts)
    assert code_distance(q, prior, parts, N) > 0.03
    alike = PackedParts({"size": parts["size"]}, parts.batch, N)
    assert abs(code_distance(q, prior, alike, N)) < 0.03


def test_it_is_the_energy_distance_of_points_on_a_line():
    """Of a point at the mean of a normal: E|v|^(1/2) is 2^(1/4) gamma(3/4) / sqrt(pi)."""
    zero = torch.zeros(2000, 1)
    parts = PackedParts(torch.zeros(2000), torch.arange(2000), 2000)
    q = SumControlledNormal(zero, zero + 1e-4, zero - 40.0, parts)
    source = torch.Generator().manual_seed(0)
    distance = code_distance(q, Normal(zero, zero + 5.0), parts, 2000, source)
    root = 2.0**0.25 * math.gamma(0.75) / math.pi**0.5
    assert distance.item() == pytest.approx((2.0 - 2.0**0.25) * root, rel=0.05)
    again = code_distance(q, Normal(zero, zero + 5.0), parts, 2000, source.manual_seed(0))
    assert torch.equal(distance, again)


def test_descent_spreads_codes_over_the_prior(parts):
    prior = prior_of(parts)
    code = (0.1 * torch.randn(N, 3)).requires_grad_()
    optimizer = torch.optim.Adam([code], lr=0.1)
    for _ in range(50):
        loss = code_distance(posterior(prior, code, 0.05, parts), prior, parts, 200)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    q = posterior(prior, code, 0.05, parts)
    assert code_variance(q, prior).item() == pytest.approx(1.0, abs=0.15)


def test_codes_relative_to_a_prior_leave_it_where_it_is(parts):
    prior = prior_of(parts)
    learned = Normal(prior.mean.clone().requires_grad_(), prior.scale.clone().requires_grad_())
    code = (0.5 * torch.randn(N, 3)).requires_grad_()
    low = torch.full((N, 3), -3.0)
    q = ResidualSumControlledNormal(learned, code, low, low - 40.0, parts)
    code_distance(q, learned, parts).backward()
    assert code.grad.abs().max() > 1e-5
    assert (
        max((learned.scale.detach() * p.grad).abs().max() for p in (learned.loc, learned.scale))
        < 1e-7
    )


def test_wholes_of_each_size_are_to_fill_the_prior():
    """Codes narrow alone and wide in larger sets, whose moments together are those of the prior."""
    torch.manual_seed(0)
    batch = torch.cat([torch.arange(600), torch.arange(600) // 4 + 600])
    parts, zero = PackedParts(torch.rand(N), batch, 750), torch.zeros(N, 1)
    scale = torch.where(batch < 600, 0.4, 1.36).unsqueeze(1)
    prior = Normal(zero, zero + 1.0)
    q = SumControlledNormal(scale * torch.randn(N, 1), zero + 0.01, zero - 40.0, parts)
    assert code_variance(q, prior) == pytest.approx(1.0, abs=0.15)
    assert code_distance(q, prior, parts, N) > 0.02


def test_sums_of_equal_parts_are_to_fill_the_prior():
    """Each code by itself does, in any case: what is compared are sums over the root of n."""
    torch.manual_seed(0)
    batch, zero = torch.arange(N) // 2, torch.zeros(N, 1)
    own, shared = torch.randn(N, 1), torch.randn(N // 2, 1).repeat_interleave(2, dim=0)
    found = []
    for kind in (torch.zeros_like(batch), torch.arange(N) % 2):  # equal pairs, and others
        parts = PackedParts(kind, batch, N // 2)
        for code in (own, shared):
            q = SumControlledNormal(code, zero + 0.01, zero - 40.0, parts)
            found.append(code_distance(q, Normal(zero, zero + 1.0), parts, N).item())
    assert found[1] > 0.015
    assert max(abs(found[k]) for k in (0, 2, 3)) < 0.012
