"""Sets of up to a million members and logits of any size, against more digits than 32 bits."""

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl_divergence

from compvae_pyg import CompVAEGenerator
from compvae_pyg.distributions import (
    LogVarianceNormal,
    ResidualSumControlledNormal,
    SumControlledNormal,
)

couplings = pytest.mark.parametrize("coupling", ["paper", "scaled"])

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def equal(size, logit, coupling="paper", scale=1.0):
    """A set of equal members of mean 0, in 32 bits."""
    one = torch.ones(size, 1)
    return SumControlledNormal(0.0 * one, scale * one, logit * one, coupling=coupling)


def parameters(size, logit, spread=0.5, channels=1):
    """Means, scales and logits about a number, ``[N, D]``, in 32 bits."""
    generator = torch.Generator().manual_seed(size)
    draw = torch.randn(3, size, channels, generator=generator)
    return draw[0] + 1.0, (spread * draw[1]).exp(), logit + draw[2]


def in_64_bits(loc, scale, logits, coupling, p):
    """The formulas of one set, member by member, in 64 bits."""
    loc, scale, logits = (x.double() for x in (loc, scale, logits))
    entries = torch.log_softmax(torch.cat([logits, torch.zeros(1, logits.shape[1])]), 0)
    rho, log_null, size = entries[:-1].exp(), entries[-1], len(loc)
    if coupling == "paper":
        residual = scale - (scale * rho).sum(0)
        variance = scale.square() * ((1.0 - rho).square() + (size - 1) * rho.square())
    else:
        residual = scale * log_null.exp()
        others = scale.square().sum(0) - scale.square()
        variance = scale.square() * (1.0 - rho).square() + others * rho.square()
    log_det = scale.log().sum(0) + log_null
    m, s = p.loc.double(), p.scale.double()
    cross = (variance + (loc - m).square()) / s.square() - 1.0 + 2.0 * s.log()
    return {
        "sum_mean": loc.sum(0),
        "sum_stddev": residual.square().sum(0).sqrt(),
        "stddev": variance.sqrt(),
        "entropy": size * (0.5 + HALF_LOG_2PI) + log_det,
        "log_prob_at_mode": -size * HALF_LOG_2PI - log_det,
        "kl": 0.5 * cross.sum(0) - log_det,
        "total_correlation": 0.5 * variance.log().sum(0) - log_det,
    }


def results(q, p):
    """The same, as they are returned."""
    return {
        "sum_mean": q.sum_mean,
        "sum_stddev": q.sum_distribution.stddev,
        "stddev": q.stddev,
        "entropy": q.entropy(),
        "log_prob_at_mode": q.log_prob(q.loc),
        "kl": kl_divergence(q, p),
        "total_correlation": q.total_correlation(),
    }


def with_900_digits(loc, scale, logits, coupling, p):
    """The same of one set in one coordinate, from the matrix of the paper, as 64-bit numbers."""
    with mpmath.workdps(900):
        loc, scale, logits, m, s = (
            [mpmath.mpf(x) for x in v.flatten().tolist()]
            for v in (loc, scale, logits, p.loc, p.scale)
        )
        size, shares = len(loc), [mpmath.exp(x) for x in logits]
        null = 1 / (1 + sum(shares))
        root = [
            [
                scale[i if coupling == "paper" else j] * (int(i == j) - shares[i] * null)
                for j in range(size)
            ]
            for i in range(size)
        ]
        variance = [sum(x * x for x in row) for row in root]
        log_det = sum(map(mpmath.log, scale)) + mpmath.log(null)
        half = mpmath.log(2 * mpmath.pi) / 2
        cross = (
            (v + (a - b) ** 2) / c**2 - 1 + 2 * mpmath.log(c)
            for v, a, b, c in zip(variance, loc, m, s, strict=True)
        )
        out = {
            "sum_mean": sum(loc),
            "sum_stddev": mpmath.sqrt(sum(sum(column) ** 2 for column in zip(*root, strict=True))),
            "entropy": size * (0.5 + half) + log_det,
            "log_prob_at_mode": -size * half - log_det,
            "kl": sum(cross) / 2 - log_det,
            "total_correlation": sum(map(mpmath.log, variance)) / 2 - log_det,
        }
        stddev = [float(mpmath.sqrt(v)) for v in variance]
        return {name: float(x) for name, x in out.items()} | {"stddev": stddev}


# Logits of any size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@couplings
@given(
    size=st.integers(1, 5),
    largest=st.sampled_from([1.0, 20.0, 88.0, 200.0, 720.0, 800.0]),
    alike=st.sampled_from(["logits", "scales", "both", "none"]),
    seed=st.integers(0, 2**31),
)
def test_densities_and_moments_are_those_of_900_digits(dtype, coupling, size, largest, alike, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(5, size, 1, generator=generator, dtype=torch.float64)
    logits = largest * (2.0 * torch.rand(size, 1, generator=generator, dtype=torch.float64) - 1.0)
    if alike in ("logits", "both"):
        logits = torch.full_like(logits, largest)
    scale = torch.ones_like(logits) if alike in ("scales", "both") else draw[1].exp()
    loc, scale, logits = (x.to(dtype).requires_grad_() for x in (draw[0], scale, logits))
    p = Normal(draw[2].to(dtype), draw[3].exp().to(dtype))
    q = SumControlledNormal(loc, scale, logits, coupling=coupling)
    expected, found = with_900_digits(loc, scale, logits, coupling, p), results(q, p)
    bound = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for name, value in found.items():
        exact = torch.tensor(expected[name], dtype=torch.float64).view_as(value)
        # Standard deviations keep their digits as far as the type has numbers.
        least = torch.finfo(dtype).tiny / bound if "stddev" in name else bound
        torch.testing.assert_close(value.double(), exact, rtol=bound, atol=least, msg=name)
        inputs = torch.autograd.grad(
            value.sum(), (loc, scale, logits), retain_graph=True, allow_unused=True
        )
        assert all(x.isfinite().all() for x in inputs if x is not None), name


@couplings
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", [60.0, 88.0, 89.0, 200.0, 709.0, 710.0, 800.0])
def test_density_at_the_mode_is_finite_and_right_for_large_logits(coupling, dtype, logit):
    one = torch.ones(3, 1, dtype=dtype)
    for scale in (one, torch.tensor([[0.2], [1.0], [3.0]], dtype=dtype)):
        logits = (logit * one).requires_grad_()
        q = SumControlledNormal(one, scale, logits, coupling=coupling)
        # log |S| = log(1 - R) = -logit - log 3.
        expected = -3.0 * HALF_LOG_2PI - scale.double().log().sum().item() + logit + math.log(3.0)
        log_prob = q.log_prob(q.loc)
        assert log_prob.item() == pytest.approx(expected, rel=1e-6)
        (slope,) = torch.autograd.grad(log_prob.sum(), logits)
        torch.testing.assert_close(slope, one / 3.0)


@couplings
@pytest.mark.parametrize("logit", [20.0, 60.0, 800.0])
def test_a_member_alone_has_nothing_in_common_with_others(coupling, logit):
    one = torch.ones(2, 1)
    logits = (logit * one).requires_grad_()
    q = SumControlledNormal(0.0 * one, one, logits, torch.tensor([0, 1]), coupling=coupling)
    common = q.total_correlation()
    torch.testing.assert_close(common, torch.zeros(2, 1), rtol=0.0, atol=1e-5)
    (slope,) = torch.autograd.grad(common.sum(), logits)
    torch.testing.assert_close(slope, torch.zeros(2, 1), rtol=0.0, atol=1e-5)


@couplings
def test_five_members_of_logit_20_keep_the_spread_of_their_sum(coupling):
    # (1 - R) sqrt(5) with 1 - R = 1 / (1 + 5 e^20), which R, formed in 32 bits, makes 0.
    expected = math.sqrt(5.0) / (1.0 + 5.0 * math.exp(20.0))
    q = equal(5, 20.0, coupling)
    assert q.sum_distribution.stddev.item() == pytest.approx(expected, rel=1e-5, abs=0.0)
    assert q.sum_variance.item() == pytest.approx(expected**2, rel=1e-5, abs=0.0)
    weighted = q.weighted_sum(torch.full((5,), 3.0))
    assert weighted.stddev.item() == pytest.approx(3.0 * expected, rel=1e-5, abs=0.0)


@couplings
def test_scales_that_are_all_but_equal_keep_the_spread_of_their_sum(coupling):
    scale = 1.0 + 1e-6 * torch.arange(4.0).unsqueeze(1)
    logits = torch.full((4, 1), 25.0)
    q, p = SumControlledNormal(scale, scale, logits, coupling=coupling), Normal(0.0, 1.0)
    expected = in_64_bits(scale, scale, logits, coupling, p)
    found = q.sum_distribution.stddev.double()[0]
    torch.testing.assert_close(found, expected["sum_stddev"], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("logit", [-200.0, -100.0, 0.0, 100.0, 800.0])
@couplings
def test_samples_of_any_logits_are_finite_and_come_back(coupling, logit):
    one = torch.ones(4, 1)
    logits = (logit * one).requires_grad_()
    q = SumControlledNormal(
        one, torch.tensor([[0.1], [1.0], [2.0], [9.0]]), logits, None, 1, coupling
    )
    eps = torch.randn(3, 4, 1)
    w = q.transform(eps)
    assert w.isfinite().all() and torch.autograd.grad(w.sum(), logits)[0].isfinite().all()
    assert q.log_prob_from_eps(eps).isfinite().all()
    if logit <= 0.0:
        torch.testing.assert_close(q.inverse(w), eps, rtol=1e-5, atol=1e-5)


# Sets of any size, in 32 bits


@couplings
@pytest.mark.parametrize("size", [10_000, 100_000, 1_000_000])
@pytest.mark.parametrize("logit", [-3.0, 0.0, 5.0])
def test_variance_of_the_sum_of_equal_members_has_its_closed_form(coupling, size, logit):
    q = equal(size, logit, coupling, scale=0.7)
    weighted = q.weighted_sum(torch.full((size,), 0.1))
    exact = 0.7 * math.sqrt(size) / (1.0 + size * math.exp(logit))
    for found, expected in (
        (q.sum_variance, exact**2),
        (q.sum_distribution.stddev, exact),
        (weighted.stddev, 0.1 * exact),
    ):
        assert found.item() == pytest.approx(expected, rel=1e-5, abs=0.0)


@couplings
@pytest.mark.parametrize("logit", [-10.0, 0.0, 8.0])
@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_large_sets_have_the_densities_and_moments_of_64_bits(coupling, size, logit):
    given_parameters = parameters(size, logit)
    p = Normal(torch.full((1, 1), 0.5), torch.full((1, 1), 2.0))
    q = SumControlledNormal(*given_parameters, coupling=coupling)
    expected = in_64_bits(*given_parameters, coupling, p)
    # What is independent adds up; what is in common is a few nats.
    bounds = dict.fromkeys(expected, 1e-6 * size) | {"sum_stddev": 0.0, "stddev": 0.0}
    bounds["total_correlation"] = 1e-4
    for name, value in results(q, p).items():
        exact = expected[name].view_as(value)
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=bounds[name], msg=name)


@couplings
def test_large_sets_have_the_gradients_of_64_bits(coupling):
    leaves = [x.requires_grad_() for x in parameters(10_000, 2.0)]
    wide = [x.detach().double().requires_grad_() for x in leaves]
    p = Normal(torch.zeros(1), torch.ones(1))
    own = results(SumControlledNormal(*leaves, coupling=coupling), p)
    exact = in_64_bits(*wide, coupling, Normal(p.loc.double(), p.scale.double()))
    for name, value in own.items():
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        found = torch.autograd.grad(value.sum(), leaves, **options)
        expected = torch.autograd.grad(exact[name].sum(), wide, **options)
        for one, other in zip(found, expected, strict=True):
            close = 1e-4 * other.abs().max().item() + 1e-12
            torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=close, msg=name)


def test_a_million_members_lose_no_nat_and_no_mean():
    loc, scale, logits = parameters(1_000_000, 0.0)
    q = SumControlledNormal(loc, scale, logits)
    exact = in_64_bits(loc, scale, logits, "paper", Normal(torch.zeros(1), torch.ones(1)))
    assert q.sum_mean.item() == pytest.approx(exact["sum_mean"].item(), rel=1e-6)
    # A 32-bit number of this size lies within 0.06 of any.
    assert q.entropy().item() == pytest.approx(exact["entropy"].item(), abs=0.2)


@couplings
@pytest.mark.parametrize("size", [100, 10_000])
def test_density_of_own_samples_of_nearly_certain_sums(coupling, size):
    loc, scale, logits = parameters(size, 5.0, channels=2)
    q = SumControlledNormal(loc, scale, logits, coupling=coupling)
    eps = torch.randn(4, size, 2)
    w = q.transform(eps)
    wide = SumControlledNormal(loc.double(), scale.double(), logits.double(), coupling=coupling)
    log_prob, exact = q.log_prob(w), wide.log_prob(w.double())
    torch.testing.assert_close(log_prob.double(), exact, rtol=1e-6, atol=2e-3)
    from_eps = q.log_prob_from_eps(eps).double()
    torch.testing.assert_close(from_eps, wide.log_prob_from_eps(eps.double()), rtol=1e-6, atol=2e-3)
    # All that is left is the rounding of w to 32 bits.
    assert (log_prob - from_eps).abs().max() < 3.0


@couplings
@pytest.mark.parametrize("logit", [-10.0, 0.0, 8.0])
def test_divergence_in_units_of_the_prior_of_large_sets_is_that_of_64_bits(coupling, logit):
    size = 100_000
    shift, ratio, logits = parameters(size, logit, spread=0.1)
    prior = Normal(torch.full((1, 1), 3.0), torch.full((1, 1), 0.01))
    q = ResidualSumControlledNormal(prior, shift, 2.0 * ratio.log(), logits, coupling=coupling)
    unit = Normal(torch.zeros(1, 1), torch.ones(1, 1))
    exact = in_64_bits(shift, ratio, logits, coupling, unit)["kl"].item()
    assert q.kl_to_prior().item() == pytest.approx(exact, rel=1e-6)
    assert kl_divergence(q, prior).item() == pytest.approx(exact, rel=1e-6)


@couplings
def test_divergence_of_a_million_members_that_say_nothing_new_is_a_fraction_of_a_nat(coupling):
    size, zero = 1_000_000, torch.zeros(1_000_000, 1)
    nu = zero + 1e-3
    prior = Normal(zero, 1.0 + zero)
    q = ResidualSumControlledNormal(prior, zero, nu, zero - 100.0, coupling=coupling)
    exact = 0.5 * size * (math.expm1(nu[0].item()) - nu[0].item())
    # Each member's term, of size 1, is right to the last digit.
    assert q.kl_to_prior().item() == pytest.approx(exact, abs=0.06)
    nothing = ResidualSumControlledNormal(prior, zero, zero, zero - 100.0, coupling=coupling)
    assert nothing.kl_to_prior().item() == pytest.approx(0.0, abs=1e-6)


class Rows(nn.Module):
    """The prior of a row is what its two numbers say."""

    def forward(self, parts):
        return Normal(parts[:, :1], parts[:, 1:], validate_args=False)


@pytest.mark.parametrize("weighted", [False, True])
def test_prior_of_the_sum_of_a_million_parts_is_that_of_64_bits(weighted):
    size = 1_000_000
    loc, scale, weight = parameters(size, 1.0)
    network = CompVAEGenerator(Rows(), nn.Identity(), nn.Identity())
    rows, a = torch.cat([loc, scale], 1), weight.squeeze(1) if weighted else None
    aggregate = network.w_sum_prior(rows, torch.zeros(size, dtype=torch.long), 1, weight=a)
    wide = torch.ones(size, 1).double() if a is None else weight.double()
    mean = (wide * loc.double()).sum().item()
    variance = (wide * scale.double()).square().sum().item()
    assert aggregate.mean.item() == pytest.approx(mean, rel=1e-6)
    assert aggregate.stddev.item() == pytest.approx(math.sqrt(variance), rel=1e-6)


# Densities by log-variance


@pytest.mark.parametrize("log_variance", [-50.0, -90.0, -100.0, -200.0])
def test_density_by_log_variance_is_that_of_the_scale(log_variance):
    nu = torch.full((4,), log_variance, requires_grad=True)
    mine = LogVarianceNormal(torch.zeros(4), nu)
    scale = torch.exp(0.5 * nu.detach().double())
    value = (scale * torch.tensor([0.0, 1.0, -2.0, 30.0])).float()
    log_prob = mine.log_prob(value)
    expected = Normal(0.0, scale).log_prob(value.double())
    torch.testing.assert_close(log_prob.double(), expected, rtol=1e-5, atol=1e-5)
    plain = Normal(torch.zeros(4), scale.float())
    if log_variance >= -90.0:  # below, Normal's variance is hardly a 32-bit number
        torch.testing.assert_close(log_prob, plain.log_prob(value), rtol=1e-4, atol=1e-4)
    assert not mine.log_prob(torch.ones(4)).isnan().any()
    ratio = (scale / plain.scale.double()).square()
    for divergence, exact in (
        (kl_divergence(mine, plain), 0.5 * (ratio - 1.0 - ratio.log())),
        (kl_divergence(mine, mine), 0.0 * ratio),
    ):
        torch.testing.assert_close(divergence.double(), exact, rtol=1e-3, atol=1e-4)
        assert torch.autograd.grad(divergence.sum(), nu)[0].isfinite().all()
    assert torch.autograd.grad(log_prob.sum(), nu)[0].isfinite().all()
