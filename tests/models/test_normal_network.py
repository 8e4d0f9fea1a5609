import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from compvae_pyg import NormalNetwork


class Given(nn.Module):
    """A network that returns its input."""

    def forward(self, x):
        return x


def test_first_channels_are_the_mean_and_last_the_log_variance(draw):
    out = draw(5, 8)
    law = NormalNetwork(Given(), min_scale=1e-6)(out)
    assert isinstance(law, Normal)
    torch.testing.assert_close(law.mean, out[:, :4])
    torch.testing.assert_close(law.variance, out[:, 4:].exp())


def test_scale_is_floored(draw):
    law = NormalNetwork(Given(), min_scale=0.3)(torch.cat([draw(5, 4), draw(5, 4) - 50.0], 1))
    torch.testing.assert_close(law.stddev, torch.full_like(law.stddev, 0.3))


def test_shared_variance_counts_in_every_channel_of_the_mean(draw):
    # One variance a pixel for three channels, as in the dots (METHOD, section 6).
    out, value = draw(2, 4, 3, 3), draw(2, 3, 3, 3, seed=1)
    law = NormalNetwork(Given(), min_scale=1e-6, mean_channels=3, event_dims=3)(out)
    assert law.batch_shape == (2,) and law.event_shape == (3, 3, 3)
    expected = torch.zeros(2, dtype=torch.float64)
    for channel in range(3):
        square = (value[:, channel] - out[:, channel]).square() / out[:, 3].exp()
        density = -0.5 * (square + out[:, 3] + math.log(2 * math.pi))
        expected += density.sum((1, 2))
    torch.testing.assert_close(law.log_prob(value), expected)


@pytest.mark.parametrize("event_dims", [1, 2])
def test_event_dimensions_are_summed_over(draw, event_dims):
    out, value = draw(2, 4, 3), draw(2, 2, 3, seed=1)
    law = NormalNetwork(Given(), min_scale=1e-6, event_dims=event_dims)(out)
    assert isinstance(law, Independent)
    apart = NormalNetwork(Given(), min_scale=1e-6)(out).log_prob(value)
    torch.testing.assert_close(law.log_prob(value), apart.flatten(-event_dims).sum(-1))


def test_half_precision_becomes_a_law_in_32_bits(draw):
    law = NormalNetwork(Given(), min_scale=0.01)(draw(5, 8).bfloat16())
    assert law.mean.dtype == law.stddev.dtype == torch.float32


def test_repr_shows_the_floor():
    expected = "NormalNetwork(\n  min_scale=0.01\n  (net): Given()\n)"
    assert repr(NormalNetwork(Given(), min_scale=0.01)) == expected
