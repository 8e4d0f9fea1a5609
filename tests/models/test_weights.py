import math

import pytest
import torch
from torch.distributions import kl_divergence

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11
PART, W, Z, WHOLE = 3, 4, 2, 5


@pytest.fixture
def inputs(batch_of, draw):
    return draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES), S


@pytest.fixture
def weight(draw):
    return draw(N, seed=9)


def seed(number=3):
    return torch.Generator().manual_seed(number)


# Generating


def test_weights_of_one_are_no_weights(small_model, inputs, seeded):
    model, (_, parts, batch, _) = small_model(), inputs
    ones = torch.ones(N)
    plain = model.generate(parts, batch, S, generator=seed())
    torch.testing.assert_close(
        model.generate(parts, batch, S, weight=ones, generator=seed()), plain
    )
    laws = [model.generator.w_sum_prior(parts, batch, S, weight=weight) for weight in (None, ones)]
    torch.testing.assert_close(laws[0].mean, laws[1].mean)
    torch.testing.assert_close(laws[0].stddev, laws[1].stddev)
    with seeded(7):
        elbo = model.elbo(*inputs)
    with seeded(7):
        with_ones = model.elbo(*inputs, weight=ones)
    for one, other in zip(elbo[:3], with_ones[:3], strict=True):
        torch.testing.assert_close(one, other)
    with seeded(7):
        reconstruction = model.reconstruct(*inputs)
    with seeded(7):
        torch.testing.assert_close(model.reconstruct(*inputs, weight=ones), reconstruction)


def test_a_part_of_weight_zero_is_absent_from_what_is_generated(small_model, inputs):
    model, (_, parts, batch, _) = small_model(), inputs
    there = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0]).bool()
    law = model.generator.w_sum_prior(parts, batch, S, weight=there.double())
    expected = model.generator.w_sum_prior(parts[there], batch[there], S)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)
    # With the same noise, the same wholes.
    composition = model.compose(parts, batch, S, weight=there.double(), generator=seed())
    assert torch.equal(
        model.generate(parts, batch, S, weight=there.double(), generator=seed()),
        composition.decode().mean,
    )
    torch.testing.assert_close(composition.remove(~there).decode().mean, composition.decode().mean)


def test_weighted_sum_of_the_prior_has_its_moments(small_model, inputs, weight):
    model, (_, parts, batch, _) = small_model().requires_grad_(False), inputs
    prior = model.generator.w_prior(parts)
    law = model.generator.w_sum_prior(parts, batch, S, weight=weight)
    zero, a = torch.zeros(S, W, dtype=torch.float64), weight.unsqueeze(1)
    torch.testing.assert_close(law.mean, zero.index_add(0, batch, a * prior.mean))
    variance = zero.index_add(0, batch, a.square() * prior.variance)
    torch.testing.assert_close(law.variance, variance)
    # And so have the sums that are drawn.
    count = 4000
    shift = (torch.arange(count) * S).repeat_interleave(N)
    sums = model.compose(
        parts.repeat(count, 1),
        batch.repeat(count) + shift,
        count * S,
        weight=weight.repeat(count),
    ).w_sum.view(count, S, W)[:, [0, 2, 3, 4]]
    mean, variance = (x[[0, 2, 3, 4]] for x in (law.mean, law.variance))
    assert ((sums.mean(0) - mean) / (variance / count).sqrt()).abs().max() < 4.5
    assert ((sums.var(0) / variance - 1.0) * (count / 2) ** 0.5).abs().max() < 4.5


# The bound and inference


def test_bound_is_that_of_the_weighted_sum(small_model, seeded, inputs, weight):
    whole, parts, batch, _ = inputs
    model = small_model(part_noise=False, coupling="scaled")
    with seeded(7):
        elbo = model.elbo(*inputs, weight=weight)
    prior = model.generator.w_prior(parts)
    with seeded(7):
        posterior = model.encoder(*model.embedding(whole, parts, batch), batch, S)
        w_sum = posterior.w.weighted_sum(weight).rsample()
    z, z_prior = posterior.z_sample, model.generator.z_prior(w_sum)
    likelihood = model.generator.decoder(w_sum, z)
    torch.testing.assert_close(elbo.log_likelihood, likelihood.log_prob(whole))
    kl_z = (posterior.z.log_prob(z) - z_prior.log_prob(z)).sum(-1)
    torch.testing.assert_close(elbo.kl_z, kl_z)
    # What the parts' latents say does not depend on how much they count.
    torch.testing.assert_close(elbo.kl_w, kl_divergence(posterior.w, prior).sum(-1))


def test_weighted_bound_lies_below_the_weighted_likelihood(linear_gaussian, batch_of, draw):
    # Weights that are the same for all parts make another linear-Gaussian model, whose
    # likelihood is known; the posterior of the plain one serves as any other would.
    problem = linear_gaussian("scaled")
    model, a = problem.model, 0.2
    batch, parts = batch_of((2,)), draw(2, 2, seed=1)
    z_law, x_law = model.generator.z_prior, model.generator.decoder
    # A whole whose parts must have been large.
    whole = problem.mean_law(parts, batch, 1)[0] + 4.0 * x_law.of_sum.T
    kept = z_law.weight, x_law.of_sum
    z_law.weight, x_law.of_sum = a * kept[0], a * kept[1]
    expected = problem.law(parts, batch, 1).log_prob(whole)
    z_law.weight, x_law.of_sum = kept
    count = 20_000
    many = batch.repeat(count) + torch.arange(count).repeat_interleave(2)
    elbo = model.elbo(
        whole.expand(count, 3),
        parts.repeat(count, 1),
        many,
        weight=torch.full((2 * count,), a),
    ).elbo
    assert elbo.mean() + 4.5 * elbo.std() / math.sqrt(count) < expected
    # Without the weights it would be the plain model's likelihood, which is above.
    assert problem.law(parts, batch, 1).log_prob(whole) > expected + 1.0


def test_inferred_weights_stay_with_the_composition(small_model, inputs, weight, seeded):
    model = small_model()
    with seeded(7):
        composition = model.infer(*inputs, weight=weight)
    with seeded(7):
        plain = model.infer(*inputs)
    assert torch.equal(composition.parts.weight, weight) and plain.parts.weight is None
    assert torch.equal(composition.w, plain.w)
    # The whole's latent is the one that was inferred, whatever the weights.
    torch.testing.assert_close(composition.z, plain.z)
    zero = torch.zeros(S, W, dtype=torch.float64)
    torch.testing.assert_close(
        composition.w_sum, zero.index_add(0, inputs[2], weight.unsqueeze(1) * plain.w)
    )


def test_gradients_flow_to_the_weights(small_model, inputs, weight):
    weight = weight.requires_grad_()
    elbo = small_model().elbo(*inputs, weight=weight).elbo
    (gradient,) = torch.autograd.grad(elbo[3], weight)
    mine = inputs[2] == 3
    assert (gradient[mine] != 0).all() and (gradient[~mine] == 0).all()


# Bad input


def test_unfit_weights_are_refused_everywhere_before_anything_is_drawn(
    refuses, small_model, inputs
):
    model, (_, parts, batch, _) = small_model(), inputs
    state = torch.get_rng_state()
    calls = [
        lambda weight: model.elbo(*inputs, weight=weight),
        lambda weight: model.infer(*inputs, weight=weight),
        lambda weight: model.generate(parts, batch, S, weight=weight),
        lambda weight: model.compose(parts, batch, S, weight=weight),
        lambda weight: model.generator.w_sum_prior(parts, batch, S, weight=weight),
    ]
    for call in calls:
        with refuses(ValueError, "weight"):
            call(torch.ones(N, 1))
        bad = torch.ones(N)
        bad[4] = torch.inf
        with refuses(ValueError, "weight"):
            call(bad)
        with refuses(TypeError, "weight"):
            call(torch.ones(N, dtype=torch.bool))
        with refuses(TypeError, "weight"):
            call([1.0] * N)
        with refuses(ValueError, "weight"):
            call(torch.ones(N, device="meta"))
    assert torch.equal(torch.get_rng_state(), state)
