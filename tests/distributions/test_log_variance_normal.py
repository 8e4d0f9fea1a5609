import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from compvae_pyg.distributions import LogVarianceNormal


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def law(shared=False):
    return LogVarianceNormal(draw(4, 3), draw(4, 1 if shared else 3, seed=1))


@pytest.mark.parametrize("shared", [False, True])
def test_it_is_the_normal_law_of_that_variance(shared):
    mine, value = law(shared), draw(5, 4, 3, seed=2)
    scale = draw(4, 1 if shared else 3, seed=1).div(2).exp().expand(4, 3)
    torch_law = Normal(draw(4, 3), scale)
    torch.testing.assert_close(mine.log_prob(value), torch_law.log_prob(value))
    for name in ("mean", "stddev", "variance"):
        torch.testing.assert_close(getattr(mine, name), getattr(torch_law, name))
    torch.testing.assert_close(mine.entropy(), torch_law.entropy())
    other = Normal(draw(4, 3, seed=3), torch.ones(4, 3).double())
    torch.testing.assert_close(kl_divergence(mine, other), kl_divergence(torch_law, other))
    torch.testing.assert_close(
        Independent(mine, 1).log_prob(value), Independent(torch_law, 1).log_prob(value)
    )


def test_gradients_are_the_derivatives():
    inputs = [draw(2, 3).requires_grad_(), draw(2, 1, seed=1).requires_grad_(), draw(2, 3, seed=2)]
    assert torch.autograd.gradcheck(
        lambda loc, log_variance, value: LogVarianceNormal(loc, log_variance).log_prob(value),
        inputs,
    )


def test_a_tiny_variance_has_a_finite_density_in_32_bits():
    # Its square root squared again is zero.
    tiny = LogVarianceNormal(torch.zeros(1), torch.full((1,), -80.0))
    assert tiny.log_prob(torch.zeros(1)).item() == pytest.approx(40.0 - 0.9189385332046727)
    assert tiny.log_prob(torch.full((1,), 1e-17)).item() == pytest.approx(
        40.0 - 0.9189385332046727 - 0.5 * 5.540622e34 * 1e-34, rel=1e-5
    )


def test_expanded_it_is_the_same_law():
    mine, value = law(shared=True), draw(2, 4, 3, seed=2)
    wide = mine.expand((2, 4, 3))
    assert wide.batch_shape == (2, 4, 3)
    assert torch.equal(wide.log_prob(value), mine.log_prob(value))


def test_what_is_not_finite_is_refused_where_validation_is_asked_for():
    nan = torch.full((2,), torch.nan)
    with pytest.raises(ValueError, match="log_variance"):
        LogVarianceNormal(torch.zeros(2), nan, validate_args=True)
    with pytest.raises(ValueError, match="support"):
        LogVarianceNormal(torch.zeros(2), torch.zeros(2), validate_args=True).log_prob(nan)
