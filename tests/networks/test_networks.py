"""Networks ready to use: shapes, saving, gradients, units of the data, growth."""

import math

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Data

from compvae_pyg import CompVAE
from compvae_pyg.networks import (
    Categorical,
    Continuous,
    FieldEmbedding,
    Normalization,
    build_curves,
    build_images,
    fit_normalization,
)

KIND, POWER = {"kind": Categorical(3)}, {"power": Continuous(2)}
SMALL = {"hidden_channels": 16, "part_channels": 8, "whole_channels": 8, "z_channels": 2}
NUM_PARTS = torch.tensor([3, 1, 2])
BATCH = torch.arange(3).repeat_interleave(NUM_PARTS)


def curves(fields, **options):
    return build_curves(fields=fields, w_channels=6, style_channels=2, **{**SMALL, **options})


MODELS = {
    "curves": lambda: curves(KIND, length=9),
    "curves of numbers": lambda: curves(POWER, length=1),
    "curves of several channels": lambda: curves({**KIND, **POWER}, length=17, channels=2),
    "vectors": lambda: curves({**KIND, "size": Continuous()}, length=5, convolutional=False),
    "vectors of several channels": lambda: curves(
        POWER, length=5, channels=3, convolutional=False, aggr="sum"
    ),
    "curves as in the paper": lambda: curves(
        KIND,
        length=6,
        coupling="paper",
        prior_coupling=False,
        residual_posterior=False,
        posterior_init="linear",
    ),
    "images": lambda: build_images(fields=KIND, size=(12, 8), **SMALL),
    "images of both": lambda: build_images(
        fields={**KIND, **POWER}, size=(8, 8), channels=2, prior_coupling=True, **SMALL
    ),
}
EVERY = pytest.mark.parametrize("name", MODELS)


def sample(model, batch=BATCH, scale=1.0, shift=0.0):
    """Wholes and parts of any model, from the global source."""
    number, total = int(batch[-1]) + 1, len(batch)
    parts = {
        "kind": torch.randint(3, (total,)),
        "power": torch.randn(total, 2),
        "size": torch.rand(total),
        "pos": torch.rand(total, 2) - 0.5,
    }
    return scale * torch.randn(number, *model.event_shape) + shift, parts


@EVERY
def test_wholes_have_the_shape_that_was_asked_for_and_every_parameter_a_gradient(name):
    model = MODELS[name]()
    whole, parts = sample(model)
    fit_normalization(model, [Data(whole=whole, **parts)])
    # What starts at zero hides what lies before it.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    assert model.generate(parts, BATCH).shape == (3, *model.event_shape)
    terms = model.elbo(whole, parts, BATCH)
    assert terms.elbo.shape == (3,)
    terms.elbo.sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), key
        assert parameter.grad.isfinite().all(), key


@EVERY
def test_a_fitted_model_survives_saving(name, tmp_path):
    pytest.importorskip("safetensors")
    model = MODELS[name]()
    whole, parts = sample(model, shift=40.0)
    fit_normalization(model, [Data(whole=whole, **parts)])
    model.save_pretrained(tmp_path)
    again = CompVAE.from_pretrained(tmp_path)
    draws, bounds = [], []
    for one in (model.eval(), again):
        source = torch.Generator().manual_seed(0)
        draws.append(one.generate(parts, BATCH, observation_noise=True, generator=source))
        bounds.append(one.elbo(whole, parts, BATCH, generator=source).elbo)
    assert_close(draws[0], draws[1], rtol=0.0, atol=0.0)
    assert_close(bounds[0], bounds[1], rtol=0.0, atol=0.0)


@EVERY
def test_the_order_of_the_parts_does_not_matter(name):
    model = MODELS[name]().double()
    model.encoder.part_noise = False
    whole, parts = sample(model)
    order = torch.tensor([2, 0, 1, 3, 5, 4])
    seen = [
        model.posterior(whole, {n: v[i] for n, v in parts.items()}, BATCH, z=torch.zeros(3, 2)).w
        for i in (torch.arange(6), order)
    ]
    assert_close(seen[1].loc, seen[0].loc[order])
    assert_close(seen[1].sum_distribution.stddev, seen[0].sum_distribution.stddev)
    prior = model.generator.w_sum_prior(parts, BATCH)
    again = model.generator.w_sum_prior({n: v[order] for n, v in parts.items()}, BATCH)
    assert_close(again.mean, prior.mean)


@EVERY
def test_units_of_the_data_shift_log_likelihoods_by_their_logarithm_and_draws_with_them(name):
    model = MODELS[name]().double()
    whole, parts = sample(model)
    whole, parts["power"] = whole.double(), parts["power"].double()
    factor, other = 1000.0, {**parts, "power": 7.0 * parts["power"] - 300.0}
    bounds, draws = [], []
    for x, fields in ((whole, parts), (factor * whole - 5000.0, other)):
        fit_normalization(model, [Data(whole=x, **fields)])
        source = torch.Generator().manual_seed(0)
        bounds.append(model.elbo(x, fields, BATCH, generator=source).elbo)
        draws.append(model.generate(fields, BATCH, observation_noise=True, generator=source))
    size = math.prod(model.event_shape)
    assert_close(bounds[1], bounds[0] - size * math.log(factor), rtol=1e-5, atol=1e-3)
    assert_close(draws[1], factor * draws[0] - 5000.0, rtol=1e-5, atol=1e-1)


def test_categories_are_not_normalised():
    model = MODELS["curves of several channels"]()
    names = [m.name for m in model.modules() if isinstance(m, Normalization)]
    assert sorted(names) == ["power", "power", "whole"]  # the prior's and the encoder's


def test_curves_share_a_scale_and_numbers_of_vectors_have_their_own():
    shapes = {
        name: next(m.shape for m in MODELS[name]().modules() if getattr(m, "name", "") == "whole")
        for name in MODELS
    }
    assert shapes["curves"] == (1,) and shapes["curves of several channels"] == (2, 1)
    assert shapes["vectors"] == (5,) and shapes["vectors of several channels"] == (3, 5)
    assert shapes["images"] == (1, 1, 1) and shapes["images of both"] == (2, 1, 1)


@EVERY
@pytest.mark.parametrize("num_parts", [1, 100, 10_000])
def test_any_number_of_parts_gives_finite_numbers(name, num_parts):
    if num_parts == 10_000 and name.startswith("images"):
        num_parts = 2000  # whose latents are fields
    model = MODELS[name]()
    batch = torch.zeros(num_parts, dtype=torch.long)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    # A whole that grows with its parts.
    whole, parts = sample(model, batch, scale=float(num_parts))
    drawn = model.generate(parts, batch, observation_noise=True)
    assert drawn.isfinite().all()
    for x in (whole, drawn):
        terms = model.elbo(x, parts, batch)
        for value in (terms.elbo, terms.kl_w, terms.kl_z, terms.log_likelihood):
            assert value.isfinite().all()
        assert model.reconstruct(x, parts, batch).isfinite().all()
        loss = -terms.elbo.sum()
        loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    if model.event_shape == (9,):  # counts stand for parts
        kinds = {"kind": torch.arange(3)}
        many = model.generate(kinds, count=torch.full((3,), 1_000_000))
        assert many.isfinite().all()


def test_a_single_field_needs_no_name():
    model = MODELS["curves"]()
    kinds = torch.tensor([0, 2])
    draws = [
        model.generate(parts, generator=torch.Generator().manual_seed(0))
        for parts in (kinds, {"kind": kinds})
    ]
    assert torch.equal(*draws)


def test_fields_of_any_name_are_read_as_declared(refuses):
    embedding = FieldEmbedding({"type": Categorical(2), "keys": Continuous(1)}, 4)
    parts = {"type": torch.tensor([0, 1]), "keys": torch.tensor([0.5, 2.0])}
    column = {**parts, "keys": parts["keys"].unsqueeze(1)}
    assert torch.equal(embedding(parts), embedding(column))
    assert not torch.equal(embedding(parts)[0], embedding(parts)[1])
    with refuses(TypeError, "keys"):
        embedding({"type": parts["type"]})
    with refuses(TypeError, "keys"):
        embedding({**parts, "keys": torch.tensor([1, 2])})
    with refuses(ValueError, "type"):
        embedding({**parts, "type": torch.tensor([0, 2])})
    with refuses(ValueError, "keys"):
        embedding({**parts, "keys": torch.tensor([0.5, float("inf")])})
    with refuses(ValueError, "keys"):
        embedding({**parts, "keys": torch.zeros(2, 2)})


@pytest.mark.parametrize("name", ["curves of several channels", "images of both"])
def test_bounds_compile_as_one_graph(name, compile_once):
    model = MODELS[name]()
    model.encoder.part_noise = False
    whole, parts = sample(model)
    fit_normalization(model, [Data(whole=whole, **parts)])
    compiled = compile_once(lambda *args, **fixed: model.posterior(*args, **fixed).w.loc, "eager")
    fixed = {"z": torch.zeros(3, 2)}
    for fields in (parts, {n: v.flip(0) for n, v in parts.items()}):
        expected = model.posterior(whole, fields, BATCH, 3, **fixed).w.loc
        assert_close(compiled(whole, fields, BATCH, 3, **fixed), expected)


@EVERY
def test_networks_in_half_precision_give_finite_numbers(name):
    model = MODELS[name]().bfloat16()
    whole, parts = sample(model)
    terms = model.elbo(whole, parts, BATCH)
    assert terms.elbo.dtype == torch.float32 and terms.elbo.isfinite().all()
    assert model.generate(parts, BATCH).isfinite().all()


@EVERY
def test_an_unusual_whole_has_a_posterior_that_can_be_optimised(name):
    """A single variance that overflows would spoil the optimiser's averages for long."""
    model = MODELS[name]()
    whole, parts = sample(model)
    with torch.no_grad():
        for head in (model.encoder.z_head, model.encoder.w_head):
            for parameter in head.parameters():
                parameter.mul_(30.0).add_(torch.randn(parameter.shape))
    posterior = model.posterior(100.0 * whole, parts, BATCH, z=torch.zeros(3, 2))
    assert posterior.z.stddev.max() <= 3.0 * (1.0 + 1e-5)
    if model.residual_posterior:
        assert posterior.w.log_variance.max() <= 2.0 * math.log(10.0) + 1e-5
