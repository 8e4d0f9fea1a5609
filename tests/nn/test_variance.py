import math

import pytest
import torch

from compvae_pyg.nn import floor_log_variance
from compvae_pyg.nn.variance import root

SCALES = [1e-3, 5e-3, 0.1, 2.0]


@pytest.mark.parametrize("min_scale", SCALES)
def test_floor_is_the_identity_from_one_above_the_bound(min_scale):
    bound = 2.0 * math.log(min_scale)
    log_variance = bound + 1.0 + torch.linspace(0.0, 30.0, 50, dtype=torch.float64)
    torch.testing.assert_close(
        floor_log_variance(log_variance, min_scale), log_variance, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("min_scale", SCALES)
def test_scale_never_falls_below_the_bound_and_tends_to_it(min_scale):
    bound = 2.0 * math.log(min_scale)
    log_variance = bound + torch.linspace(-1000.0, 20.0, 500, dtype=torch.float64)
    scale = (0.5 * floor_log_variance(log_variance, min_scale)).exp()
    assert (scale >= min_scale * (1.0 - 1e-14)).all()
    assert scale[0].item() == pytest.approx(min_scale, rel=1e-14)


@pytest.mark.parametrize("min_scale", SCALES)
def test_floor_is_that_of_the_paper_below(min_scale):
    bound = 2.0 * math.log(min_scale)
    below = torch.linspace(-5.0, 1.0, 25, dtype=torch.float64)
    expected = torch.tensor([bound + math.exp(v - 1.0) for v in below.tolist()])
    out = floor_log_variance(bound + below, min_scale)
    torch.testing.assert_close(out, expected.double(), rtol=1e-6, atol=1e-6)


def test_floor_is_continuous_with_a_continuous_and_positive_slope():
    joint = 2.0 * math.log(0.1) + 1.0
    x = joint + torch.tensor([-30.0, -5.0, -1e-9, 0.0, 1e-9, 5.0], dtype=torch.float64)
    x.requires_grad_()
    out = floor_log_variance(x, 0.1)
    (slope,) = torch.autograd.grad(out.sum(), x)
    assert (slope > 0).all()
    assert (out.diff() > 0).all()
    torch.testing.assert_close(out[2:5], x[2:5], rtol=0, atol=1e-8)
    torch.testing.assert_close(slope[2:], torch.ones_like(slope[2:]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("min_scale", [0.0, -1.0])
def test_bound_that_is_not_positive_is_refused(refuses, min_scale):
    with refuses(ValueError, f"min_scale must be positive (got {min_scale})"):
        floor_log_variance(torch.zeros(1), min_scale)


def test_bound_that_is_not_finite_is_refused(refuses):
    with refuses(ValueError, "min_scale must be finite (got nan)"):
        floor_log_variance(torch.zeros(1), math.nan)


def test_the_root_of_no_variance_has_no_gradient_and_hides_nothing():
    variance = torch.tensor([9.0, 0.0, math.nan, -1.0, math.inf], requires_grad=True)
    scale = root(variance)
    assert scale[:2].tolist() == [3.0, 0.0] and scale[4] == math.inf
    assert scale[2:4].isnan().all()
    (gradient,) = torch.autograd.grad(scale[:2].sum(), variance)
    assert gradient[0] == pytest.approx(1 / 6) and gradient[1] == 0.0
