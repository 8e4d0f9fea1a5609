"""What users' networks return is checked where it comes in, and by the network's name."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, Normal

from compvae_pyg import NormalNetwork

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11
PART, W, Z, WHOLE = 3, 4, 2, 5


@pytest.fixture
def inputs(batch_of, draw):
    return draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES), S


class Changed(nn.Module):
    """A network whose result is changed."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, *inputs):
        return self.change(self.net(*inputs))


def part_of(normal, rows=slice(None), columns=slice(None)):
    return Normal(normal.loc[rows, columns], normal.scale[rows, columns])


def calls(model, whole, *parts):
    """Everything that passes all three networks."""
    composition = model.compose(*parts) if model is not None else None
    return {
        "elbo": lambda: model.elbo(whole, *parts),
        "infer": lambda: model.infer(whole, *parts).decode(),
        "log_likelihood": lambda: model.log_likelihood(whole, *parts, num_samples=2),
        "reconstruct": lambda: model.reconstruct(whole, *parts),
        "generate": lambda: model.generate(*parts),
        "generate_counts": lambda: model.generate_counts(torch.ones(2, N), parts[0]),
        "compose": lambda: model.compose(*parts).decode(),
        "add": lambda: composition.add(parts[0][:1], 0).decode(),
        "generator": lambda: model.generator(*parts),
    }


WRONG = {
    "w_prior": {
        "a row less": (lambda p: part_of(p, rows=slice(1, None)), ValueError),
        "a vector": (lambda p: Normal(p.loc[0], p.scale[0]), ValueError),
        "three dimensions": (lambda p: Normal(p.loc.unsqueeze(0), p.scale), ValueError),
        "events": (lambda p: Independent(p, 1), TypeError),
        "a tensor": (lambda p: p.loc, TypeError),
        "heavy tails": (lambda p: Laplace(p.loc, p.scale), TypeError),
    },
    "z_prior": {
        # Its log-density, [S], was broadcast against the posterior's, [S, D_z].
        "events": (lambda p: Independent(p, 1), TypeError),
        "a row less": (lambda p: part_of(p, rows=slice(1, None)), ValueError),
        "one row": (lambda p: part_of(p, rows=slice(1)), ValueError),
        "a tensor": (lambda p: p.loc, TypeError),
    },
    "decoder": {
        # The default of NormalNetwork: each number of the whole is an event by itself.
        "no events": (lambda p: p.base_dist, ValueError),
        "all one event": (lambda p: Independent(p, 1), ValueError),
        "a row less": (
            lambda p: Independent(part_of(p.base_dist, rows=slice(1, None)), 1),
            ValueError,
        ),
        "a tensor": (lambda p: p.mean, TypeError),
        "a pair": (lambda p: (p.mean, p.stddev), TypeError),
    },
}
CASES = [(network, label) for network, wrong in WRONG.items() for label in wrong]


@pytest.mark.parametrize(("network", "label"), CASES)
def test_a_result_that_does_not_fit_is_reported_by_the_name_of_the_network(
    refuses, small_model, inputs, network, label
):
    model = small_model()
    every = calls(model, *inputs)
    change, error = WRONG[network][label]
    setattr(model.generator, network, Changed(getattr(model.generator, network), change))
    for call in every.values():
        with refuses(error, network):
            call()


def test_wholes_of_another_shape_are_reported_by_the_name_of_the_decoder(
    refuses, small_model, inputs
):
    model = small_model()
    every = calls(model, *inputs)
    model.generator.decoder = Changed(
        model.generator.decoder,
        lambda p: Independent(part_of(p.base_dist, columns=slice(1, None)), 1),
    )
    for name in ("elbo", "log_likelihood", "generate", "generate_counts"):
        with refuses(ValueError, "decoder"):
            every[name]()


@pytest.mark.parametrize("residual_posterior", [False, True])
@pytest.mark.parametrize("network", ["w_prior", "z_prior"])
def test_one_latent_for_all_channels_is_not_broadcast(
    refuses, small_model, inputs, network, residual_posterior
):
    model = small_model(residual_posterior=residual_posterior)
    one = Changed(getattr(model.generator, network), lambda p: part_of(p, columns=slice(1)))
    setattr(model.generator, network, one)
    for call in (model.elbo, model.posterior, model.infer)[: 3 if network == "w_prior" else 1]:
        with refuses(ValueError, network):
            call(*inputs)
    with pytest.raises(ValueError):
        model.log_likelihood(*inputs, num_samples=2)


class Own(nn.Module):
    """A network of a user's, with a mistake in it."""

    def __init__(self, mistake):
        super().__init__()
        self.mistake = mistake

    def forward(self, *inputs):
        return self.mistake(*inputs)


MISTAKES = {
    "sizes": lambda *x: torch.zeros(1, 2) @ torch.zeros(3, 4),
    "arguments": lambda: None,
    "a field": lambda *x: {}["kind"],
    "an attribute": lambda *x: x.kind,
    "a type": lambda *x: nn.functional.embedding({}, torch.zeros(2, 2)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("generator.w_prior", "generate"),
        ("generator.z_prior", "generate"),
        ("generator.decoder", "elbo"),
        ("embedding", "infer"),
        ("embedding.whole_embedding", "elbo"),
        ("embedding.part_embedding", "elbo"),
        ("encoder.z_head", "elbo"),
        ("encoder.w_head", "elbo"),
    ],
)
def test_an_error_in_a_network_names_the_network(refuses, small_model, inputs, path, call, mistake):
    model = small_model()
    owner, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner), name, Own(MISTAKES[mistake]))
    with refuses(ValueError, name):
        if call == "generate":
            model.generate(*inputs[1:])
        else:
            getattr(model, call)(*inputs)


def test_other_errors_in_a_network_are_raised_as_they_are(small_model, inputs):
    class Subclass(RuntimeError):
        pass

    for error in (Subclass("x"), RuntimeError("out of memory"), ZeroDivisionError("x")):
        model = small_model()

        def fail(*inputs, error=error):
            raise error

        model.generator.decoder = Own(fail)
        with pytest.raises(type(error)) as caught:
            model.generate(*inputs[1:])
        assert caught.value is error


@pytest.mark.parametrize("channels", [9, 1])
def test_a_normal_network_of_odd_channels_is_reported_by_its_role(
    refuses, small_model, inputs, channels
):
    model = small_model()
    model.generator.z_prior = NormalNetwork(nn.Linear(W, channels), min_scale=0.1)
    with refuses(ValueError, "z_prior"):
        model.elbo(*inputs)


@pytest.mark.parametrize("head", ["z_head", "w_head"])
def test_heads_of_another_width_are_reported(refuses, small_model, inputs, head):
    model = small_model()
    setattr(model.encoder, head, Own(lambda first, *rest: first[:, :1]))
    with refuses(ValueError, head):
        model.elbo(*inputs)


def test_an_embedding_that_returns_one_value_is_reported(refuses, small_model, inputs):
    model = small_model()
    model.embedding = Changed(model.embedding, lambda features: features[0])
    with refuses(TypeError, "embedding"):
        model.elbo(*inputs)


def test_features_that_do_not_fit_are_reported(refuses, small_model, inputs):
    for change, name in (
        (lambda f: (f[0][:, 1:], f[1]), "whole"),
        (lambda f: (f[0], f[1][1:]), "parts"),
        (lambda f: (f[0][1:], f[1]), "whole"),
    ):
        model = small_model()
        model.embedding = Changed(model.embedding, change)
        with refuses(ValueError, name):
            model.elbo(*inputs)
