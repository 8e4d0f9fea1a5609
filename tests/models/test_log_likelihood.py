"""How the likelihood is computed in pieces; what it is worth is in ``test_compvae.py``."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11
PART, WHOLE = 3, 5


@pytest.fixture
def inputs(batch_of, draw):
    return draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES), S


def copies(count, whole, parts, batch, batch_size):
    shift = (torch.arange(count) * batch_size).repeat_interleave(len(batch))
    return (
        whole.repeat(count, 1),
        parts.repeat(count, 1),
        batch.repeat(count) + shift,
        count * batch_size,
    )


@pytest.mark.parametrize("num_samples", [1, 7])
@pytest.mark.parametrize("chunk_size", [1, 2, 6, 13, 100])
def test_pieces_give_the_exact_likelihood_of_a_linear_model(
    linear_gaussian, batch_of, draw, num_samples, chunk_size
):
    exact = linear_gaussian("scaled", slope=0.6)
    batch, parts, whole = batch_of(SIZES), draw(N, 2, seed=1), 2.0 * draw(S, 3)
    expected = exact.law(parts, batch, S).log_prob(whole)
    out = exact.model.log_likelihood(
        whole, parts, batch, S, num_samples=num_samples, chunk_size=chunk_size
    )
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("residual_posterior", [False, True])
def test_samples_are_drawn_one_after_the_other(small_model, seeded, inputs, residual_posterior):
    model = small_model(residual_posterior=residual_posterior)
    with seeded(7):
        out = model.log_likelihood(*inputs, num_samples=5, chunk_size=3 * S + 1)
    with seeded(7):
        each = [model.log_likelihood(*inputs, num_samples=1) for _ in range(5)]
    torch.testing.assert_close(out, torch.stack(each).logsumexp(dim=0) - math.log(5.0))


@pytest.mark.parametrize("chunk_size", [1, 2, 4, S, 2 * S, 1000])
def test_the_size_of_chunks_changes_no_result(small_model, seeded, inputs, chunk_size):
    with seeded(7):
        model = small_model()
        expected = model.log_likelihood(*inputs, num_samples=3)
    with seeded(7):
        model = small_model()
        out = model.log_likelihood(*inputs, num_samples=3, chunk_size=chunk_size)
    torch.testing.assert_close(out, expected)


def test_weights_go_with_their_parts(small_model, seeded, inputs, draw):
    model, weight = small_model(), draw(N, seed=4)
    with seeded(7):
        plain = model.log_likelihood(*inputs, num_samples=5, chunk_size=4)
    with seeded(7):
        ones = model.log_likelihood(
            *inputs, num_samples=5, chunk_size=4, weight=torch.ones(N, dtype=torch.long)
        )
    assert (plain == ones).all()
    with seeded(7):
        out = model.log_likelihood(*inputs, num_samples=5, chunk_size=4, weight=weight)
    assert ((out != plain) == (torch.tensor(SIZES) > 0)).all()


def test_samples_approach_the_exact_weighted_likelihood(linear_gaussian, batch_of, seeded, draw):
    # The posterior is that of parts without weights, so that one sample is not enough.
    problem = linear_gaussian("scaled")
    generator, batch, parts = problem.model.generator, batch_of((3, 2)), draw(5, 2, seed=1)
    weight = torch.tensor([0.9, 0.95, 0.92, 0.9, 0.95], dtype=torch.float64)
    law = generator.w_sum_prior(parts, batch, 2, weight=weight)
    z, x = generator.z_prior, generator.decoder
    through = x.of_sum + x.of_z @ z.weight
    mean = law.mean @ through.T + z.bias @ x.of_z.T + x.bias
    covariance = (through * law.variance.unsqueeze(1)) @ through.T
    covariance = covariance + (x.of_z * z.scale.square()) @ x.of_z.T + torch.diag(x.scale.square())
    with seeded(0):
        exact = MultivariateNormal(mean, covariance)
        whole = exact.sample()
        found, single = (
            problem.model.log_likelihood(
                whole, parts, batch, num_samples=count, chunk_size=4096, weight=weight
            )
            for count in (20_000, 1)
        )
    expected = exact.log_prob(whole)
    assert (found - expected).abs().max() < 0.03 < (single - expected).abs().max()
    unweighted = problem.law(parts, batch, 2).log_prob(whole)
    assert (unweighted - expected).abs().max() > 0.1


def test_one_weighted_sample_is_the_log_ratio_of_the_densities(small_model, seeded, inputs, draw):
    whole, parts, batch, _ = inputs
    model, weight = small_model(coupling="scaled"), draw(N, seed=4)
    with seeded(7):
        estimate = model.log_likelihood(*inputs, num_samples=1, weight=weight)
    with seeded(7):
        posterior = model.encoder(*model.embedding(whole, parts, batch), batch, S)
        w = posterior.w.rsample()
    z = posterior.z_sample
    own = weight.unsqueeze(1) * w
    w_sum = torch.zeros(S, w.shape[1]).double().index_add(0, batch, own)
    log_p = model.generator.w_prior(parts).log_prob(w).sum(-1)
    log_p = torch.zeros(S).double().index_add(0, batch, log_p)
    log_p = log_p + model.generator.z_prior(w_sum).log_prob(z).sum(-1)
    log_p = log_p + model.generator.decoder(w_sum, z).log_prob(whole)
    log_q = posterior.z.log_prob(z).sum(-1) + posterior.w.log_prob(w).sum(-1)
    torch.testing.assert_close(estimate, log_p - log_q)


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 6, 20])
def test_networks_see_no_more_wholes_at_once_than_allowed(small_model, inputs, chunk_size):
    sizes = []
    model = small_model()
    for module in (model.encoder, model.generator.decoder):
        module.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model.embedding.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model.log_likelihood(*inputs, num_samples=11, chunk_size=chunk_size)
    assert max(sizes) <= chunk_size
    # And no fewer than there is room for.
    assert max(sizes) == (chunk_size if chunk_size < S else chunk_size // S * S)


def test_features_are_computed_once_for_all_samples(small_model, inputs):
    calls = []
    model = small_model()
    model.embedding.register_forward_hook(lambda *_: calls.append(1))
    model.generator.w_prior.register_forward_hook(lambda *_: calls.append(1))
    model.log_likelihood(*inputs, num_samples=9, chunk_size=S)
    assert len(calls) == 2


def test_no_room_is_refused(refuses, small_model, inputs):
    with refuses(ValueError, "chunk_size"):
        small_model().log_likelihood(*inputs, chunk_size=0)


def test_unfit_weights_are_refused(refuses, small_model, inputs):
    with refuses(ValueError, "weight"):
        small_model().log_likelihood(*inputs, weight=torch.ones(10))
