import pytest
import torch
from torch.distributions import Normal, kl_divergence

from compvae_pyg.models import attribute

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11


@pytest.fixture
def inputs(batch_of, draw):
    return draw(S, 5), draw(N, 3, seed=1), batch_of(SIZES), S


@pytest.mark.parametrize("coupling", ["paper", "scaled"])
def test_terms_sum_to_the_divergence_of_the_elbo(small_model, inputs, seeded, coupling):
    model = small_model(coupling=coupling, residual_posterior=True)
    with seeded(7):
        kl_w = model.elbo(*inputs).kl_w
    with seeded(7):
        shares = attribute(model, *inputs)
    torch.testing.assert_close(shares.kl_w, kl_w)
    assert shares.parts.shape == (N,) and shares.common.shape == (S,)
    assert (shares.parts > 0).all() and (shares.common >= -1e-12).all()
    assert not shares.parts.requires_grad


@pytest.mark.parametrize("coupling", ["paper", "scaled"])
def test_a_part_s_share_is_the_divergence_of_its_own_distribution(
    small_model, dense_law, inputs, seeded, coupling
):
    whole, parts, batch, _ = inputs
    model = small_model(coupling=coupling)
    with seeded(7):
        shares = attribute(model, *inputs)
    with seeded(7):
        q = model.encoder(*model.embedding(whole, parts, batch), batch, S).w
    prior = model.generator.w_prior(parts)
    expected = torch.zeros(N, dtype=torch.float64)
    for s in (0, 2, 3, 4):
        mine = batch == s
        for d in range(4):
            law = dense_law(q.loc[mine, d], q.scale[mine, d], q.coupling_logits[mine, d], coupling)
            alone = Normal(law.mean, law.variance.sqrt())
            expected[mine] += kl_divergence(
                alone, Normal(prior.mean[mine, d], prior.stddev[mine, d])
            )
    torch.testing.assert_close(shares.parts, expected)
    # What is in common takes others to have it with.
    assert shares.common[2].abs() < 1e-12 and (shares.common[[0, 3, 4]] > 1e-3).all()
    assert (shares.common[[1, 5]] == 0).all()


def test_order_of_parts_does_not_matter(small_model, inputs, seeded):
    whole, parts, batch, _ = inputs
    model, order = small_model(part_noise=False), torch.tensor([2, 0, 1, 3, 8, 4, 6, 5, 7, 10, 9])
    with seeded(7):
        shares = attribute(model, *inputs)
    with seeded(7):
        moved = attribute(model, whole, parts[order], batch, S)
    torch.testing.assert_close(moved.parts, shares.parts[order])
    torch.testing.assert_close(moved.common, shares.common)
