import pytest
import torch

from compvae_pyg.problems import Stage, Weights
from compvae_pyg.training import objective


@pytest.fixture
def evaluated(tiny, model):
    batch = tiny.sample(torch.tensor([1, 3, 2]))
    return model.elbo(batch.whole, batch.point, batch.batch, 3), batch.whole


def test_with_weights_of_one_it_is_the_negative_bound(evaluated):
    terms, whole = evaluated
    loss = objective(terms, whole, Weights(Stage("whole", 1.0), 1.0, 1.0))
    assert torch.allclose(loss, -terms.elbo)


def test_each_divergence_has_its_weight(evaluated):
    terms, whole = evaluated
    loss = objective(terms, whole, Weights(Stage("whole", 1.0), 3.0, 0.5))
    assert torch.allclose(loss, -terms.log_likelihood + 3.0 * terms.kl_w + 0.5 * terms.kl_z)


def test_squared_error_is_that_of_the_mean_summed_over_the_whole(evaluated):
    terms, whole = evaluated
    stage = Stage("labels", 1.0, loss="squared_error")
    loss = objective(terms, whole, Weights(stage, 3.0, 0.5))
    mean = terms.likelihood.mean.detach()
    for s in range(3):
        error = sum((float(whole[s, i]) - float(mean[s, i])) ** 2 for i in range(4))
        expected = error + 3.0 * terms.kl_w[s].item() + 0.5 * terms.kl_z[s].item()
        assert loss[s].item() == pytest.approx(expected, rel=1e-5)
