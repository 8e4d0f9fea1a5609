"""Models of known quality."""

import torch
from torch import nn
from torch.distributions import Independent, Normal

from compvae_pyg.models import Elbo
from compvae_pyg.problems import render_dots


class GroundTruthModel(nn.Module):
    """Draws the given sites, at one intensity; reconstructs up to a constant.

    Importance sampling adds ``gain`` to the ELBO of a batch's first whole, twice that to the
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

    def elbo(self, whole, parts):
        self.batch_sizes.append(parts.batch_size)
        return self._terms(whole)

    def log_likelihood(self, whole, parts, *, num_samples, chunk_size):
        assert len(whole) == parts.batch_size
        assert len(parts["color"]) == len(parts["pos"]) == parts.num_parts
        self.weighted.append((len(whole), parts.num_parts, num_samples))
        return self._terms(whole).elbo + self.gain * torch.arange(1, len(whole) + 1)

    def generate(self, parts):
        intensity = torch.full((parts.num_parts,), 7.5)
        sets = (parts.batch, parts.batch_size)
        return render_dots(parts["color"], parts["pos"], intensity, *sets)


class WrongColourModel(GroundTruthModel):
    """Draws each site in the next colour of the palette."""

    def generate(self, parts):
        next_color = (parts["color"] + 1) % 5
        return super().generate(parts.with_fields({"color": next_color, "pos": parts["pos"]}))


class RecordingDecoder(nn.Module):
    """A decoder that records its arguments."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, w_sum, z):
        self.w_sum, self.z = w_sum, z
        return self.decoder(w_sum, z)
