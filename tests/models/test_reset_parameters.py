"""``reset_parameters`` gives a model parameters as those of one that is just built."""

from functools import partial

import pytest
import torch
from torch import nn
from torch_geometric.nn.inits import reset

from compvae_pyg import Dots, Sines
from compvae_pyg.networks import Categorical, Continuous, build_curves, build_images
from compvae_pyg.problems.dots.paper_networks import ImageFeatures, SiteEmbedding
from compvae_pyg.problems.sines.paper_networks import CategoryPrior, curve_features

BUILDERS = {
    "dots": partial(Dots().build, "small"),
    "dots with averages": partial(Dots().build, "small", aggr="mean"),
    "sines": partial(Sines().build, "small"),
    "images": partial(build_images, fields={"category": Categorical(3)}, size=(12, 16), channels=3),
    "images, two fields": partial(
        build_images, fields={"category": Categorical(3), "ink": Continuous()}, size=(12, 16)
    ),
    "curves": partial(build_curves, fields={"category": Categorical(3)}, length=20),
    "vectors": partial(
        build_curves, fields={"category": Categorical(3)}, length=20, convolutional=False
    ),
    # Those of the paper are too large; these are the smaller ones of their networks.
    "paper, images": ImageFeatures,
    "paper, sites": SiteEmbedding,
    "paper, curves": curve_features,
    "paper, categories": partial(CategoryPrior, 9),
}


def size(values):
    return values.square().mean().sqrt()


@pytest.mark.parametrize("name", BUILDERS)
def test_parameters_are_drawn_anew_as_those_of_a_fresh_model(name):
    models = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        models.append(BUILDERS[name]())
    first, *others = (dict(model.named_parameters()) for model in models)
    tables = [dict(model.named_buffers()) for model in models]
    torch.manual_seed(3)
    model = BUILDERS[name]()
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(3.0)
    reset(model)
    for key, found in model.named_parameters():
        # Zeros, and the biases of log-variances.
        fixed = torch.stack([first[key] == other[key] for other in others]).all(dim=0)
        assert torch.equal(found[fixed], first[key][fixed]), key
        drawn = ~fixed
        assert (found[drawn] != before[key][drawn]).double().mean() > 0.99 or fixed.all(), key
        # Slices of a layer may be drawn with spreads of their own: means, log-variances, logits.
        pieces = [first[key], found]
        if found.dim() > 1 and len(found) % 3 == 0:
            pieces = [value.reshape(3, -1) for value in pieces]
        else:
            pieces = [value.reshape(2 if len(found) % 2 == 0 else 1, -1) for value in pieces]
        for fresh, own in zip(*pieces, strict=True):
            if fresh.numel() >= 100 and size(fresh) > 0.0:
                assert size(own).item() == pytest.approx(size(fresh).item(), rel=0.3), key
            elif size(fresh) == 0.0:
                assert size(own) == 0.0, key
            elif fresh.numel() >= 8:  # of fewer, sizes say little
                assert size(own) < 5.0 * size(fresh), key
    for key, value in model.named_buffers():
        if torch.equal(tables[0][key], tables[1][key]):  # others are drawn, as parameters are
            assert torch.equal(value, buffers[key]), key


@pytest.mark.parametrize("name", ["dots", "sines", "images", "curves", "vectors"])
def test_a_model_that_was_reset_gives_what_an_untrained_one_gives(name):
    torch.manual_seed(0)
    model = BUILDERS[name]()
    fields = {"color": torch.tensor([0, 4, 2]), "pos": torch.tensor([[0.1, 0.2]] * 3)}
    fields["category"] = torch.tensor([0, 2, 1])
    example = torch.rand(2, *model.event_shape), fields, torch.tensor([0, 0, 1])
    reset = []
    for _ in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
        model.reset_parameters()
        reset.append(model.elbo(*example))
        # Until training gives z a use it costs nothing.
        torch.testing.assert_close(reset[-1].kl_z, torch.zeros(2))
    # As far apart as two untrained models are, each of other weights.
    fresh = [BUILDERS[name]().elbo(*example) for _ in range(20)]
    for term in ("kl_w", "elbo"):
        drawn = torch.stack([getattr(each, term) for each in fresh])
        margin = drawn.amax(dim=0) - drawn.amin(dim=0)
        # The median: one model in twenty is far from all others.
        found = torch.stack([getattr(each, term) for each in reset]).median(dim=0).values
        assert (found > drawn.amin(dim=0) - margin).all(), term
        assert (found < drawn.amax(dim=0) + margin).all(), term


def test_networks_of_users_are_reset_as_well(small_model):
    model = small_model()
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    model.reset_parameters()
    for key, value in model.named_parameters():
        assert (value != before[key]).all(), key


def test_a_head_of_ones_own_is_reset_as_it_resets_itself(small_model):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(8, 12)
            self.reset_parameters()

        def reset_parameters(self):
            nn.init.constant_(self.lin.weight, 0.25)
            nn.init.zeros_(self.lin.bias)

        def forward(self, h, parts):
            return self.lin(h)

    model = small_model(w_head=Head())
    with torch.no_grad():
        model.encoder.w_head.lin.weight += 1.0
    model.reset_parameters()
    assert (model.encoder.w_head.lin.weight == 0.25).all()
