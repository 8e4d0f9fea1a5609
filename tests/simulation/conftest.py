"""Small models of parts ``[N, 2]`` and wholes ``[S, 4]``, in 64 bits."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent

from compvae_pyg import CompVAE, CompVAEEncoder, CompVAEGenerator, NormalNetwork
from compvae_pyg.models import SeparateEmbedding

PART, W, Z, WHOLE = 2, 3, 2, 4


class Decoder(nn.Module):
    """A Gaussian whose mean is a linear map of the latents, or bounded."""

    def __init__(self, bounded):
        super().__init__()
        self.lin = nn.Linear(W + Z, WHOLE)
        self.net = NormalNetwork(nn.Identity(), min_scale=0.01)
        self.bounded = bounded

    def forward(self, w_sum, z):
        loc = self.lin(torch.cat([w_sum, z], dim=-1))
        loc = torch.tanh(loc) if self.bounded else loc
        return Independent(self.net(torch.cat([loc, torch.full_like(loc, -1.0)], dim=-1)), 1)


@pytest.fixture(scope="session")
def build_model():
    def build(bounded=False):
        torch.manual_seed(5)
        z_prior = nn.Linear(W, 2 * Z)
        with torch.no_grad():
            z_prior.weight[Z:] = 0.0  # its scale does not depend on the parts
        return CompVAE(
            CompVAEEncoder(4, 4, hidden_channels=4, w_channels=W, z_channels=Z, num_blocks=1),
            CompVAEGenerator(
                w_prior=NormalNetwork(nn.Linear(PART, 2 * W), min_scale=0.01),
                z_prior=NormalNetwork(z_prior, min_scale=0.01),
                decoder=Decoder(bounded),
            ),
            SeparateEmbedding(nn.Linear(WHOLE, 4), nn.Linear(PART, 4)),
            event_shape=(WHOLE,),
        ).double()

    return build


@pytest.fixture(scope="session")
def parts():
    return torch.randn(3, PART, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="session")
def moments():
    """Mean and covariance of the wholes of a linear model, by adding what each latent adds."""

    def of(model, parts, observation_noise):
        with torch.no_grad():
            prior, z_prior = model.generator.w_prior(parts), model.generator.z_prior
            by_sum, by_z = model.generator.decoder.lin.weight.split([W, Z], dim=1)
            slope, offset = z_prior.net.weight[:Z], z_prior.net.bias[:Z]
            w_mean = prior.mean.sum(dim=0)
            mean = (by_sum + by_z @ slope) @ w_mean + by_z @ offset
            mean = mean + model.generator.decoder.lin.bias
            covariance = by_z @ z_prior(w_mean.unsqueeze(0)).variance.squeeze(0).diag() @ by_z.T
            for variance in prior.variance:
                through = by_sum + by_z @ slope
                covariance = covariance + through @ variance.diag() @ through.T
            if observation_noise:
                some = model.generator.decoder(w_mean.unsqueeze(0), mean.new_zeros(1, Z))
                covariance = covariance + some.variance.squeeze(0).diag()
        return mean, covariance

    return of
