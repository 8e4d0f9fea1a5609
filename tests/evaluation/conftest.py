"""Models whose worth is known."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from compvae_pyg.models import Elbo
from compvae_pyg.problems import Dots, render_dots


class Oracle(nn.Module):
    """Draws the sites that it is asked for, at one intensity; reconstructs up to a constant.

    Importance sampling adds ``gain`` to the bound of a batch's first whole, twice that to the
    second, and so on.
    """

    def __init__(self, error=0.25, kl_w=3.0, kl_z=0.5, gain=1.5):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.error, self.kl_w, self.kl_z, self.gain = error, kl_w, kl_z, gain
        self.batch_sizes, self.weighted = [], []

    def _terms(self, whole):
        likelihood = Independent(Normal(whole + self.error, torch.ones_like(whole)), 3)
        one = whole.new_ones(len(whole))
        return Elbo(likelihood.log_prob(whole), self.kl_w * one, self.kl_z * one, likelihood)

    def elbo(self, whole, parts, batch, batch_size):
        self.batch_sizes.append(batch_size)
        return self._terms(whole)

    def log_likelihood(self, whole, parts, batch, batch_size, *, num_samples):
        assert len(whole) == batch_size
        assert {len(value) for value in parts.values()} == {len(batch)}
        self.weighted.append((len(whole), len(batch), num_samples))
        return self._terms(whole).elbo + self.gain * torch.arange(1, batch_size + 1)

    def generate(self, parts, batch, batch_size):
        intensity = torch.full((len(batch),), 7.5)
        return render_dots(parts["color"], parts["pos"], intensity, batch, batch_size)


class Liar(Oracle):
    """Draws each site in the next colour of the palette."""

    def generate(self, parts, batch, batch_size):
        return super().generate({**parts, "color": (parts["color"] + 1) % 5}, batch, batch_size)


class Spy(nn.Module):
    """A decoder that remembers what it was given."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, w_sum, z):
        self.w_sum, self.z = w_sum, z
        return self.decoder(w_sum, z)


@pytest.fixture
def spy_on(monkeypatch):
    """Put a spy in the place of a model's decoder."""

    def replace(model):
        spy = Spy(model.generator.decoder)
        monkeypatch.setitem(model.generator._modules, "decoder", spy)
        return spy

    return replace


@pytest.fixture
def oracle():
    return Oracle()


@pytest.fixture
def liar():
    return Liar()


@pytest.fixture(scope="session")
def dots():
    return Dots()


@pytest.fixture(scope="session")
def untrained(dots):
    torch.manual_seed(3)
    return dots.build("small")
