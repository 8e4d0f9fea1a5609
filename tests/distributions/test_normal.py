import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from compvae_pyg.distributions import LogVarianceNormal, NormalNetwork, floor_log_variance
from compvae_pyg.distributions.normal import log_scale, root

MIN_SCALES = [1e-3, 5e-3, 0.1, 2.0]
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def example(shared=False):
    return LogVarianceNormal(draw(4, 3), draw(4, 1 if shared else 3, seed=1))


# LogVarianceNormal


@pytest.mark.parametrize("shared", [False, True])
def test_it_is_the_normal_of_that_variance(shared):
    mine, value = example(shared), draw(5, 4, 3, seed=2)
    scale = draw(4, 1 if shared else 3, seed=1).div(2).exp().expand(4, 3)
    normal = Normal(draw(4, 3), scale)
    torch.testing.assert_close(mine.log_prob(value), normal.log_prob(value))
    for name in ("mean", "stddev", "variance"):
        torch.testing.assert_close(getattr(mine, name), getattr(normal, name))
    torch.testing.assert_close(mine.entropy(), normal.entropy())
    other = Normal(draw(4, 3, seed=3), torch.ones(4, 3).double())
    for p, q in ((mine, other), (mine, example()), (other, mine)):
        plain = [Normal(x.mean, x.stddev) for x in (p, q)]
        torch.testing.assert_close(kl_divergence(p, q), kl_divergence(*plain))
    torch.testing.assert_close(
        Independent(mine, 1).log_prob(value), Independent(normal, 1).log_prob(value)
    )


def test_gradients_of_the_density_are_its_derivatives():
    inputs = [draw(2, 3).requires_grad_(), draw(2, 1, seed=1).requires_grad_(), draw(2, 3, seed=2)]
    assert torch.autograd.gradcheck(
        lambda loc, log_variance, value: LogVarianceNormal(loc, log_variance).log_prob(value),
        inputs,
    )


@pytest.mark.parametrize("log_variance", [-80.0, -90.0, -100.0, -150.0, -200.0, 60.0, 100.0])
def test_densities_in_32_bits_are_those_in_64_bits_for_any_variance(log_variance):
    # The variance and its reciprocal are not 32-bit numbers; at -200 the scale is hardly one.
    scale = math.exp(0.5 * log_variance)
    value = (scale * torch.tensor([0.0, 1.0, -3.0, 40.0], dtype=torch.float64)).float()
    value.requires_grad_()
    nu = torch.full((4,), log_variance, requires_grad=True)
    mine = LogVarianceNormal(torch.zeros(4), nu)
    exact = -0.5 * (value.detach().double() / scale).square() - 0.5 * log_variance - HALF_LOG_2PI
    torch.testing.assert_close(mine.log_prob(value).double(), exact, rtol=1e-5, atol=1e-5)
    (of_variance,) = torch.autograd.grad(mine.log_prob(value).sum(), nu)
    expected = 0.5 * (value.detach().double() / scale).square() - 0.5
    torch.testing.assert_close(of_variance.double(), expected, rtol=1e-4, atol=1e-4)
    entropy = 0.5 + 0.5 * log_variance + HALF_LOG_2PI
    torch.testing.assert_close(mine.entropy(), torch.full((4,), entropy))


@pytest.mark.parametrize("log_variance", [-200.0, -1000.0])
def test_a_variance_that_no_type_holds_has_a_finite_density_at_its_mean(log_variance):
    nu = torch.full((1,), log_variance, requires_grad=True)
    log_prob = LogVarianceNormal(torch.ones(1), nu).log_prob(torch.ones(1))
    assert log_prob.item() == pytest.approx(-0.5 * log_variance - HALF_LOG_2PI)
    assert torch.autograd.grad(log_prob, nu)[0].item() == -0.5


def test_divergence_of_a_tiny_variance_is_finite_in_32_bits():
    tiny = LogVarianceNormal(torch.zeros(1), torch.full((1,), -200.0))
    assert kl_divergence(tiny, Normal(0.0, 1.0)).item() == pytest.approx(0.5 * (200.0 - 1.0))
    assert kl_divergence(tiny, tiny).item() == 0.0


def test_expanded_it_is_the_same_distribution():
    mine, value = example(shared=True), draw(2, 4, 3, seed=2)
    wide = mine.expand((2, 4, 3))
    assert wide.batch_shape == (2, 4, 3)
    assert torch.equal(wide.log_prob(value), mine.log_prob(value))


def test_numbers_that_are_not_finite_are_refused_with_validation():
    nan = torch.full((2,), torch.nan)
    with pytest.raises(ValueError, match="log_variance"):
        LogVarianceNormal(torch.zeros(2), nan, validate_args=True)
    with pytest.raises(ValueError, match="support"):
        LogVarianceNormal(torch.zeros(2), torch.zeros(2), validate_args=True).log_prob(nan)


def test_logarithm_of_the_scale_takes_no_exponential():
    tiny = LogVarianceNormal(torch.zeros(1), torch.full((1,), -1000.0))
    assert log_scale(tiny).item() == -500.0
    assert log_scale(Normal(0.0, 2.0)).item() == pytest.approx(math.log(2.0))


# NormalNetwork


class Echo(nn.Module):
    """A network that returns its input."""

    def forward(self, x):
        return x


def test_first_channels_are_the_mean_and_last_the_log_variance():
    out = draw(5, 8)
    normal = NormalNetwork(Echo(), min_scale=1e-6)(out)
    assert isinstance(normal, Normal)
    torch.testing.assert_close(normal.mean, out[:, :4])
    torch.testing.assert_close(normal.variance, out[:, 4:].exp())


def test_scale_of_a_network_has_a_lower_bound():
    out = torch.cat([draw(5, 4), draw(5, 4) - 50.0], 1)
    normal = NormalNetwork(Echo(), min_scale=0.3)(out)
    torch.testing.assert_close(normal.stddev, torch.full_like(normal.stddev, 0.3))


def test_shared_variance_counts_in_every_channel_of_the_mean():
    # One variance a pixel for three channels, as in the dots (METHOD, section 6).
    out, value = draw(2, 4, 3, 3), draw(2, 3, 3, 3, seed=1)
    normal = NormalNetwork(Echo(), min_scale=1e-6, mean_channels=3, event_dims=3)(out)
    assert normal.batch_shape == (2,) and normal.event_shape == (3, 3, 3)
    expected = torch.zeros(2, dtype=torch.float64)
    for channel in range(3):
        square = (value[:, channel] - out[:, channel]).square() / out[:, 3].exp()
        density = -0.5 * (square + out[:, 3] + math.log(2 * math.pi))
        expected += density.sum((1, 2))
    torch.testing.assert_close(normal.log_prob(value), expected)


@pytest.mark.parametrize("event_dims", [1, 2])
def test_event_dimensions_are_summed_over(event_dims):
    out, value = draw(2, 4, 3), draw(2, 2, 3, seed=1)
    normal = NormalNetwork(Echo(), min_scale=1e-6, event_dims=event_dims)(out)
    assert isinstance(normal, Independent)
    apart = NormalNetwork(Echo(), min_scale=1e-6)(out).log_prob(value)
    torch.testing.assert_close(normal.log_prob(value), apart.flatten(-event_dims).sum(-1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_give_a_distribution_in_32_bits(dtype):
    net = nn.Linear(3, 8).to(dtype)
    normal = NormalNetwork(net, min_scale=0.01)(draw(5, 3).to(dtype))
    assert normal.mean.dtype == normal.stddev.dtype == torch.float32


def test_the_output_of_the_network_is_left_as_it_is():
    out = draw(5, 8)
    kept = out.clone()
    NormalNetwork(Echo(), min_scale=0.1)(out).log_prob(out[:, :4])
    assert torch.equal(out, kept)


@pytest.mark.parametrize(
    ("shape", "mean_channels"), [((5,), None), ((5, 1), None), ((5, 3), 3), ((5,), 1)]
)
def test_networks_without_enough_channels_are_refused(refuses, shape, mean_channels):
    network = NormalNetwork(Echo(), 0.1, mean_channels)
    with refuses(ValueError, "net"):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    "out", [None, (torch.zeros(2, 2), torch.zeros(2, 2)), torch.ones(2, 2) > 0]
)
def test_networks_that_return_no_real_tensor_are_refused(refuses, out):
    with refuses(TypeError, "net"):
        NormalNetwork(Echo(), 0.1)(out)


def test_arguments_that_do_not_fit_are_refused(refuses):
    with refuses(TypeError, "net"):
        NormalNetwork(3, 0.1)
    with refuses(ValueError, "min_scale"):
        NormalNetwork(Echo(), 0.0)
    with refuses(ValueError, "mean_channels"):
        NormalNetwork(Echo(), 0.1, mean_channels=0)
    with refuses(ValueError, "event_dims"):
        NormalNetwork(Echo(), 0.1, event_dims=-1)


def test_repr_shows_the_smallest_scale():
    expected = "NormalNetwork(\n  min_scale=0.01\n  (net): Echo()\n)"
    assert repr(NormalNetwork(Echo(), min_scale=0.01)) == expected


# The soft lower bound


@pytest.mark.parametrize("min_scale", MIN_SCALES)
def test_bound_is_the_identity_from_one_above_it(min_scale):
    bound = 2.0 * math.log(min_scale)
    log_variance = bound + 1.0 + torch.linspace(0.0, 30.0, 50, dtype=torch.float64)
    torch.testing.assert_close(
        floor_log_variance(log_variance, min_scale), log_variance, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("min_scale", MIN_SCALES)
def test_scale_never_falls_below_the_bound_and_tends_to_it(min_scale):
    bound = 2.0 * math.log(min_scale)
    log_variance = bound + torch.linspace(-1000.0, 20.0, 500, dtype=torch.float64)
    scale = (0.5 * floor_log_variance(log_variance, min_scale)).exp()
    assert (scale >= min_scale * (1.0 - 1e-14)).all()
    assert scale[0].item() == pytest.approx(min_scale, rel=1e-14)


@pytest.mark.parametrize("min_scale", MIN_SCALES)
def test_bound_is_that_of_the_paper_below(min_scale):
    bound = 2.0 * math.log(min_scale)
    below = torch.linspace(-5.0, 1.0, 25, dtype=torch.float64)
    expected = torch.tensor([bound + math.exp(v - 1.0) for v in below.tolist()])
    out = floor_log_variance(bound + below, min_scale)
    torch.testing.assert_close(out, expected.double(), rtol=1e-6, atol=1e-6)


def test_bound_is_continuous_with_a_continuous_and_positive_slope():
    joint = 2.0 * math.log(0.1) + 1.0
    x = joint + torch.tensor([-30.0, -5.0, -1e-9, 0.0, 1e-9, 5.0], dtype=torch.float64)
    x.requires_grad_()
    out = floor_log_variance(x, 0.1)
    (slope,) = torch.autograd.grad(out.sum(), x)
    assert (slope > 0).all()
    assert (out.diff() > 0).all()
    torch.testing.assert_close(out[2:5], x[2:5], rtol=0, atol=1e-8)
    torch.testing.assert_close(slope[2:], torch.ones_like(slope[2:]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("min_scale", [0.0, -1.0, math.nan, math.inf])
def test_bound_that_is_not_positive_and_finite_is_refused(refuses, min_scale):
    with refuses(ValueError, "min_scale"):
        floor_log_variance(torch.zeros(1), min_scale)


def test_the_root_of_no_variance_has_no_gradient_and_hides_nothing():
    variance = torch.tensor([9.0, 0.0, math.nan, -1.0, math.inf], requires_grad=True)
    scale = root(variance)
    assert scale[:2].tolist() == [3.0, 0.0] and scale[4] == math.inf
    assert scale[2:4].isnan().all()
    (gradient,) = torch.autograd.grad(scale[:2].sum(), variance)
    assert gradient[0] == pytest.approx(1 / 6) and gradient[1] == 0.0
