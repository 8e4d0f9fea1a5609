"""What holds for any sets, widths, types and parameters, however extreme."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from compvae_pyg import CompVAEEncoder, GraphBlock, SumControlledNormal
from compvae_pyg.distributions import floor_log_variance
from compvae_pyg.nn import PackedParts

FLOOR = 1e-3
"""The authors' smallest standard deviation."""

sizes = st.lists(st.integers(0, 6), min_size=1, max_size=5)
dtypes = st.sampled_from([torch.float32, torch.float64])
couplings = st.sampled_from(["paper", "scaled"])
seeds = st.integers(0, 2**32 - 1)
# Powers of ten: logits up to 1e4 either way, variances from the floor's to 1e6.
logit_powers = st.floats(-2.0, 4.0)
scale_powers = st.tuples(st.floats(math.log10(FLOOR), 3.0), st.floats(math.log10(FLOOR), 3.0))


def uniform(shape, low, high, dtype, generator):
    return low + (high - low) * torch.rand(shape, dtype=dtype, generator=generator)


def parameters(num_parts, width, logit_power, scale_power, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (num_parts, width)
    logits = 10.0**logit_power * uniform(shape, -1.0, 1.0, dtype, generator)
    scale = 10.0 ** uniform(shape, min(scale_power), max(scale_power), dtype, generator)
    loc = torch.randn(shape, dtype=dtype, generator=generator)
    return [value.requires_grad_() for value in (loc, scale, logits)]


def assert_finite(values, parameters):
    """Values, and the gradients of their sum."""
    for value in values:
        assert bool(torch.isfinite(value).all())
    total = sum(value.sum() for value in values)
    if total.requires_grad:
        for gradient in torch.autograd.grad(total, parameters, allow_unused=True):
            assert gradient is None or bool(torch.isfinite(gradient).all())


cases = given(
    sizes=sizes,
    width=st.integers(1, 5),
    logit_power=logit_powers,
    scale_power=scale_powers,
    dtype=dtypes,
    coupling=couplings,
    seed=seeds,
)


def finite_and_positive(batch_of, sizes, width, logit_power, scale_power, dtype, coupling, seed):
    batch = batch_of(sizes)
    given_by = parameters(len(batch), width, logit_power, scale_power, dtype, seed)
    q = SumControlledNormal(*given_by, batch, len(sizes), coupling=coupling)
    torch.manual_seed(seed)
    # A sample whose density is asked for by its noise, as in training.
    eps = torch.randn(given_by[0].shape, dtype=dtype)
    prior = Normal(torch.zeros(width, dtype=dtype), torch.ones(width, dtype=dtype))
    divergence = kl_divergence(q, prior)
    assert_finite(
        [
            q.transform(eps),
            q.log_prob_from_eps(eps),
            divergence,
            q.entropy(),
            q.variance,
            q.sum_variance,
        ],
        given_by,
    )
    # Up to the rounding of terms of the size of the largest.
    rounding = 8 * torch.finfo(dtype).eps
    largest = PackedParts(q.loc, batch, len(sizes)).sum(
        1.0 + q.scale.square() + q.loc.square() + q.scale.log().abs()
    )
    largest = largest * (1.0 + max(sizes)) - q.log_null
    assert bool((divergence >= -rounding * largest).all())
    assert bool((q.sum_variance >= 0).all()) and bool((q.variance >= 0).all())
    empty = torch.tensor([size == 0 for size in sizes])
    assert bool((divergence[empty] == 0).all())


@cases
def test_any_distribution_has_finite_values_and_gradients_and_no_negative_divergence(
    batch_of, **case
):
    finite_and_positive(batch_of, **case)


@pytest.mark.slow
@settings(max_examples=3000)
@cases
def test_thousands_of_distributions_have_finite_values_and_gradients(batch_of, **case):
    finite_and_positive(batch_of, **case)


@cases
def test_sets_are_what_each_is_alone_and_the_order_of_members_is_free(
    batch_of, sizes, width, logit_power, scale_power, dtype, coupling, seed
):
    batch = batch_of(sizes)
    values = [
        v.detach() for v in parameters(len(batch), width, logit_power, scale_power, dtype, seed)
    ]
    q = SumControlledNormal(*values, batch, len(sizes), coupling=coupling)
    # The members of each set in reverse.
    order = torch.cat([(batch == s).nonzero().squeeze(1).flip(0) for s in range(len(sizes))])
    turned = SumControlledNormal(*(v[order] for v in values), batch, len(sizes), coupling=coupling)
    tolerance = {"rtol": 1e-3 if dtype == torch.float32 else 1e-9, "atol": 1e-30}
    torch.testing.assert_close(turned.log_null, q.log_null, **tolerance)
    torch.testing.assert_close(turned.rho, q.rho[order], **tolerance)
    for s in range(len(sizes)):
        own = [v[batch == s] for v in values]
        alone = SumControlledNormal(*own, batch_size=1, coupling=coupling)
        torch.testing.assert_close(alone.log_null[0], q.log_null[s], **tolerance)
        torch.testing.assert_close(alone.rho, q.rho[batch == s], **tolerance)


@given(sizes=sizes, power=logit_powers, dtype=dtypes, seed=seeds)
def test_shares_and_what_is_left_sum_to_one(batch_of, sizes, power, dtype, seed):
    batch = batch_of(sizes)
    logits = parameters(len(batch), 2, power, (0.0, 0.0), dtype, seed)[2]
    parts = PackedParts(logits, batch, len(sizes))
    out = parts.softmax_with_null(logits)
    total = parts.sum(out.prob) + out.log_null.exp()
    torch.testing.assert_close(total, torch.ones_like(total))
    assert_finite([out.prob, out.log_null], [logits])


@given(power=st.floats(-3.0, 8.0), min_scale=st.floats(1e-4, 10.0), dtype=dtypes, seed=seeds)
def test_no_variance_falls_below_its_floor(power, min_scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    value = 10.0**power * uniform((20,), -1.0, 1.0, dtype, generator)
    value.requires_grad_()
    floored = floor_log_variance(value, min_scale)
    lowest = 2.0 * math.log(min_scale)
    assert bool((floored >= lowest - 4 * torch.finfo(dtype).eps * max(1.0, abs(lowest))).all())
    assert_finite([floored], [value])


@given(
    sizes=sizes,
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    aggr=st.sampled_from(["sum", "mean"]),
    power=st.floats(-3.0, 4.0),
    dtype=dtypes,
    seed=seeds,
)
def test_blocks_are_finite_equivariant_and_blind_to_other_sets(
    batch_of, sizes, channels, aggr, power, dtype, seed
):
    torch.manual_seed(seed)
    block = GraphBlock(*channels, aggr=aggr).to(dtype)
    batch, count = batch_of(sizes), len(sizes)
    x = (10.0**power * torch.randn(len(batch), channels[0], dtype=dtype)).requires_grad_()
    out = block(x, batch=batch, batch_size=count)
    assert_finite([out], [x, *block.parameters()])
    order = torch.cat([(batch == s).nonzero().squeeze(1).flip(0) for s in range(count)])
    size = float(out.abs().max()) if len(batch) else 1.0
    tolerance = {"rtol": 0.0, "atol": 100 * torch.finfo(dtype).eps * max(1.0, size, 10.0**power)}
    torch.testing.assert_close(
        block(x[order], batch=batch, batch_size=count), out[order], **tolerance
    )
    for s in range(count):
        if sizes[s]:
            torch.testing.assert_close(block(x[batch == s]), out[batch == s], **tolerance)


@given(
    sizes=sizes,
    widths=st.tuples(*[st.integers(1, 6)] * 5),
    num_blocks=st.integers(1, 3),
    coupling=couplings,
    power=st.floats(-3.0, 3.0),
    dtype=dtypes,
    seed=seeds,
)
def test_posteriors_are_finite_whatever_the_features(
    batch_of, sizes, widths, num_blocks, coupling, power, dtype, seed
):
    torch.manual_seed(seed)
    encoder = CompVAEEncoder(*widths, num_blocks=num_blocks, coupling=coupling).to(dtype)
    batch, count = batch_of(sizes), len(sizes)
    # Features of any size, but a first layer that takes them: log-variances stay in their range.
    whole = torch.randn(count, widths[0], dtype=dtype)
    parts = (10.0**power * torch.randn(len(batch), widths[1], dtype=dtype)).requires_grad_()
    posterior = encoder(whole, parts, batch, count)
    assert posterior.w.batch_shape == (count, widths[3])
    assert posterior.z_sample.shape == (count, widths[4])
    assert_finite([posterior.w.loc, posterior.w.coupling_logits, posterior.z_sample], [parts])
