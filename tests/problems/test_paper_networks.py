"""The paper's own networks, against its tables.

Big networks are built on the device ``meta``, where tensors have shapes and no numbers.
"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from compvae_pyg import CompVAE, Dots, Sines
from compvae_pyg.models import build_architecture
from compvae_pyg.nn import GraphBlock, Residual
from compvae_pyg.problems.dots.paper_networks import ImageFeatures, SiteEmbedding
from compvae_pyg.problems.sines.paper_networks import CurveDecoder

META = torch.device("meta")
SIZES = (1, 4, 2)


# Numbers of parameters, by hand.


def linear(before, after):
    return before * after + after


def conv1d(before, after, size):
    return before * after * size + after


def conv2d(before, after, size):
    return before * after * size * size + after


def residual(size):
    return 2 * (size * size + size)


def graph_block(before, after):
    """Table 4: g is two residual blocks; f is one, a linear layer on twice the size, and one."""
    g = residual(before) + residual(before)
    f = residual(before) + linear(2 * before, after) + residual(after)
    return g + f


TABLES = {
    "sines-paper": {
        # A.1.1: a mean and a log-variance of 1024 for each of ten categories.
        "generator.w_prior": 10 * 1024 + 10 * 1024,
        # Table 1.
        "generator.z_prior": linear(1024, 1280) + linear(1280, 512),
        # Table 2.
        "generator.decoder": linear(1280, 800)
        + 3 * residual(800)
        + conv1d(160, 80, 4)
        + conv1d(80, 80, 7)
        + conv1d(80, 40, 8)
        + conv1d(40, 40, 7)
        + conv1d(40, 20, 15)
        + conv1d(20, 2, 7),
        # Table 3.
        "embedding.whole_embedding": conv1d(1, 40, 10)
        + conv1d(40, 40, 7)
        + conv1d(40, 80, 6)
        + conv1d(80, 80, 7)
        + conv1d(80, 160, 4)
        + residual(800),
        # Table 5.
        "encoder.z_head": linear(800, 512) + 2 * residual(512) + linear(512, 512),
        # Table 6.
        "embedding.part_embedding": 10 * 1024,
        "encoder.blocks": graph_block(800 + 256 + 1024, 2048) + 2 * graph_block(2048, 2048),
        "encoder.w_head": linear(2048, 3 * 1024),
    },
    "dots-paper": {
        # Table 7, with five colours.
        "generator.w_prior": linear(2, 32) + 5 * 32 + linear(64, 1024) + linear(1024, 4096),
        # Table 8.
        "generator.z_prior": linear(2048, 1024) + residual(1024) + linear(1024, 2048),
        # Table 9, whose last convolution takes 24 channels.
        "generator.decoder": residual(2048)
        + linear(1024, 2048)
        + 2 * residual(2048)
        + conv2d(128, 64, 5)
        + conv2d(64, 32, 5)
        + conv2d(32, 24, 5)
        + conv2d(24, 4, 5),
        # Table 10.
        "embedding.whole_embedding": conv2d(3, 16, 5)
        + conv2d(16, 32, 4)
        + conv2d(32, 32, 5)
        + conv2d(32, 48, 4)
        + conv2d(48, 64, 4)
        + residual(1024),
        # Table 11.
        "encoder.z_head": residual(1024) + linear(1024, 2048),
        # Table 12, with five colours.
        "embedding.part_embedding": linear(2, 32) + 5 * 32,
        "encoder.blocks": graph_block(32 + 32 + 1024 + 1024, 2048) + 2 * graph_block(2048, 2048),
        "encoder.w_head": linear(2048, 3 * 2048),
    },
}


def elu(*layers):
    """Each layer, followed by an ELU of the same shape."""
    return [step for layer in layers for step in (layer, ("ELU", *layer[1:]))]


# What each layer makes of one whole or part, in the order of the tables.
STAGES = {
    "sines-paper": {
        "generator.w_prior": [("Embedding", 1024), ("Embedding", 1024)],
        "generator.z_prior": [*elu(("Linear", 1280)), ("Linear", 512)],
        "generator.decoder": [
            *elu(("Linear", 800), ("Residual", 800), ("Residual", 800), ("Residual", 800)),
            ("Unflatten", 160, 5),
            *elu(
                ("ConvTranspose1d", 80, 12),
                ("Conv1d", 80, 12),
                ("ConvTranspose1d", 40, 52),
                ("Conv1d", 40, 52),
                ("ConvTranspose1d", 20, 270),
            ),
            ("Conv1d", 2, 270),
        ],
        "embedding.whole_embedding": [
            ("Unflatten", 1, 200),
            *elu(
                ("Conv1d", 40, 39),
                ("Conv1d", 40, 39),
                ("Conv1d", 80, 12),
                ("Conv1d", 80, 12),
                ("Conv1d", 160, 5),
            ),
            ("Flatten", 800),
            *elu(("Residual", 800)),
        ],
        "encoder.z_head": [
            *elu(("Linear", 512), ("Residual", 512), ("Residual", 512)),
            ("Linear", 512),
        ],
        "embedding.part_embedding": [("Embedding", 1024)],
        "encoder.blocks": [("GraphBlock", 2048)] * 3,
        "encoder.act": [("ELU", 2048)] * 3,
        "encoder.w_head": [("Linear", 3072)],
    },
    "dots-paper": {
        "generator.w_prior": [
            *elu(("Linear", 32)),
            ("Embedding", 32),
            *elu(("Linear", 1024)),
            ("Linear", 4096),
        ],
        "generator.z_prior": [*elu(("Linear", 1024), ("Residual", 1024)), ("Linear", 2048)],
        "generator.decoder": [
            ("Residual", 2048),
            ("Linear", 2048),
            ("ELU", 2048),
            ("Residual", 2048),
            ("Tanh", 2048),
            *elu(("Residual", 2048)),
            ("Unflatten", 128, 4, 4),
            ("Upsample", 128, 8, 8),
            *elu(("Conv2d", 64, 8, 8)),
            ("Upsample", 64, 16, 16),
            *elu(("Conv2d", 32, 16, 16)),
            ("Upsample", 32, 32, 32),
            *elu(("Conv2d", 24, 32, 32)),
            ("Conv2d", 4, 32, 32),
        ],
        "embedding.whole_embedding": [
            *elu(
                ("Conv2d", 16, 32, 32),
                ("Conv2d", 32, 16, 16),
                ("Conv2d", 32, 16, 16),
                ("Conv2d", 48, 8, 8),
                ("Conv2d", 64, 4, 4),
            ),
            ("Flatten", 1024),
            *elu(("Residual", 1024)),
        ],
        "encoder.z_head": [*elu(("Residual", 1024)), ("Linear", 2048)],
        "embedding.part_embedding": [*elu(("Linear", 32)), ("Embedding", 32)],
        "encoder.blocks": [("GraphBlock", 2048)] * 3,
        "encoder.act": [("ELU", 2048)] * 3,
        "encoder.w_head": [("Linear", 6144)],
    },
}


def on_meta(name, **options):
    with META:
        return build_architecture(*name.split("-"), **options)


@pytest.fixture(scope="module")
def models():
    return {name: on_meta(name) for name in TABLES}


def inputs(name, device=META):
    """Three wholes, of one, four and two parts."""
    batch = torch.tensor([0, 1, 1, 1, 1, 2, 2], device=device)
    category = torch.tensor([0, 1, 2, 2, 4, 3, 1], device=device)
    if name == "sines-paper":
        return torch.randn(3, 200, device=device), {"category": category}, batch
    pos = 1.8 * torch.rand(7, 2, device=device) - 0.9
    return torch.rand(3, 3, 32, 32, device=device), {"color": category, "pos": pos}, batch


def layers(network):
    """Layers of a network as the tables count them: blocks are one layer."""
    if isinstance(network, Residual | GraphBlock) or not list(network.children()):
        yield network
    else:
        for child in network.children():
            yield from layers(child)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", TABLES)
def test_each_network_has_the_parameters_that_its_table_adds_up_to(models, name):
    got = {network: count(models[name].get_submodule(network)) for network in TABLES[name]}
    assert got == TABLES[name]


@pytest.mark.parametrize(
    ("name", "total"), [("sines-paper", 143_248_510), ("dots-paper", 184_857_036)]
)
def test_the_networks_of_the_tables_are_all_there_is(models, name, total):
    assert sum(TABLES[name].values()) == total
    assert count(models[name]) == total


@pytest.mark.parametrize("name", TABLES)
def test_layers_come_in_the_order_of_the_tables_and_have_their_shapes(models, name):
    model, seen, handles = models[name], {}, []
    for network in STAGES[name]:
        seen[network] = []

        def note(layer, _, out, steps=seen[network]):
            name = "Linear" if isinstance(layer, nn.Linear) else type(layer).__name__
            steps.append((name, *out.shape[1:]))

        for layer in layers(model.get_submodule(network)):
            handles.append(layer.register_forward_hook(note))
    whole, parts, batch = inputs(name)
    model.elbo(whole, parts, batch, 3)
    for handle in handles:
        handle.remove()
    assert seen == STAGES[name]


@pytest.mark.parametrize(
    ("name", "w_channels", "z_channels", "event"),
    [("sines-paper", 1024, 256, (200,)), ("dots-paper", 2048, 1024, (3, 32, 32))],
)
def test_distributions_have_the_shapes_of_latents_and_wholes(
    models, name, w_channels, z_channels, event
):
    model = models[name]
    whole, parts, batch = inputs(name)
    terms = model.elbo(whole, parts, batch, 3)
    assert [term.shape for term in terms[:3]] == [(3,)] * 3
    assert terms.likelihood.batch_shape == (3,)
    assert terms.likelihood.event_shape == event == model.event_shape
    prior = model.generator.w_prior(parts)
    assert prior.mean.shape == prior.stddev.shape == (7, w_channels)
    z_prior = model.generator.z_prior(torch.empty(3, w_channels, device=META))
    assert z_prior.mean.shape == z_prior.stddev.shape == (3, z_channels)
    posterior = model.encoder(*model.embedding(whole, parts, batch), batch, 3)
    assert posterior.z_sample.shape == posterior.z.stddev.shape == (3, z_channels)
    assert posterior.w.loc.shape == posterior.w.scale.shape == posterior.w.rho.shape
    assert posterior.w.loc.shape == (7, w_channels)
    assert model.generate(parts, batch, 3).shape == (3, *event)


def test_both_inference_networks_read_the_same_features_of_the_whole(models):
    """pre(x) is computed once, for q(z|x) and for the nodes of the graph (tables 3 and 10)."""
    for name, model in models.items():
        calls = []
        handle = model.embedding.whole_embedding.register_forward_hook(
            lambda *args, calls=calls: calls.append(args)
        )
        whole, parts, batch = inputs(name)
        model.elbo(whole, parts, batch, 3)
        handle.remove()
        assert len(calls) == 1, name


@pytest.mark.parametrize(("name", "floor"), [("sines-paper", 0.001), ("dots-paper", 0.005)])
def test_no_scale_of_the_generative_network_falls_below_its_floor(models, name, floor):
    shapes = {
        "sines-paper": {"w_prior": (2048,), "z_prior": (512,), "decoder": (400,)},
        "dots-paper": {"w_prior": (4096,), "z_prior": (2048,), "decoder": (4, 32, 32)},
    }
    for network, shape in shapes[name].items():
        law = getattr(models[name].generator, network)
        net, law.net = law.net, nn.Identity()
        try:
            stddev = law(torch.full((2, *shape), -1e4)).stddev
        finally:
            law.net = net
        assert_close(stddev, torch.full_like(stddev, floor), msg=network)


def test_the_channels_of_a_pixel_share_its_variance(models):
    law = models["dots-paper"].generator.decoder
    net, law.net = law.net, nn.Identity()
    try:
        out = torch.randn(2, 4, 32, 32)
        image = law(out)
        assert_close(image.mean, out[:, :3])
        assert_close(image.stddev, torch.exp(0.5 * out[:, 3:]).expand(2, 3, 32, 32))
        x = torch.randn(2, 3, 32, 32)
        expected = torch.distributions.Normal(out[:, :3], torch.exp(0.5 * out[:, 3:])).log_prob(x)
        assert_close(image.log_prob(x), expected.sum(dim=(1, 2, 3)))
    finally:
        law.net = net


def test_a_curve_is_the_middle_of_what_the_convolutions_make():
    decoder = CurveDecoder()
    made = []
    decoder.conv.register_forward_hook(lambda net, args, out: made.append(out))
    out = decoder(torch.randn(2, 1024), torch.randn(2, 256))
    assert made[0].shape == (2, 2, 270)
    assert torch.equal(out[:, :200], made[0][:, 0, 35:235])
    assert torch.equal(out[:, 200:], made[0][:, 1, 35:235])


def test_pixels_are_centred_before_they_are_read():
    features = ImageFeatures()
    grey = torch.full((1, 3, 32, 32), 0.5)
    seen = []
    features.conv[0].register_forward_hook(lambda net, args, out: seen.append(args[0]))
    features(torch.cat([grey, torch.zeros_like(grey), torch.ones_like(grey)]))
    assert seen[0].flatten(1).amin(dim=1).tolist() == [0.0, -1.0, 1.0]
    assert seen[0].flatten(1).amax(dim=1).tolist() == [0.0, -1.0, 1.0]


def test_a_site_is_its_position_and_its_colour():
    """Features of the position first, those of the colour behind them."""
    embedding = SiteEmbedding()
    pos = torch.tensor([[0.1, 0.2], [0.1, 0.2], [-0.3, 0.2]])
    out = embedding({"color": torch.tensor([1, 2, 2]), "pos": pos})
    same = torch.isclose(out.unsqueeze(0), out.unsqueeze(1)).reshape(3, 3, 2, 32).all(dim=-1)
    assert same[0, 1].tolist() == [True, False]
    assert same[1, 2].tolist() == [False, True]


def test_inference_has_embeddings_of_its_own(models):
    for model in models.values():
        inference = {id(p) for p in [*model.encoder.parameters(), *model.embedding.parameters()]}
        assert not inference & {id(p) for p in model.generator.parameters()}


def test_options_reach_the_networks_and_the_published_ones_are_the_default(models):
    for name, noise in (("sines-paper", True), ("dots-paper", False)):
        model = models[name]
        problem, preset = name.split("-")
        names = {"problem": problem, "preset": preset}
        assert model.config == {**names, "parameters": {}, "options": {}}
        assert model.encoder.coupling == "paper"
        assert model.encoder.part_noise is noise
        assert model.residual_posterior is False
        other = on_meta(name, coupling="scaled", part_noise=not noise, min_scale=0.1, aggr="mean")
        assert other.encoder.coupling == "scaled"
        assert [block.aggr for block in other.encoder.blocks] == ["mean"] * 3
        assert [block.aggr for block in model.encoder.blocks] == ["sum"] * 3
        assert other.encoder.part_noise is not noise
        for law in (other.generator.w_prior, other.generator.z_prior, other.generator.decoder):
            assert law.min_scale == 0.1
    nine = on_meta("sines-paper", num_categories=9)
    assert count(models["sines-paper"]) - count(nine) == 3 * 1024


def test_the_problems_build_them_by_name():
    with META:
        dots = Dots().build("paper")
        sines = Sines(num_categories=9).build("paper", aggr="mean")
    assert isinstance(dots, CompVAE)
    names = {"problem": "dots", "preset": "paper"}
    assert dots.config == {**names, "parameters": {}, "options": {}}
    assert sines.config == {
        "problem": "sines",
        "parameters": vars(Sines(num_categories=9)),
        "preset": "paper",
        "options": {"num_categories": 9, "aggr": "mean"},
    }
    with pytest.raises(ValueError, match="aggregation"):
        Dots().build("small", aggregation="mean")
    with pytest.raises(ValueError, match="preset"):
        Dots().build("huge")


@pytest.mark.parametrize("problem", [Dots(), Sines()])
def test_narrow_networks_have_the_paper_s_layers_at_an_eighth_of_their_channels(problem):
    """All sizes but those of data (2 coordinates, 3 colours, a mean and a log-variance, ...)."""
    data_sizes = {1, 2, 3, 4, 5, 6, 7, 8, 10, 15}
    with META:
        paper, narrow = problem.build("paper"), problem.build("narrow")
    assert [type(m) for m in paper.modules()] == [type(m) for m in narrow.modules()]
    wide = dict(paper.named_parameters())
    for name, parameter in narrow.named_parameters():
        for size, full in zip(parameter.shape, wide[name].shape, strict=True):
            assert size == -(-full // 8) or (size == full and full in data_sizes), name


def test_a_bad_category_is_named(models, refuses):
    generator = models["sines-paper"].generator
    with refuses(ValueError, "category"):
        generator({"category": torch.tensor([0, 9, 3, 12])})
    with refuses(ValueError, "category"):
        generator({"category": torch.tensor([-1])})
    with refuses(TypeError, "category"):
        generator({"category": torch.tensor([1.0])})


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_untrained_networks_give_finite_terms(name):
    model = build_architecture(*name.split("-"))
    whole, parts, batch = inputs(name, torch.device("cpu"))
    terms = model.elbo(whole, parts, batch)
    for term in (*terms[:3], terms.likelihood.mean):
        assert term.isfinite().all()
    assert (terms.kl_w > 0).all()
    assert (terms.likelihood.stddev > 0).all()
    terms.elbo.sum().backward()
    unreached = [key for key, p in model.named_parameters() if p.grad is None]
    assert not unreached
    assert all(p.grad.isfinite().all() for p in model.parameters())
