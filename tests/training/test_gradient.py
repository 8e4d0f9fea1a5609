import pytest
import torch

from compvae_pyg.training.gradient import bound_gradient


def parameters():
    torch.manual_seed(0)
    weights = [torch.zeros(3, 2), torch.zeros(4), torch.zeros(1)]
    for weight in weights[:2]:  # the third was left out of the loss
        weight.grad = torch.randn_like(weight)
    return weights


def norm(weights):
    return torch.cat([w.grad.flatten() for w in weights if w.grad is not None]).norm()


def test_without_a_bound_gradients_are_read_and_left_as_they_are():
    weights, untouched = parameters(), parameters()
    torch.testing.assert_close(bound_gradient(weights, None), norm(untouched))
    for weight, before in zip(weights[:2], untouched, strict=False):
        assert torch.equal(weight.grad, before.grad)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_bound_scales_down_and_never_up(share):
    weights, before = parameters(), norm(parameters())
    torch.testing.assert_close(bound_gradient(iter(weights), share * float(before)), before)
    torch.testing.assert_close(norm(weights), min(share, 1.0) * before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_has_a_norm_that_is_not(bad):
    weights = parameters()
    weights[1].grad[2] = bad
    assert not torch.isfinite(bound_gradient(weights, None))
