"""Wholes by amounts against the same wholes part by part."""

import math

import pytest
import torch

PART, W, WHOLE = 3, 4, 5
AMOUNTS = torch.tensor([[3, 0, 1], [0, 0, 0], [2, 5, 1]])


def written_out(amounts, kinds):
    """Each part by itself: rows and the ``batch`` vector."""
    count, num_kinds = amounts.shape
    kind = torch.arange(num_kinds).repeat(count).repeat_interleave(amounts.flatten())
    batch = torch.arange(count).repeat_interleave(amounts.sum(1))
    return kinds[kind], batch


def test_law_of_the_aggregate_is_that_of_the_parts(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    law = network.amounts_prior(AMOUNTS, kinds)
    expected = network.w_sum_prior(*written_out(AMOUNTS, kinds), 3)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)
    weight = torch.tensor([0.5, 2.0, -1.0])
    law = network.amounts_prior(AMOUNTS, kinds, weight=weight)
    rows, batch = written_out(AMOUNTS, kinds)
    each, _ = written_out(AMOUNTS, weight)
    expected = network.w_sum_prior(rows, batch, 3, weight=each)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32])
def test_amounts_may_be_of_any_type_of_number(small_model, draw, dtype):
    network, kinds = small_model().generator, draw(3, PART)
    law = network.amounts_prior(AMOUNTS.to(dtype), kinds)
    assert law.mean.dtype == torch.float64
    torch.testing.assert_close(law.mean, network.amounts_prior(AMOUNTS, kinds).mean)


def test_fractions_lie_between(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    one = network.amounts_prior(torch.eye(3), kinds)
    law = network.amounts_prior(torch.tensor([[2.5, 0.0, 0.25]]), kinds)
    torch.testing.assert_close(law.mean[0], 2.5 * one.mean[0] + 0.25 * one.mean[2])
    torch.testing.assert_close(law.variance[0], 2.5 * one.variance[0] + 0.25 * one.variance[2])


def test_a_million_parts_have_exact_moments(small_model, draw):
    network, kinds = small_model().generator, draw(2, PART)
    prior = network.w_prior(kinds)
    amounts = torch.tensor([[1_000_000, 999_983]])
    law = network.amounts_prior(amounts, kinds)
    expected = 1e6 * prior.mean[0] + 999_983.0 * prior.mean[1]
    torch.testing.assert_close(law.mean[0], expected, rtol=1e-12, atol=0.0)
    expected = (1e6 * prior.variance[0] + 999_983.0 * prior.variance[1]).sqrt()
    torch.testing.assert_close(law.stddev[0], expected, rtol=1e-12, atol=0.0)


def test_autocast_does_not_round_amounts(small_model, draw):
    network, kinds = small_model().float().generator, draw(1, PART).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prior = network.w_prior(kinds)
        law = network.amounts_prior(torch.tensor([[10_001]]), kinds)
    torch.testing.assert_close(law.mean[0], 10_001 * prior.mean[0])


@pytest.mark.parametrize("observation_noise", [False, True])
def test_wholes_have_the_moments_of_the_model(linear_gaussian, draw, observation_noise):
    problem = linear_gaussian("paper", w=3, z=2, slope=0.5)
    kinds, count = draw(3, 2, seed=1), 20_000
    rows, batch = written_out(AMOUNTS, kinds)
    mean, covariance = problem.mean_law(rows, batch, 3)
    if observation_noise:
        covariance = problem.law(rows, batch, 3).covariance_matrix
    sample = problem.model.generate_amounts(
        AMOUNTS.repeat(count, 1), kinds, observation_noise=observation_noise
    ).view(count, 3, 3)
    variance = covariance.diagonal(dim1=1, dim2=2)
    assert ((sample.mean(0) - mean) / (variance / count).sqrt()).abs().max() < 4.5
    centred = sample - mean
    found = torch.einsum("nsi,nsj->sij", centred, centred) / count
    spread = (variance.unsqueeze(1) * variance.unsqueeze(2) + covariance.square()) / count
    assert ((found - covariance) / spread.sqrt()).abs().max() < 4.5


def largest_gap(one, other):
    """Two-sample Kolmogorov-Smirnov statistic of each column, times root(n m / (n + m))."""
    both = torch.cat([one, other])
    order = both.argsort(dim=0)
    step = torch.cat(
        [torch.full_like(one, 1.0 / len(one)), torch.full_like(other, -1.0 / len(other))]
    )
    gap = step.gather(0, order).cumsum(0).abs().amax(0)
    return gap * math.sqrt(len(one) * len(other) / len(both))


def test_wholes_have_the_law_of_those_made_part_by_part(small_model, draw):
    model, kinds, count = small_model(), draw(3, PART), 10_000
    amounts = AMOUNTS.repeat(count, 1)
    for seed, weight in enumerate([None, torch.tensor([0.5, 2.0, -1.0])]):
        by_amounts = model.generate_amounts(
            amounts, kinds, weight=weight, generator=torch.Generator().manual_seed(seed)
        ).reshape(count, 3 * WHOLE)
        rows, batch = written_out(amounts, kinds)
        each = None if weight is None else written_out(amounts, weight)[0]
        by_parts = model.generate(rows, batch, 3 * count, weight=each).reshape(count, 3 * WHOLE)
        # Exceeded by one column in 10,000 if the laws are the same.
        assert largest_gap(by_amounts, by_parts).max() < 2.23
        # One part more or less is noticed.
        more = model.generate_amounts(amounts + 1, kinds, weight=weight).reshape(count, 3 * WHOLE)
        assert largest_gap(more, by_parts).max() > 4.0


def test_no_parts_are_the_empty_whole(small_model, draw):
    model, kinds = small_model(), draw(3, PART)
    law = model.generator.amounts_prior(torch.zeros(2, 3), kinds)
    assert (law.mean == 0).all() and (law.stddev == 0).all()
    of_amounts = model.generate_amounts(
        torch.zeros(1, 3), kinds, generator=torch.Generator().manual_seed(1)
    )
    source = torch.Generator().manual_seed(1)
    torch.randn(1, W, generator=source, dtype=torch.float64)
    zero = torch.zeros(1, W, dtype=torch.float64)
    torch.testing.assert_close(of_amounts, model.generator.decode(zero, source).mean)
    assert model.generate_amounts(torch.zeros(0, 3), kinds).shape == (0, WHOLE)
    assert model.generate_amounts(torch.zeros(2, 0), kinds[:0]).shape == (2, WHOLE)


def test_a_whole_without_parts_spoils_no_gradient(small_model, draw):
    network, kinds = small_model().generator, draw(3, PART)
    weight = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    laws = (
        network.amounts_prior(AMOUNTS, kinds),
        network.w_sum_prior(kinds, torch.tensor([0, 1, 2]), 3, weight=weight),
    )
    for law in laws:
        network.zero_grad()
        (law.mean + law.stddev).sum().backward()
        gradients = [value.grad for value in network.w_prior.parameters()]
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert weight.grad.isfinite().all()


def test_generating_obeys_its_generator_and_leaves_the_global_one(small_model, draw):
    model, kinds, state = small_model(), draw(3, PART), torch.get_rng_state()
    first, again, other = (
        model.generate_amounts(
            AMOUNTS,
            kinds,
            observation_noise=True,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and (first != other).all() and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("amounts", "error", "message"),
    [
        (
            torch.ones(2, 4),
            ValueError,
            "amounts must be [S, 3], one column for each of the parts (got [2, 4])",
        ),
        (
            torch.ones(3),
            ValueError,
            "amounts must be [S, 3], one column for each of the parts (got [3])",
        ),
        (
            torch.tensor([[1, 2, 3], [4, -5, 6]]),
            ValueError,
            "amounts must not be negative (got -5 at [1, 1])",
        ),
        (
            torch.tensor([[1.0, torch.nan, 3.0]]),
            ValueError,
            "amounts must be finite (got nan at [0, 1])",
        ),
        (
            torch.ones(1, 3, dtype=torch.bool),
            TypeError,
            "amounts must hold integers or real numbers (got torch.bool)",
        ),
        ([[1, 2, 3]], TypeError, "amounts must be a tensor (got list)"),
        (
            torch.ones(1, 3, device="meta"),
            ValueError,
            "amounts must be on the device of the parts (got meta, expected cpu)",
        ),
    ],
)
def test_unfit_amounts_are_refused_before_anything_is_drawn(
    refuses, small_model, draw, amounts, error, message
):
    model, state = small_model(), torch.get_rng_state()
    with refuses(error, message):
        model.generate_amounts(amounts, draw(3, PART))
    with refuses(ValueError, "weight must have one entry per part (got shape [2], expected [3])"):
        model.generate_amounts(AMOUNTS, draw(3, PART), weight=torch.ones(2))
    assert torch.equal(torch.get_rng_state(), state)
