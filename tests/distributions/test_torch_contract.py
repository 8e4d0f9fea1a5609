"""What users of ``torch.distributions`` and ``torch.func`` expect of the coupled Gaussian."""

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    kl_divergence,
)

from compvae_pyg.distributions import ResidualSumControlledNormal, SumControlledNormal

couplings = pytest.mark.parametrize("coupling", ["paper", "scaled"])
kinds = pytest.mark.parametrize("kind", [SumControlledNormal, ResidualSumControlledNormal])

SIZES = (3, 0, 1, 2)
S, N, D = 4, 6, 2


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def example(kind, batch, coupling="paper", batch_size=S):
    """A distribution of either class over four sets, one of them empty."""
    size = len(batch)
    loc, log_variance, logits = draw(3, size, D)
    if kind is SumControlledNormal:
        return kind(loc, (0.5 * log_variance).exp(), logits, batch, batch_size, coupling)
    prior = Normal(draw(size, D, seed=1), draw(size, D, seed=2).exp())
    return kind(prior, loc, log_variance, logits, batch, batch_size, coupling)


# Shapes


@kinds
@couplings
def test_densities_are_by_sets_and_samples_by_members(batch_of, kind, coupling):
    q = example(kind, batch_of(SIZES), coupling)
    assert tuple(q.batch_shape) == (S, D) and q.batch_shape == torch.Size([S, D])
    assert isinstance(q.batch_shape, tuple) and len(q.batch_shape) == 2
    assert q.batch_shape[0] == S and q.batch_shape[-1] == D and list(q.batch_shape) == [S, D]
    assert q.event_shape == torch.Size([])
    for sample_shape in ((), (5,), (2, 3), torch.Size([4])):
        value = q.sample(sample_shape)
        assert value.shape == (*sample_shape, N, D)
        assert q.log_prob(value).shape == (*sample_shape, *q.batch_shape)
    assert q.entropy().shape == (S, D)
    assert kl_divergence(q, Normal(torch.zeros(D).double(), 1.0)).shape == (S, D)


WRAPPERS = {
    "Independent": lambda q: Independent(q, 1),
    "Independent of no dimension": lambda q: Independent(q, 0),
    "TransformedDistribution": lambda q: TransformedDistribution(q, AffineTransform(1.0, 2.0)),
    "TransformedDistribution without a transform": lambda q: TransformedDistribution(q, []),
    "MixtureSameFamily": lambda q: MixtureSameFamily(Categorical(torch.ones(S, D).double()), q),
    "expand": lambda q: q.expand((2, S, D)),
    "expand to its own shape": lambda q: q.expand(torch.Size([S, D])),
}


@kinds
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("sizes", [SIZES, (1, 1, 1, 1)])
def test_wrappers_that_would_mix_members_and_sets_are_refused(
    refuses, batch_of, kind, wrapper, sizes
):
    q = example(kind, batch_of(sizes))
    for validate in (True, False):
        Distribution.set_default_validate_args(validate)
        with refuses(NotImplementedError, "packed"):
            WRAPPERS[wrapper](q)


def test_divergences_that_are_not_known_are_refused():
    q = example(SumControlledNormal, torch.zeros(N, dtype=torch.long), batch_size=1)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, q)
    with pytest.raises(NotImplementedError):
        kl_divergence(Normal(torch.zeros(N, D), 1.0), q)


# Validation


def test_validation_may_be_turned_off_for_all_or_for_one():
    bad = torch.full((2, 1), torch.nan)
    one = torch.ones(2, 1)
    SumControlledNormal(bad, one, one, validate_args=False)
    with pytest.raises(ValueError, match="loc"):
        SumControlledNormal(bad, one, one)
    Distribution.set_default_validate_args(False)
    SumControlledNormal(bad, one, one)
    with pytest.raises(ValueError, match="loc"):
        SumControlledNormal(bad, one, one, validate_args=True)


# Randomness


@kinds
@pytest.mark.parametrize("method", ["rsample", "sample"])
def test_draws_from_a_generator_leave_the_global_source_alone(batch_of, kind, method):
    q = example(kind, batch_of(SIZES))
    state = torch.get_rng_state()
    first, again, other = (
        getattr(q, method)((3,), generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    eps = torch.randn(3, N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(first, q.transform(eps))


@pytest.mark.parametrize("method", ["rsample", "sample"])
def test_draws_without_a_generator_are_those_of_the_global_source(batch_of, method):
    q = example(SumControlledNormal, batch_of(SIZES))
    torch.manual_seed(3)
    one = getattr(q, method)((2,))
    torch.manual_seed(3)
    assert torch.equal(getattr(q, method)((2,)), one)
    assert not torch.equal(getattr(q, method)((2,)), one)


def test_generators_and_shapes_that_do_not_fit_are_refused(refuses, batch_of):
    q = example(SumControlledNormal, batch_of(SIZES))
    for method in (q.rsample, q.sample):
        with refuses(TypeError, "generator"):
            method((), generator=3)
        with refuses(TypeError, "sample_shape"):
            method("many")
        with refuses(TypeError, "sample_shape"):
            method((2.5,))
        with refuses(ValueError, "sample_shape"):
            method((-1,))


# Derivatives and torch.func


@kinds
@couplings
def test_many_values_at_once_are_a_loop_over_them(batch_of, kind, coupling):
    q = example(kind, batch_of(SIZES), coupling)
    values = draw(5, N, D, seed=7)
    for method in (q.log_prob, q.inverse, q.transform, q.log_prob_from_eps):
        found = torch.func.vmap(method)(values)
        torch.testing.assert_close(found, torch.stack([method(value) for value in values]))
        torch.testing.assert_close(found, method(values))


@couplings
@pytest.mark.parametrize("sizes", [SIZES, (1, 5)])
def test_many_parameters_at_once_are_a_loop_over_them(batch_of, coupling, sizes):
    batch, count = batch_of(sizes), len(sizes)
    loc, scale, logits = draw(3, 5, N, D)
    # From independent members to ones of which one has more than half of its set's noise.
    logits = logits + 3.0 * torch.arange(5.0).view(5, 1, 1)
    value, p = draw(N, D, seed=7), Normal(torch.zeros(D).double(), 1.0)

    def numbers(loc, scale, logits):
        q = SumControlledNormal(loc, scale.exp(), logits, batch, count, coupling)
        return (
            q.transform(value),
            q.log_prob(value),
            q.entropy(),
            q.stddev,
            q.sum_variance,
            q.total_correlation(),
            kl_divergence(q, p),
        )

    at_once = torch.func.vmap(numbers)(loc, scale, logits)
    for k in range(5):
        for one, other in zip(at_once, numbers(loc[k], scale[k], logits[k]), strict=True):
            torch.testing.assert_close(one[k], other)


@couplings
def test_gradients_of_each_value_by_itself(batch_of, coupling):
    q = example(SumControlledNormal, batch_of(SIZES), coupling)
    values = draw(3, N, D, seed=7)
    found = torch.func.vmap(torch.func.grad(lambda value: q.log_prob(value).sum()))(values)
    for value, gradient in zip(values, found, strict=True):
        leaf = value.clone().requires_grad_()
        (expected,) = torch.autograd.grad(q.log_prob(leaf).sum(), leaf)
        torch.testing.assert_close(gradient, expected)


@couplings
@pytest.mark.parametrize("sizes", [(2, 0, 1), (1, 1, 1)])
@pytest.mark.parametrize("logit", [0.0, 4.0])
def test_second_derivatives_are_those_of_differences(batch_of, coupling, sizes, logit):
    batch = batch_of(sizes)
    loc, log_scale, logits, value, m = (
        x.unsqueeze(1).requires_grad_() for x in draw(5, 3, seed=int(logit))
    )

    def numbers(loc, log_scale, logits, value, m):
        # At logits of 4 a member may have more than half of its set's noise.
        q = SumControlledNormal(loc, log_scale.exp(), logits + logit, batch, 3, coupling)
        return (
            q.transform(value),
            q.log_prob(value),
            q.log_prob_from_eps(value),
            q.entropy(),
            q.stddev,
            q.total_correlation(),
            kl_divergence(q, Normal(m, m.exp())),
        )

    inputs = loc, log_scale, logits, value, m
    assert torch.autograd.gradcheck(numbers, inputs)
    assert torch.autograd.gradgradcheck(numbers, inputs)


@couplings
def test_second_derivatives_of_sums_are_those_of_differences(batch_of, coupling):
    batch = batch_of((2, 3))
    loc, log_scale, logits = (x.unsqueeze(1).requires_grad_() for x in draw(3, 5, seed=1))
    weight = draw(5, seed=2).requires_grad_()

    def numbers(loc, log_scale, logits, weight):
        q = SumControlledNormal(loc, log_scale.exp(), logits, batch, 2, coupling)
        weighted = q.weighted_sum(weight)
        return q.sum_mean, q.sum_distribution.stddev, q.sum_variance, weighted.mean, weighted.stddev

    assert torch.autograd.gradcheck(numbers, (loc, log_scale, logits, weight))
    assert torch.autograd.gradgradcheck(numbers, (loc, log_scale, logits, weight))


def test_second_derivatives_in_units_of_a_prior_are_those_of_differences(batch_of):
    batch = batch_of((2, 1))
    inputs = [x.unsqueeze(1).requires_grad_() for x in draw(6, 3, seed=1)]

    def numbers(loc, log_scale, shift, log_variance, logits, value):
        prior = Normal(loc, log_scale.exp())
        q = ResidualSumControlledNormal(prior, shift, log_variance, logits, batch)
        return q.kl_to_prior(), kl_divergence(q, prior), q.entropy(), q.log_prob(value)

    assert torch.autograd.gradcheck(numbers, inputs)
    assert torch.autograd.gradgradcheck(numbers, inputs)
