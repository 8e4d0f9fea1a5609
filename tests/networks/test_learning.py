"""What networks learn of data whose likelihood is known in closed form."""

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch_geometric.data import Data

from compvae_pyg.networks import (
    Categorical,
    Continuous,
    build_curves,
    build_images,
    fit_normalization,
    place_patches,
)
from compvae_pyg.nn import pack

NOISE, OFFSET = 60.0, 500.0
SMALL = {"hidden_channels": 32, "z_channels": 2, "num_blocks": 1}
AT = torch.linspace(0.0, 1.0, 16)
BUMPS = torch.exp(-((AT - torch.tensor([[0.2], [0.5], [0.8]])) ** 2) / 0.02)
TEMPLATES = 300.0 * BUMPS * torch.tensor([[1.0], [-1.0], [1.5]])


class Sums:
    """Sums of one template for each part, with noise; amplitudes are 1, given, or hidden."""

    def __init__(self, amplitudes="none", spread=0.5):
        self.amplitudes, self.spread = amplitudes, spread

    def sample(self, num_parts):
        """Return wholes, fields, batch and the distribution of the wholes given the fields."""
        batch, _ = pack(num_parts)
        kind = torch.randint(3, batch.shape)
        parts, shape = {"kind": kind}, TEMPLATES[kind]
        if self.amplitudes == "given":
            factor = 0.5 + torch.rand(batch.shape)
            parts["power"] = 40.0 * factor
            shape = factor.unsqueeze(1) * shape
        mean = torch.full((len(num_parts), 16), OFFSET).index_add(0, batch, shape)
        covariance = NOISE**2 * torch.eye(16).expand(len(num_parts), 16, 16)
        if self.amplitudes == "hidden":
            outer = self.spread**2 * shape.unsqueeze(2) * shape.unsqueeze(1)
            covariance = covariance.index_add(0, batch, outer)
        truth = MultivariateNormal(mean.double(), covariance.double(), validate_args=False)
        return truth.sample().float(), parts, batch, truth


class Places:
    """Images that are sums of a bump for each part, at its place and of its size, with noise."""

    def sample(self, num_parts):
        batch, _ = pack(num_parts)
        size, pos = torch.rand(batch.shape) + 0.5, torch.rand(len(batch), 2) - 0.5
        ink = torch.ones(len(batch), 1, 3, 3) * size.view(-1, 1, 1, 1)
        image = torch.zeros(len(num_parts), 1, 8, 8)
        image = image.index_add(0, batch, place_patches(ink, pos, (8, 8), 0.4))
        truth = torch.distributions.Independent(torch.distributions.Normal(image, 0.2), 3)
        return truth.sample(), {"size": size, "pos": pos}, batch, truth


def train(model, data, steps, rate=5e-3, anneal=0.0):
    """Maximise the bound of wholes of 1 to 4 parts; the coefficient of KL_w rises to 1 at first."""
    sizes = torch.randint(1, 5, (1000,))
    whole, parts, *_ = data.sample(sizes)
    fit_normalization(model, [Data(whole=whole, **parts)])
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for step in range(steps):
        num_parts = torch.randint(1, 5, (64,))
        whole, parts, batch, _ = data.sample(num_parts)
        terms = model.elbo(whole, parts, batch, 64)
        beta = min(1.0, 0.02 ** (1.0 - step / (anneal * steps))) if anneal else 1.0
        loss = (beta * terms.kl_w + terms.kl_z - terms.log_likelihood).mean() / whole[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return model.eval()


@torch.no_grad()
def measure(model, data, num_parts, number=300):
    """Return how far, in nats, the bound is below the truth, rmse of the mean drawn, and KL_w."""
    whole, parts, batch, truth = data.sample(torch.full((number,), num_parts))
    terms = model.elbo(whole, parts, batch, number)
    gap = truth.log_prob(whole.to(truth.mean.dtype)) - terms.elbo
    drawn = torch.stack([model.generate(parts, batch, number) for _ in range(64)]).mean(dim=0)
    rmse = (drawn - truth.mean).square().mean().sqrt()
    return gap.mean().item(), rmse.item(), terms.kl_w.mean().item()


def test_curves_that_are_sums_of_templates_are_learned_up_to_their_noise():
    model = build_curves(
        fields={"kind": Categorical(3)}, length=16, w_channels=8, style_channels=2, **SMALL
    )
    data = Sums()
    train(model, data, 300)
    for num_parts in (1, 4):
        gap, rmse, _ = measure(model, data, num_parts)
        assert abs(gap) < 1.5 and rmse < 0.3 * NOISE
    # Twice as many parts as in training.
    gap, rmse, _ = measure(model, data, 8)
    assert gap < 20.0 and rmse < 1.5 * NOISE


def test_a_continuous_field_is_learned_beside_a_category():
    fields = {"kind": Categorical(3), "power": Continuous()}
    options = {"w_channels": 8, "style_channels": 2, "convolutional": False, **SMALL}
    model = build_curves(fields=fields, length=16, **options)
    data = Sums("given")
    train(model, data, 300)
    for num_parts in (1, 4):
        gap, rmse, _ = measure(model, data, num_parts)
        assert abs(gap) < 2.0 and rmse < 0.4 * NOISE


@pytest.mark.slow
def test_variety_that_no_field_tells_of_is_carried_by_the_latents_of_the_parts():
    model = build_curves(
        fields={"kind": Categorical(3)}, length=16, w_channels=8, style_channels=2, **SMALL
    )
    data = Sums("hidden")
    train(model, data, 1500, anneal=0.5)
    for num_parts, bound in ((1, 1.5), (4, 4.0)):
        gap, rmse, kl_w = measure(model, data, num_parts)
        print(gap, rmse, kl_w)
        assert -0.5 < gap < bound and kl_w > 0.5 * num_parts


def test_images_of_parts_at_places_are_learned():
    model = build_images(
        fields={"size": Continuous()}, size=(8, 8), min_whole_scale=0.1, resolution=4, **SMALL
    )
    data = Places()
    train(model, data, 200)
    for num_parts in (1, 4):
        gap, rmse, _ = measure(model, data, num_parts, 100)
        assert -1.0 < gap < 10.0 and rmse < 0.1
