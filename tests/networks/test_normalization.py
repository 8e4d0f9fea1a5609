"""Moments of the training data that networks carry with them."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch_geometric.data import Batch, Data

from compvae_pyg import NormalNetwork
from compvae_pyg.networks import DataUnits, Normalization, fit_normalization


def modules(**shapes):
    return nn.ModuleDict({name: Normalization(name, shape) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("shape", "dims"), [((3, 1, 1), (0, 2, 3)), ((3, 4, 5), (0,)), ((1, 1, 1), (0, 1, 2, 3))]
)
def test_moments_are_those_of_all_data_however_it_is_split(shape, dims):
    x = 1e4 + torch.randn(70, 3, 4, 5) * torch.arange(1.0, 4.0).view(3, 1, 1)
    loader = [Data(whole=part) for part in x.split([1, 40, 0, 29])]
    model = modules(whole=shape)
    fit_normalization(model, loader)
    variance, mean = torch.var_mean(x.double(), dims, correction=0, keepdim=True)
    assert_close(model["whole"].mean.double(), mean[0], rtol=1e-7, atol=0.0)
    assert_close(model["whole"].std.double(), variance[0].sqrt(), rtol=1e-6, atol=0.0)
    assert int(model["whole"].num_rows) == 70
    y = model["whole"](x)
    assert_close(model["whole"].inverse(y), x)


def test_fields_are_normalised_by_row_and_categories_stay(tmp_path):
    parts = [
        Data(power=torch.randn(k) * 3 + 7, kind=torch.arange(k), whole=torch.randn(1, 4))
        for k in (1, 5, 2)
    ]
    batch = Batch.from_data_list(parts)
    one, several = modules(power=(1,), whole=(4,)), modules(power=(1,), whole=(4,))
    fit_normalization(one, batch)
    fit_normalization(several, iter(parts))
    for a, b in zip(one.buffers(), several.buffers(), strict=True):
        assert_close(a, b)
    assert_close(one["power"].mean, batch.power.mean().view(1))
    torch.save(one.state_dict(), tmp_path / "state.pt")
    again = modules(power=(1,), whole=(4,))
    again.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(again["power"].mean, one["power"].mean)


def test_what_is_constant_is_not_divided_by():
    x = torch.randn(1000, 3)
    x[:, 1], x[:, 2] = 0.1, 0.0
    model = modules(whole=(3,))
    fit_normalization(model, [Data(whole=part) for part in x.split(7)])
    assert model["whole"].std[1:].tolist() == [1.0, 1.0]
    assert_close(model["whole"](x)[:, 1:], torch.zeros(1000, 2), atol=1e-7, rtol=0.0)


def test_a_model_without_normalization_needs_no_data():
    def data():
        raise AssertionError("data was read")
        yield

    fit_normalization(nn.Linear(2, 2), data())


@pytest.mark.parametrize("dims", [0, 1])
def test_densities_are_those_of_the_data(dims):
    net = nn.Linear(3, 8)
    units = Normalization("whole", (4,))
    units.mean.copy_(torch.randn(4))
    units.std.copy_(torch.rand(4) + 0.5)
    inner = NormalNetwork(net, 0.01, event_dims=dims)
    condition, x = torch.randn(5, 3), torch.randn(5, 4)
    density = DataUnits(inner, units)(condition)
    jacobian = units.std.log()
    expected = inner(condition).log_prob(units(x)) - (jacobian.sum() if dims else jacobian)
    assert_close(density.log_prob(x), expected)
    assert density.event_shape == ((4,) if dims else ())
    assert_close(density.mean, units.inverse(inner(condition).mean))


def test_bad_data_changes_nothing(refuses):
    model = modules(whole=(1,), power=(2,))
    good = Data(whole=torch.randn(2, 4), power=torch.randn(3, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value, error in (
        ("power", torch.zeros(3, 2, dtype=torch.long), TypeError),
        ("power", torch.zeros(3, 3), ValueError),
        ("power", torch.full((3, 2), float("nan")), ValueError),
        ("whole", torch.zeros(3, 2, 2), ValueError),
    ):
        bad = good.clone()
        bad[name] = value
        with refuses(error, name):
            fit_normalization(model, [good, bad])
    with refuses(ValueError, "power"):
        fit_normalization(model, [good, Data(whole=good.whole)])
    with refuses(ValueError, "whole"):
        fit_normalization(model, [])
    with refuses(TypeError, "data"):
        fit_normalization(model, [good, 3])
    with refuses(TypeError, "model"):
        fit_normalization(None, [good])
    with refuses(ValueError, "shape"):
        Normalization("whole", (0,))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_generated_data_are_normalised_as_training_begins(tmp_path):
    pytest.importorskip("lightning")
    from compvae_pyg.networks import Continuous, build_curves
    from compvae_pyg.nn import pack
    from compvae_pyg.problems import Problem, packed_batch
    from compvae_pyg.training import Schedule, TrainConfig, train

    class Loads(Problem):
        name, part_fields, event_shape = "loads", ("power",), (8,)

        def sample(self, num_parts, generator=None):
            batch, _ = pack(num_parts)
            power = 500.0 + 100.0 * torch.randn(batch.shape, generator=generator)
            whole = torch.zeros(len(num_parts), 8).index_add(
                0, batch, power.unsqueeze(1).repeat(1, 8)
            )
            return packed_batch({"power": power}, whole, num_parts)

    model = build_curves(fields={"power": Continuous()}, length=8)
    config = TrainConfig(output=tmp_path, progress=False)
    schedule = Schedule.staged(3, 16, max_parts=3, initial_rate=1e-3)
    train(Loads(), model, schedule, config)
    moments = {m.name: m for m in model.modules() if isinstance(m, Normalization)}
    assert int(moments["whole"].num_rows) == 2048
    assert_close(moments["power"].mean, torch.tensor([500.0]), rtol=0.0, atol=10.0)
    assert_close(moments["power"].std, torch.tensor([100.0]), rtol=0.0, atol=10.0)
    assert_close(moments["whole"].mean, torch.tensor([1000.0]), rtol=0.0, atol=50.0)
    # What was fitted stays as it is when training goes on, on other data too.
    before = moments["whole"].std.clone()
    again = TrainConfig(output=tmp_path / "again", progress=False, seed=1)
    train(Loads(), model, schedule, again)
    assert torch.equal(moments["whole"].std, before)
