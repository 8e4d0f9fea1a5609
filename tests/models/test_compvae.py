import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from compvae_pyg import CompVAE

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11
PART, W, Z, WHOLE = 3, 4, 2, 5

couplings = pytest.mark.parametrize("coupling", ["paper", "scaled"])


@pytest.fixture
def inputs(batch_of, draw):
    """Wholes, parts, batch and the number of sets, as the small model takes them."""
    return draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES), S


def terms(elbo):
    return elbo.log_likelihood, elbo.kl_w, elbo.kl_z


def log_normal(value, loc, scale):
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


def standard_error(sample):
    return sample.std() / math.sqrt(len(sample))


def copies(count, whole, parts, batch):
    """One batch of ``count`` copies of another."""
    shift = (torch.arange(count) * len(whole)).repeat_interleave(len(batch))
    return whole.repeat(count, 1), parts.repeat(count, 1), batch.repeat(count) + shift


# The bound


@couplings
@pytest.mark.parametrize("residual_posterior", [False, True])
def test_terms_of_the_elbo_are_those_of_a_loop_over_sets(
    small_model, dense_law, seeded, inputs, coupling, residual_posterior
):
    whole, parts, batch, _ = inputs
    model = small_model(coupling=coupling, residual_posterior=residual_posterior)
    with seeded(7):
        elbo = model.elbo(*inputs)
    prior = model.generator.w_prior(parts)
    with seeded(7):
        posterior = model.encoder(
            model.embedding.whole_embedding(whole),
            model.embedding.part_embedding(parts),
            batch,
            S,
            w_prior=prior if residual_posterior else None,
        )
        noise = torch.randn(S, W, dtype=torch.float64)
    q, z = posterior.w, posterior.z_sample
    for s in range(S):
        mine = batch == s
        w_sum, kl_w = torch.zeros(1, W, dtype=torch.float64), torch.zeros(()).double()
        for d in range(W if mine.any() else 0):
            loc, scale, logits = (x[mine, d] for x in (q.loc, q.scale, q.coupling_logits))
            dense = dense_law(loc, scale, logits, coupling)
            of_sum = dense.mean.sum(), dense.covariance_matrix.sum().sqrt()
            w_sum[0, d] = of_sum[0] + of_sum[1] * noise[s, d]
            product = MultivariateNormal(prior.mean[mine, d], prior.variance[mine, d].diag())
            kl_w += kl_divergence(dense, product)
        z_prior = model.generator.z_prior(w_sum)
        log_q = log_normal(z[s], posterior.z.mean[s], posterior.z.stddev[s]).sum()
        log_p = log_normal(z[s], z_prior.mean[0], z_prior.stddev[0]).sum()
        x = model.generator.decoder(w_sum, z[s : s + 1])
        torch.testing.assert_close(elbo.likelihood.mean[s], x.mean[0])
        log_x = log_normal(whole[s], x.mean[0], x.stddev[0]).sum()
        torch.testing.assert_close(elbo.kl_w[s], kl_w)
        torch.testing.assert_close(elbo.kl_z[s], log_q - log_p)
        torch.testing.assert_close(elbo.log_likelihood[s], log_x)
        torch.testing.assert_close(elbo.elbo[s], log_x - kl_w - log_q + log_p)


def test_sets_do_not_touch_each_other(small_model, seeded, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    with seeded(7):
        before = terms(model.elbo(*inputs))
    for s in range(S):
        others = torch.arange(S) != s
        with seeded(7):
            after = terms(
                model.elbo(
                    torch.where(others.unsqueeze(1), whole, 3.0),
                    torch.where(others[batch].unsqueeze(1), parts, torch.nan),
                    batch,
                    S,
                )
            )
        for one, other in zip(after, before, strict=True):
            torch.testing.assert_close(one[others], other[others])
            assert SIZES[s] == 0 or one[s].isnan()


def test_gradients_of_a_set_stay_in_it(small_model, inputs):
    whole, parts, batch, _ = inputs
    whole, parts = whole.requires_grad_(), parts.requires_grad_()
    loss = small_model().elbo(whole, parts, batch, S).elbo[3]
    of_whole, of_parts = torch.autograd.grad(loss, (whole, parts))
    assert (of_whole[3] != 0).all() and (of_parts[batch == 3] != 0).all()
    assert (of_whole[torch.arange(S) != 3] == 0).all()
    assert (of_parts[batch != 3] == 0).all()


@pytest.mark.parametrize("residual_posterior", [False, True])
def test_the_bound_trains_every_parameter(small_model, inputs, residual_posterior):
    model = small_model(residual_posterior=residual_posterior)
    model.elbo(*inputs).elbo.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name


def test_empty_sets_cost_no_information_in_parts(small_model, inputs):
    elbo = small_model().elbo(*inputs)
    empty = torch.tensor(SIZES) == 0
    assert (elbo.kl_w[empty] == 0).all() and (elbo.kl_w[~empty] > 0).all()
    assert elbo.elbo.isfinite().all()


def test_one_part_and_no_batch(small_model, draw):
    model = small_model()
    elbo = model.elbo(draw(1, WHOLE), draw(1, PART))
    assert all(term.shape == (1,) and term.isfinite().all() for term in terms(elbo))
    assert model.generate(draw(1, PART)).shape == (1, WHOLE)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_no_parts_at_all(small_model, batch_of, draw, batch_size):
    model, whole = small_model(), draw(batch_size, WHOLE)
    parts, batch = draw(0, PART), batch_of([])
    elbo = model.elbo(whole, parts, batch, batch_size)
    for term in terms(elbo):
        assert term.shape == (batch_size,) and term.isfinite().all()
    assert model.log_likelihood(whole, parts, batch, batch_size).isfinite().all()
    assert model.generate(parts, batch, batch_size).shape == (batch_size, WHOLE)


def test_no_wholes_can_be_generated_but_not_inferred(refuses, small_model, batch_of, draw):
    model, parts, batch = small_model(), draw(0, PART), batch_of([])
    assert model.generate(parts, batch, 0).shape == (0, WHOLE)
    for call in (model.elbo, model.infer, model.log_likelihood):
        with refuses(ValueError, "whole"):
            call(draw(0, WHOLE), parts, batch, 0)


def test_parts_may_be_named(small_model, inputs, seeded):
    class Named(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, parts):
            return self.inner(torch.cat([parts["pos"], parts["size"]], dim=-1))

    whole, parts, batch, _ = inputs
    model = small_model()
    with seeded(7):
        expected = terms(model.elbo(whole, parts, batch, S))
    model.embedding.part_embedding = Named(model.embedding.part_embedding)
    model.generator.w_prior = Named(model.generator.w_prior)
    with seeded(7):
        out = terms(model.elbo(whole, {"pos": parts[:, :2], "size": parts[:, 2:]}, batch, S))
    for one, other in zip(out, expected, strict=True):
        torch.testing.assert_close(one, other)


# Against a likelihood in closed form


@pytest.mark.parametrize(("coupling", "slope"), [("paper", 0.0), ("scaled", 0.0), ("scaled", 0.6)])
def test_likelihood_is_exact_in_every_sample_of_the_true_posterior(
    linear_gaussian, batch_of, draw, coupling, slope
):
    exact = linear_gaussian(coupling, slope=slope)
    batch, parts = batch_of(SIZES), draw(N, 2, seed=1)
    parts[1] = parts[0]  # a part that comes twice
    whole = 2.0 * draw(S, 3)
    expected = exact.law(parts, batch, S).log_prob(whole)
    for num_samples in (1, 3):
        out = exact.model.log_likelihood(whole, parts, batch, S, num_samples=num_samples)
        torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    order = torch.tensor([2, 0, 1, 3, 8, 4, 6, 5, 7, 10, 9])
    moved = exact.model.log_likelihood(whole, parts[order], batch, S, num_samples=1)
    torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("coupling", "slope"), [("paper", 0.0), ("scaled", 0.6)])
def test_mean_bound_of_the_true_posterior_is_the_likelihood(
    linear_gaussian, batch_of, draw, coupling, slope
):
    exact = linear_gaussian(coupling, slope=slope)
    batch, parts, whole = batch_of((2,)), draw(2, 2, seed=1), 2.0 * draw(1, 3)
    expected = exact.law(parts, batch, 1).log_prob(whole)
    count = 20_000
    bound = exact.model.elbo(*copies(count, whole, parts, batch), count)
    error = bound.elbo.mean() - expected
    assert error.abs() < 4.5 * standard_error(bound.elbo)


def test_closed_form_of_the_z_term_would_be_biased(linear_gaussian, batch_of, draw):
    # METHOD: w_sum depends on the draw of z, so that KL(q(z|x) || p(z|w_sum)) is another number.
    exact = linear_gaussian("paper")
    exact.model.generator.decoder.scale *= 4.0
    z_prior = exact.model.generator.z_prior
    batch, parts, whole = batch_of((2,)), draw(2, 2, seed=1), 2.0 * draw(1, 3)
    count = 20_000
    inputs = *copies(count, whole, parts, batch), count
    torch.manual_seed(2)
    sampled = exact.model.elbo(*inputs).kl_z
    torch.manual_seed(2)
    latents = exact.model.infer(*inputs)
    closed = kl_divergence(exact.model.encoder(*inputs).z, z_prior(latents.w_sum)).squeeze(-1)
    # By expanding the squares: what is lost is the posterior's covariance of z and w_sum.
    lost = z_prior.weight.item() * torch.cov(torch.cat([latents.z, latents.w_sum], 1).T)[0, 1]
    bias = closed - sampled
    assert bias.mean() > 10.0 * standard_error(bias)
    assert (bias.mean() - lost / z_prior.scale.square()).abs() < 4.5 * standard_error(bias)


@pytest.mark.parametrize(("coupling", "slope"), [("paper", 0.0), ("scaled", 0.6)])
def test_bound_lies_below_the_likelihood_and_samples_close_the_gap(
    linear_gaussian, beside_the_posterior, batch_of, draw, coupling, slope
):
    problem = linear_gaussian(coupling, slope=slope)
    model = problem.model
    model.encoder = beside_the_posterior(model.encoder)
    batch, parts, whole = batch_of((1, 3)), draw(4, 2, seed=1), 2.0 * draw(2, 3)
    expected = problem.law(parts, batch, 2).log_prob(whole)
    count = 400
    inputs = *copies(count, whole, parts, batch), 2 * count
    bound = model.elbo(*inputs).elbo.view(count, 2)
    few, many = (
        model.log_likelihood(*inputs, num_samples=num_samples).view(count, 2)
        for num_samples in (4, 100)
    )
    for s in range(2):
        assert bound[:, s].mean() + 4.5 * standard_error(bound[:, s]) < expected[s]
        # More samples, a higher expectation, and still a lower bound.
        assert bound[:, s].mean() < few[:, s].mean() < many[:, s].mean()
        assert many[:, s].mean() < expected[s] + 4.5 * standard_error(many[:, s])
        # The likelihood itself, off the logarithm, is estimated without bias.
        for estimate in (few[:, s], many[:, s]):
            ratio = (estimate - expected[s]).exp()
            assert (ratio.mean() - 1.0).abs() < 4.5 * standard_error(ratio)
        assert standard_error(ratio) < 0.05


def test_likelihood_takes_no_gradient_and_refuses_no_samples(refuses, small_model, inputs):
    model = small_model()
    assert not model.log_likelihood(*inputs, num_samples=2).requires_grad
    with refuses(ValueError, "num_samples"):
        model.log_likelihood(*inputs, num_samples=0)


def test_one_sample_of_the_likelihood_is_the_log_ratio_of_the_densities(
    small_model, seeded, inputs
):
    whole, parts, batch, _ = inputs
    model = small_model(coupling="scaled")
    with seeded(7):
        estimate = model.log_likelihood(*inputs, num_samples=1)
    with seeded(7):
        posterior = model.encoder(*model.embedding(whole, parts, batch), batch, S)
        w = posterior.w.rsample()
    z, w_sum = posterior.z_sample, torch.zeros(S, W).double().index_add(0, batch, w)
    log_p = model.generator.w_prior(parts).log_prob(w).sum(-1)
    log_p = torch.zeros(S).double().index_add(0, batch, log_p)
    log_p = log_p + model.generator.z_prior(w_sum).log_prob(z).sum(-1)
    log_p = log_p + model.generator.decoder(w_sum, z).log_prob(whole)
    log_q = posterior.z.log_prob(z).sum(-1) + posterior.w.log_prob(w).sum(-1)
    torch.testing.assert_close(estimate, log_p - log_q)


# Generating


def test_generated_wholes_have_the_moments_of_the_model(linear_gaussian, batch_of, draw):
    problem = linear_gaussian("paper", w=3, z=2, slope=0.5)
    batch, parts = batch_of((1, 0, 3)), draw(4, 2, seed=1)
    count = 20_000
    _, many_parts, many_batch = copies(count, draw(3, 3), parts, batch)
    mean, covariance = problem.mean_law(parts, batch, 3)
    whole = problem.law(parts, batch, 3).covariance_matrix
    for noise, expected in ((False, covariance), (True, whole)):
        sample = problem.model.generate(
            many_parts, many_batch, 3 * count, observation_noise=noise
        ).view(count, 3, 3)
        variance = expected.diagonal(dim1=1, dim2=2)
        error = (sample.mean(0) - mean) / (variance / count).sqrt()
        assert error.abs().max() < 4.5
        centred = sample - mean
        found = torch.einsum("nsi,nsj->sij", centred, centred) / count
        spread = (variance.unsqueeze(1) * variance.unsqueeze(2) + expected.square()) / count
        assert ((found - expected) / spread.sqrt()).abs().max() < 4.5


@pytest.mark.parametrize("observation_noise", [False, True])
def test_generating_obeys_its_generator_and_leaves_the_global_one(
    small_model, inputs, observation_noise
):
    _, parts, batch, _ = inputs
    model = small_model()

    def generate(seed):
        generator = torch.Generator().manual_seed(seed)
        return model.generate(
            parts, batch, S, generator=generator, observation_noise=observation_noise
        )

    state = torch.get_rng_state()
    first = generate(1)
    assert (torch.get_rng_state() == state).all()
    torch.manual_seed(99)
    assert (generate(1) == first).all()
    assert (generate(2) != first).all()


def test_generating_draws_from_the_global_generator_by_default(small_model, seeded, inputs):
    _, parts, batch, _ = inputs
    model = small_model()
    with seeded(1):
        first = model.generate(parts, batch, S)
        second = model.generate(parts, batch, S)
    with seeded(1):
        again = model.generate(parts, batch, S)
    assert (first == again).all() and (first != second).all()
    assert not first.requires_grad


# Inferring


def test_inferred_composition_is_the_posterior_s_draw(small_model, seeded, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    with seeded(7):
        composition = model.infer(*inputs)
    with seeded(7):
        posterior = model.encoder(*model.embedding(whole, parts, batch), batch, S)
        w = posterior.w.rsample()
    torch.testing.assert_close(composition.w, w)
    torch.testing.assert_close(composition.z, posterior.z_sample)
    assert composition.parts.fields is parts and composition.batch_size == S
    assert not composition.w.requires_grad and not composition.z_eps.requires_grad
    with seeded(7):
        reconstruction = model.reconstruct(*inputs)
    torch.testing.assert_close(reconstruction, composition.decode().mean)
    assert reconstruction.shape == whole.shape and not reconstruction.requires_grad


# Compiling and devices


def test_no_value_is_read_from_the_device(small_model):
    # Reading a value of a tensor on the meta device raises.
    model = small_model().to("meta")
    whole = torch.randn(2, WHOLE, device="meta", dtype=torch.float64)
    parts = torch.randn(5, PART, device="meta", dtype=torch.float64)
    batch = torch.zeros(5, dtype=torch.long, device="meta")
    assert model.elbo(whole, parts, batch, 2).elbo.shape == (2,)
    assert model.generate(parts, batch, 2).shape == (2, WHOLE)
    assert model.infer(whole, parts, batch, 2).decode().mean.shape == (2, WHOLE)
    assert model.log_likelihood(whole, parts, batch, 2, num_samples=2).shape == (2,)


def test_bound_stays_in_32_bits_under_autocast(small_model, seeded, inputs):
    whole, parts, batch, _ = inputs
    model = small_model(part_noise=False).float()
    whole, parts = whole.float(), parts.float()
    with seeded(7):
        full = terms(model.elbo(whole, parts, batch, S))
    with seeded(7), torch.autocast("cpu", dtype=torch.bfloat16):
        half = terms(model.elbo(whole, parts, batch, S))
    for one, other in zip(half, full, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.2)


# Refusals


def test_unfit_wholes_are_refused(refuses, small_model, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    calls = (model.elbo, model.infer, model.reconstruct, model.log_likelihood)
    for call in calls:
        with refuses(ValueError, "whole"):
            call(whole[:, :4], parts, batch, S)
        with refuses(ValueError, "whole"):
            call(whole[:, 0], parts, batch, S)
        with refuses(TypeError, "whole"):
            call(whole.tolist(), parts, batch, S)
        with refuses(TypeError, "whole"):
            call(whole.long(), parts, batch, S)
        with refuses(ValueError, "whole"):
            call(whole, parts, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]))


def test_a_scalar_whole_is_refused(refuses, small_model, inputs):
    _, parts, batch, _ = inputs
    with refuses(ValueError, "whole"):
        small_model().elbo(torch.tensor(1.0), parts, batch, S)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_whole_that_is_not_finite_is_refused(refuses, small_model, inputs, bad):
    whole, parts, batch, _ = inputs
    whole[2, 3] = bad
    for call in (small_model().elbo, small_model().infer, small_model().log_likelihood):
        with refuses(ValueError, "whole"):
            call(whole, parts, batch, S)


def test_wholes_whose_sum_overflows_are_finite(small_model, inputs):
    whole, parts, batch, _ = inputs
    largest = torch.full_like(whole, torch.finfo(whole.dtype).max)
    assert small_model().infer(largest, parts, batch, S).batch_size == S


def test_unfit_batch_is_refused(refuses, small_model, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    calls = (
        lambda *where: model.elbo(whole, parts, *where),
        lambda *where: model.infer(whole, parts, *where),
        lambda *where: model.log_likelihood(whole, parts, *where),
        lambda *where: model.generate(parts, *where),
    )
    for call in calls:
        with refuses(ValueError, "batch"):
            call(batch[:-1], S)
        with refuses(ValueError, "batch"):
            call(torch.tensor([5] + 10 * [0]), S)
        with refuses(ValueError, "batch"):
            call(batch, 4)
        with refuses(ValueError, "batch"):
            call(batch)
        with refuses(TypeError, "batch"):
            call(batch.int(), S)
        with refuses(ValueError, "batch"):
            call(None, S)


def test_tensors_on_two_devices_are_refused(refuses, small_model, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    with refuses(ValueError, "whole"):
        model.elbo(whole.to("meta"), parts, batch, S)
    with refuses(ValueError, "batch"):
        model.elbo(whole, parts, batch.to("meta"), S)
    with refuses(ValueError, "batch"):
        model.generate(parts.to("meta"), batch, S)


def test_unfit_parts_are_refused(refuses, small_model, inputs):
    whole, parts, batch, _ = inputs
    model = small_model()
    fields = {"pos": parts[:, :2], "size": parts[:10, 2:]}
    with refuses(ValueError, "size"):
        model.elbo(whole, fields, batch, S)
    with refuses(ValueError, "size"):
        model.generate(fields, batch, S)
    with refuses(TypeError, "parts"):
        model.generate(parts.tolist(), batch, S)


def test_model_keeps_no_results_of_a_call(small_model, inputs):
    model = small_model()

    def state(module: CompVAE):
        return {
            (name, key): id(value) if isinstance(value, torch.Tensor) else value
            for name, child in module.named_modules()
            for key, value in vars(child).items()
            if not key.startswith("_")
        }

    before = state(model)
    model.elbo(*inputs)
    model.infer(*inputs)
    assert state(model) == before
