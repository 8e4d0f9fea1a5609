"""Conditions of wholes: the networks that take them read them, whichever method is called."""

import copy
import math
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch_geometric.data import Batch, Data

from compvae_pyg import CompVAE, CompVAEEncoder, CompVAEGenerator, NormalNetwork
from compvae_pyg.models import SeparateEmbedding
from compvae_pyg.models.attribution import attribute
from compvae_pyg.models.ranking import rank_parts
from compvae_pyg.models.staged_elbo import staged_elbo
from compvae_pyg.nn import PackedParts
from compvae_pyg.simulation import rare_wholes

W, Z, T, F = 4, 3, 5, 2


class Reads(nn.Module):
    """A linear network of all its inputs and the context."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels + F, out_channels)

    def forward(self, *values, context):
        return self.lin(torch.cat([*values, context], dim=1))


class Joins(Reads):
    """The same without a context."""

    def forward(self, *values):
        zero = values[0].new_zeros(len(values[0]), F)
        return self.lin(torch.cat([*values, zero], dim=1))


def build(readers="wzxq", residual=True):
    torch.manual_seed(0)
    pick = {name: Reads if name in readers else Joins for name in "wzxq"}
    return CompVAE(
        encoder=CompVAEEncoder(8, 6, hidden_channels=8, w_channels=W, z_channels=Z, num_blocks=1),
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(pick["w"](2, 2 * W), 0.1),
            z_prior=NormalNetwork(pick["z"](W, 2 * Z), 0.1),
            decoder=NormalNetwork(pick["x"](W + Z, 2 * T), 0.1, event_dims=1),
        ),
        embedding=SeparateEmbedding(pick["q"](T, 8), pick["q"](2, 6)),
        event_shape=(T,),
        residual_posterior=residual,
    ).eval()


def data(**options):
    torch.manual_seed(1)
    batch = torch.tensor([0, 0, 1, 2, 2, 2])
    context = torch.randn(3, F)
    return torch.randn(3, T), PackedParts(torch.randn(6, 2), batch, 3, context=context, **options)


def seeded(call):
    torch.manual_seed(7)
    return call()


METHODS = {
    "elbo": lambda m, x, p: m.elbo(x, p).elbo,
    "parts": lambda m, x, p: staged_elbo(m, x, p, inferred="parts").elbo,
    "none": lambda m, x, p: staged_elbo(m, x, p, inferred="none").elbo,
    "generate": lambda m, x, p: m.generate(p),
    "compose": lambda m, x, p: m.compose(p).decode().mean,
    "sample": lambda m, x, p: m.compose(p).sample(),
    "infer": lambda m, x, p: m.infer(x, p).decode_mean(),
    "log_likelihood": lambda m, x, p: m.log_likelihood(x, p, num_samples=3),
    "attribute": lambda m, x, p: attribute(m, x, p).kl_w,
    "forward": lambda m, x, p: m.generator(p).mean,
}
READ_BY = {
    "w": set(METHODS) - {"infer"},
    "z": set(METHODS) - {"attribute", "infer"},
    "x": set(METHODS) - {"attribute"},
    "q": {"elbo", "parts", "infer", "log_likelihood", "attribute"},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_context_reaches_the_networks_that_take_it_and_its_own_set_alone(name):
    method, (whole, parts) = METHODS[name], data()
    other = copy.copy(parts)
    assert isinstance(parts.context, torch.Tensor)
    other.context = parts.context + torch.tensor([[0.0], [1.0], [0.0]])
    for reader, methods in READ_BY.items():
        model = build(reader if reader != "q" else "qx", residual=False)
        if reader == "q":  # one network of the generative model must take it, and may not care
            model.generator.decoder.net.lin.weight.data[:, -F:] = 0.0
        one, two = (
            seeded(partial(method, model, whole, p)).detach().view(3, -1) for p in (parts, other)
        )
        assert (one - two).abs().gt(1e-5).any(dim=1).tolist() == [False, name in methods, False]


def test_named_fields_and_integers_are_read_as_they_are():
    class Named(nn.Module):
        def forward(self, w_sum, context):
            loc = context["load"] * 10.0 ** context["day"].unsqueeze(1)
            return Normal(loc.expand(-1, Z), 1e-9, validate_args=False)

    model, (_, parts) = build(""), data()
    model.generator.z_prior = Named()
    context = {"load": torch.ones(3, 1).double(), "day": torch.tensor([0, 1, 2])}
    packed = PackedParts(parts.fields, parts.batch, 3, context=context)
    z = model.compose(packed).z
    assert z.dtype == torch.float32
    torch.testing.assert_close(z[:, 0], torch.tensor([1.0, 10.0, 100.0]))
    repeated = packed.repeat(2).select([4, 1]).context
    assert repeated["day"].tolist() == [1, 1]


def test_operations_on_sets_carry_the_context_of_each(refuses):
    _, parts = data(count=torch.tensor([1, 2, 3, 1, 1, 1]))
    mark = PackedParts(parts.fields, parts.batch, 3, context=torch.tensor([[0.0], [1.0], [2.0]]))
    assert mark.part_context.flatten().tolist() == [0, 0, 1, 2, 2, 2]
    assert mark.select([2, 0]).context.flatten().tolist() == [2, 0]
    assert mark.repeat(2).context.flatten().tolist() == [0, 1, 2, 0, 1, 2]
    assert [c.context.flatten().tolist() for _, c in mark.split(2)] == [[0, 1], [2]]
    assert mark.rows(slice(2, 6)).context.flatten().tolist() == [1, 2]
    assert mark.pad(8).context.shape == (4, 1)
    assert mark.without([0, 1]).context is mark.context
    assert mark.to(dtype=torch.float64).context.dtype == torch.float64
    assert mark.cat(mark).context is mark.context
    with refuses(ValueError, "context"):
        mark.cat(parts)
    assert repr(mark) == "PackedParts(num_parts=6, batch_size=3, context)"


@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_do_not_change_what_is_drawn(chunk_size):
    model, (whole, parts) = build(), data()
    for draw in (
        lambda size: model.generate(parts, chunk_size=size, observation_noise=True),
        lambda size: model.infer(whole, parts, chunk_size=size).decode().mean,
        lambda size: model.log_likelihood(whole, parts, num_samples=2, chunk_size=size),
        lambda size: model.compose(parts).sample(chunk_size=size),
    ):
        many, few = (seeded(partial(draw, size)) for size in (1024, chunk_size))
        torch.testing.assert_close(many, few)


def test_counts_of_kinds_on_several_days_have_the_moments_of_their_parts():
    model = build("w")
    model.generator.z_prior = NormalNetwork(Joins(W, 2 * Z), 0.1)
    kinds, counts = torch.randn(2, 2), torch.tensor([[2, 3], [40, 0]])
    days = torch.randn(2, F)
    rows = PackedParts(kinds, context=days[:1]).repeat(2)
    rows.context = days
    prior = model.generator.prior_w(rows)
    expected = (counts.flatten().unsqueeze(1) * prior.mean).view(2, 2, W).sum(dim=1)
    packed = PackedParts(rows.fields, rows.batch, 2, count=counts.flatten(), context=days)
    torch.testing.assert_close(model.generator.w_sum_prior(packed).mean, expected)
    dense = seeded(lambda: model.generate_counts(counts, kinds, context=days))
    torch.testing.assert_close(dense, seeded(lambda: model.generate(packed)))


def test_compositions_keep_their_conditions(refuses):
    model, (_, parts) = build(), data()
    days = model.compose(parts)
    more = days.add(torch.zeros(1, 2), batch=1)
    assert more.parts.context is parts.context
    assert torch.equal(more.remove(3).decode().mean, days.decode().mean)
    torch.testing.assert_close(days.select(2).decode().mean, days.decode().mean[2:])
    assert torch.equal((days + days - days).w, days.w)
    with refuses(ValueError, "context"):
        days.merge(days.select([1, 0, 2]))


def test_a_batch_of_data_has_its_own_context(refuses):
    _, parts = data()
    rows = [parts.select(s) for s in range(3)]
    batch = Batch.from_data_list(
        [Data(x=r.fields, num_nodes=r.num_parts, context=r.context) for r in rows]
    )
    packed = PackedParts.of(batch)
    assert isinstance(packed.context, torch.Tensor) and list(packed.fields) == ["x"]
    assert torch.equal(packed.context, parts.context)
    named = [Data(x=torch.zeros(1, 2), context={"day": torch.tensor([k])}) for k in range(2)]
    assert PackedParts.of(Batch.from_data_list(named)).context["day"].tolist() == [0, 1]
    with refuses(ValueError, "context"):
        PackedParts.of(batch, context=parts.context)


def test_rare_wholes_of_a_day_are_those_of_brute_force():
    model = build("wzx")
    with torch.no_grad():
        for network in (model.generator.w_prior, model.generator.z_prior):
            network.net.lin.weight.mul_(0.3)
    parts, day = torch.randn(3, 2), torch.randn(1, F)
    given = {"context": day, "observation_noise": True}
    rare = rare_wholes(
        model,
        parts,
        lambda x: x.amax(dim=1),
        probability=0.05,
        num_samples=2000,
        generator=torch.Generator().manual_seed(0),
        progress=False,
        **given,
    )
    packed = PackedParts(parts, context=day).repeat(20_000)
    draws = model.generate(
        packed, observation_noise=True, generator=torch.Generator().manual_seed(1)
    )
    share = float((draws.amax(dim=1) > rare.level).double().mean())
    assert math.isclose(share, 0.05, rel_tol=0.25)


def test_candidates_may_have_been_made_on_days_of_their_own():
    model, (whole, parts) = build(), data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samples are few
        found = rank_parts(model, whole[:1], parts.fields, parts.batch, context=parts.context)
    assert found.log_likelihood.shape == (3,)


def test_wrong_contexts_are_refused(refuses):
    model, (whole, parts) = build(), data()
    fields, batch = parts.fields, parts.batch
    for wrong in (torch.zeros(2, F), torch.tensor(1.0), {}, {"day": torch.zeros(4)}):
        with refuses(ValueError, "context"):
            model.generate(fields, batch, context=wrong)
    with refuses(ValueError, "context"):
        model.elbo(whole, fields, batch, context=torch.full((3, F), math.nan))
    with refuses(TypeError, "context"):
        model.generate(fields, batch, context=[1.0, 2.0, 3.0])
    with refuses(ValueError, "context"):
        model.generate(fields, batch)
    with refuses(ValueError, "context"):
        build("q").generate(fields, batch, context=parts.context)
    with refuses(ValueError, "context"):
        model.generate(parts, context=parts.context)


@pytest.mark.slow
def test_networks_with_a_context_compile():
    model, (whole, parts) = build(), data()
    fast = torch.compile(staged_elbo, backend="eager", fullgraph=True)
    one, two = (
        seeded(lambda f=f: f(model, whole, parts, inferred="all").elbo) for f in (staged_elbo, fast)
    )
    torch.testing.assert_close(one, two)
