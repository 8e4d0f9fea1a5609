import torch
from torch.distributions import Independent, Laplace, Normal

from compvae_pyg.distributions.normal import normal_sample, sample


def test_whole_is_decoded_from_the_draws_of_w_and_z(small_model, batch_of, draw):
    network = small_model().generator
    parts, batch = draw(6, 3), batch_of((2, 0, 3, 1, 0))
    law = network(parts, batch, 5, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    w_prior = network.w_prior(parts)
    w = w_prior.mean + w_prior.stddev * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    w_sum = torch.zeros(5, 4, dtype=torch.float64).index_add(0, batch, w)
    z_prior = network.z_prior(w_sum)
    z = z_prior.mean + z_prior.stddev * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(law.mean, network.decoder(w_sum, z).mean)
    assert law.batch_shape == (5,)


def test_gradients_flow_from_the_whole_to_every_prior(small_model, draw):
    network = small_model().generator
    network(draw(3, 3)).mean.sum().backward()
    for prior in (network.w_prior, network.z_prior):
        assert all((p.grad != 0).any() for p in prior.parameters())


def test_sample_has_the_distribution_s_moments_and_gradients(draw):
    loc, scale = draw(3).requires_grad_(), draw(3, seed=1).exp().requires_grad_()
    law = Normal(loc.expand(20_000, 3), scale)
    drawn = normal_sample(law, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float64
    assert ((drawn.mean(0) - loc) / scale * 20_000**0.5).abs().max() < 4.5
    assert ((drawn.var(0) / scale.square() - 1) * 10_000**0.5).abs().max() < 4.5
    of_loc, of_scale = torch.autograd.grad(drawn.sum(), (loc, scale))
    torch.testing.assert_close(of_loc, torch.full_like(loc, 20_000.0))
    torch.testing.assert_close(of_scale, ((drawn - loc) / scale).sum(0).detach())


def test_unfit_batch_is_refused(refuses, small_model, draw):
    with refuses(ValueError, "batch"):
        small_model().generator(draw(3, 3), torch.tensor([0, 1]))


def test_any_distribution_draws_from_an_explicit_source(draw):
    loc, state = draw(4000, 2), torch.get_rng_state()
    for distribution in (
        Normal(loc, 2.0),
        Laplace(loc, 2.0),
        Independent(Laplace(loc, 2.0), 1),
    ):
        one, again, other = (
            sample(distribution, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(one, again) and (one != other).any()
        spread = distribution.variance[0, 0].sqrt()
        assert ((one - loc).mean(0) / spread * 4000**0.5).abs().max() < 4.5
        assert ((one - loc).var(0) / spread.square() - 1.0).abs().max() < 0.2
    assert torch.equal(torch.get_rng_state(), state)
