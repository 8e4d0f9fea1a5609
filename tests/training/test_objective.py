import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from compvae_pyg import Sines
from compvae_pyg.nn import PackedParts
from compvae_pyg.training import (
    Coefficients,
    CompVAEModule,
    Schedule,
    Stage,
    objective,
    staged_elbo,
)


@pytest.fixture
def evaluated(tiny, model):
    batch = tiny.sample(torch.tensor([1, 3, 2]))
    return model.elbo(batch.whole, batch.point, batch.batch, 3), batch.whole


def test_with_weights_of_one_it_is_the_negative_elbo(evaluated):
    terms, whole = evaluated
    loss = objective(terms, whole, Coefficients(Stage("whole", 1.0), 1.0, 1.0))
    assert torch.allclose(loss, -terms.elbo)


def test_each_divergence_has_its_weight(evaluated):
    terms, whole = evaluated
    loss = objective(terms, whole, Coefficients(Stage("whole", 1.0), 3.0, 0.5))
    assert torch.allclose(loss, -terms.log_likelihood + 3.0 * terms.kl_w + 0.5 * terms.kl_z)


def test_squared_error_is_that_of_the_mean_summed_over_the_whole(evaluated):
    terms, whole = evaluated
    stage = Stage("labels", 1.0, loss="squared_error")
    loss = objective(terms, whole, Coefficients(stage, 3.0, 0.5))
    mean = terms.likelihood.mean.detach()
    for s in range(3):
        error = sum((float(whole[s, i]) - float(mean[s, i])) ** 2 for i in range(4))
        expected = error + 3.0 * terms.kl_w[s].item() + 0.5 * terms.kl_z[s].item()
        assert loss[s].item() == pytest.approx(expected, rel=1e-5)


def test_noise_widens_the_likelihood_and_nothing_else(evaluated):
    terms, whole = evaluated
    loss = objective(terms, whole, Coefficients(Stage("parts", 1.0), 1.0, 1.0, noise=3.0))
    inner = terms.likelihood.base_dist
    log_prob = Normal(inner.mean, 3.0 * inner.stddev).log_prob(whole).sum(dim=1)
    assert torch.allclose(loss, terms.kl_w + terms.kl_z - log_prob)


def test_a_likelihood_that_is_not_normal_has_no_noise(evaluated, refuses):
    terms, whole = evaluated
    terms = terms._replace(likelihood=Independent(Bernoulli(torch.full((3, 4), 0.5)), 1))
    with refuses(TypeError, "noise"):
        objective(terms, whole, Coefficients(Stage("parts", 1.0), 1.0, 1.0, noise=3.0))


@pytest.mark.parametrize("inferred", ["none", "parts", "all"])
def test_stages_match_codes_and_fit_the_prior(inferred):
    """Where latents are inferred: the loss has the distance, and the prior moves."""
    sines = Sines(num_categories=3)
    data = sines.sample(torch.tensor([1, 3] * 20), torch.Generator().manual_seed(0))
    losses, moved = [], []
    for options in ({}, {"code_matching": (50.0, 100.0), "fit_prior": 0.5}):
        torch.manual_seed(0)
        model = sines.build("small", hidden_channels=8, group_channels=8)
        schedule = Schedule(2, stages=(Stage("one", 1.0, inferred, **options),))
        prior = model.generator.w_prior.net.loc.clone()
        losses.append(CompVAEModule(model, schedule, sines.parts).training_step(data).item())
        moved.append(not torch.equal(prior, model.generator.w_prior.net.loc))
    assert moved == [False, inferred != "none"]
    assert (losses[0] == losses[1]) == (inferred == "none")


# Training in stages


@pytest.fixture
def given(tiny, model):
    """A model in 64 bits, and wholes with their parts: one has none."""
    torch.manual_seed(2)
    batch = torch.tensor([0, 0, 0, 2, 2, 3])
    return (
        model.double(),
        torch.randn(4, 4, dtype=torch.float64),
        PackedParts(torch.randn(6, 2, dtype=torch.float64), batch, 4),
    )


def weighted(parts):
    weight = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.0, 0.7], dtype=torch.float64)
    return PackedParts(parts.fields, parts.batch, 4, weight=weight)


def unweighted(parts):
    return PackedParts(parts.fields, parts.batch, 4, weight=torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("change", [weighted, unweighted])
def test_with_nothing_inferred_latents_are_the_means_of_their_priors(given, change):
    model, whole, parts = given
    parts = change(parts)
    elbo = staged_elbo(model, whole, parts, inferred="none")
    mean = parts.weight.unsqueeze(1) * model.generator.w_prior(parts.fields).mean
    w_sum = torch.zeros(4, 3).double().index_add(0, parts.batch, mean)
    expected = model.generator.decoder(w_sum, model.generator.z_prior(w_sum).mean)
    torch.testing.assert_close(elbo.likelihood.mean, expected.mean)
    torch.testing.assert_close(elbo.log_likelihood, expected.log_prob(whole))
    assert (elbo.kl_w == 0).all() and (elbo.kl_z == 0).all()
    elbo.elbo.sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_order_of_parts_does_not_matter_to_the_means(given):
    model, whole, parts = given
    order = torch.tensor([2, 0, 1, 4, 3, 5])
    elbo = staged_elbo(model, whole, parts, inferred="none")
    moved = staged_elbo(model, whole, parts.fields[order], parts.batch, 4, inferred="none")
    torch.testing.assert_close(moved.log_likelihood, elbo.log_likelihood)


@pytest.mark.parametrize("change", [weighted, unweighted])
def test_with_parts_inferred_z_is_its_prior_s_mean_and_noise_hides_the_whole_in_it(given, change):
    model, whole, parts = given
    parts, model.encoder.part_noise = change(parts), False
    torch.manual_seed(7)
    elbo = staged_elbo(model, whole, parts, inferred="parts")
    torch.manual_seed(7)
    hidden = torch.randn(4, 2, dtype=torch.float64)
    features = model.embedding(whole, parts.fields, parts.batch)
    w = model.encoder(*features, parts.batch, 4, z=hidden).w
    w_sum = w.weighted_sum(parts.weight).rsample()
    expected = model.generator.decoder(w_sum, model.generator.z_prior(w_sum).mean)
    torch.testing.assert_close(elbo.likelihood.mean, expected.mean)
    torch.testing.assert_close(elbo.log_likelihood, expected.log_prob(whole))
    # What the parts' latents say does not depend on how much they count.
    kl_w = kl_divergence(w, model.generator.w_prior(parts.fields)).sum(-1)
    torch.testing.assert_close(elbo.kl_w, kl_w)
    assert (elbo.kl_z == 0).all()
    elbo.elbo.sum().backward()
    assert all(p.grad is None for p in model.encoder.z_head.parameters())


def test_with_all_inferred_it_is_the_elbo(given):
    model, whole, parts = given
    torch.manual_seed(7)
    expected = model.elbo(whole, parts)
    torch.manual_seed(7)
    found = staged_elbo(model, whole, parts.fields, parts.batch, 4)
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("inferred", ["none", "parts", "all"])
def test_every_stage_refuses_what_the_bound_does(given, refuses, inferred):
    model, whole, parts = given
    for wrong in (whole[:, :1], whole[1:]):
        with refuses(ValueError, "whole"):
            staged_elbo(model, wrong, parts, inferred=inferred)
    with refuses(ValueError, "batch"):
        staged_elbo(model, whole, parts, parts.batch, inferred=inferred)
    # Wholes of another type than the model are taken as those of the model.
    assert staged_elbo(model, whole.float(), parts, inferred=inferred).elbo.dtype == torch.float64


@pytest.mark.parametrize("inferred", ["none", "parts", "all"])
def test_no_value_is_read_from_the_device(given, inferred):
    # Reading a value of a tensor on the meta device raises.
    model, whole, parts = given
    elbo = staged_elbo(model.to("meta"), whole.to("meta"), parts.to("meta"), inferred=inferred)
    assert elbo.elbo.shape == (4,)


def test_unknown_latents_are_refused(given, refuses):
    with refuses(ValueError, "inferred"):
        staged_elbo(*given, inferred="z")
