"""Networks of loads: moments grow with the number of parts as they should, from 1 to 10,000."""

import pytest
import torch
from torch_geometric.data import Data

from compvae_pyg.networks import Categorical, Conditions, Continuous, build_loads, fit_normalization
from compvae_pyg.nn import PackedParts

FIELDS = {"kind": Categorical(3), "area": Continuous()}


def build(**options):
    torch.manual_seed(0)
    return build_loads(
        fields=FIELDS, length=12, hidden_channels=16, part_hidden_channels=16, **options
    ).eval()


def parts(*counts, sets=1, **options):
    kinds = {
        "kind": torch.arange(3).repeat(sets),
        "area": torch.tensor([0.5, 1.0, 1.5]).repeat(sets),
    }
    batch = torch.arange(sets).repeat_interleave(3)
    return PackedParts(kinds, batch, sets, count=torch.tensor(counts).repeat(sets), **options)


@pytest.mark.parametrize("family", ["normal", "lognormal", "power"])
def test_means_grow_with_the_number_of_parts_and_spreads_with_its_root(family):
    model = build(family=family, rank=3, unit=0.5)
    found = []
    for size in (1, 100, 10_000):
        w_sum = model.generator.w_sum_prior(parts(size, size, size)).mean
        p = model.generator.likelihood(w_sum, torch.zeros(1, 8))
        found.append((p.mean / size, p.stddev / size**0.5))
    for mean, std in found[1:]:  # what a factor reads of 1 / sqrt(K) is zero at first
        torch.testing.assert_close(mean, found[0][0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(std, found[0][1], rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("family", ["normal", "lognormal", "power"])
def test_numbers_are_finite_for_any_number_of_parts_and_any_latent(family):
    model = build(family=family, rank=3, unit=0.5)
    for parameter in model.generator.decoder.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)  # also far from where they start
    for size in (0, 1, 10_000, 1_000_000):
        x = model.generate(parts(size, size, size, sets=50))
        assert bool(x.isfinite().all())
        if family != "normal":
            assert bool((x >= 0).all())
    w_sum = 1e4 * torch.randn(20, model.encoder.w_channels)
    p = model.generator.likelihood(w_sum, 30.0 * torch.randn(20, 8))
    assert bool(p.mean.isfinite().all()) and bool(p.stddev.isfinite().all())


@pytest.mark.parametrize("context", [None, torch.tensor([[0.5]])])
def test_what_the_whole_shares_moves_each_part_alike_however_many_they_are(context):
    model = build(unit=0.5, context_channels=0 if context is None else 1)
    torch.nn.init.normal_(model.generator.decoder.shared[-1].weight, std=0.1)
    z = torch.randn(1, 8)
    ratios = []
    for size in (2, 2000):
        w_sum = model.generator.w_sum_prior(parts(size, size, size, context=context)).mean
        one, two = (model.generator.likelihood(w_sum, s * z, context).mean for s in (0.0, 1.0))
        ratios.append(two / one)
    assert bool(((ratios[0] - 1).abs() > 0.01).any())
    torch.testing.assert_close(*ratios, rtol=1e-4, atol=0)


def test_what_the_whole_shares_moves_kinds_as_their_codes_are_moved():
    model = build(codes=2).double()
    decoder = model.generator.decoder
    decoder.shared[-1].weight.data.zero_()
    decoder.shared[-1].bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    z = torch.zeros(1, 8, dtype=torch.float64)

    def mean(first, second):  # of 10 parts, half of each of two kinds of codes
        per_part = torch.tensor([[1.0, first, second, 1.0, 1.0, *[0.0] * 12]]).double()
        return decoder(10.0 * per_part, z).mean

    moved, still = (mean(*codes) for codes in ((1.0, 0.0), (0.0, 1.0)))
    decoder.shared[-1].bias.data.zero_()
    assert bool((moved > 2.0 * mean(1.0, 0.0)).all())  # bounded: 2.5 tanh(0.4) = 0.95
    torch.testing.assert_close(still, mean(0.0, 1.0))


def test_what_few_parts_share_may_spread_further_than_what_many_do():
    prior = build().generator.z_prior
    prior.net.moments.data = torch.stack([torch.full((16,), 0.5), torch.full((16,), 1.0)])
    w_sum = torch.zeros(3, 45)
    w_sum[:, 0] = torch.tensor([1.0, 4.0, 10_000.0])
    p = prior(w_sum)
    expected = 0.5 + 1.0 / w_sum[:, 0]
    torch.testing.assert_close(p.mean[:, 0], expected)
    torch.testing.assert_close(p.stddev[:, 0], (expected / 2).exp())
    assert not build(context_channels=1).generator.z_prior.net.state_dict()


def test_loads_are_draws_unless_the_mean_is_asked_for():
    model = build()
    torch.manual_seed(0)
    draws = model.generate(parts(1, 1, 1, sets=400))
    mean = model.generate(parts(1, 1, 1, sets=400), observation_noise=False)
    assert float(draws.var(0).mean()) > 1.5 * float(mean.var(0).mean())


def test_days_outside_of_the_training_data_are_warned_of(refuses):
    model = build(context_channels=2)
    weather = torch.tensor([[-5.0, 0.0], [20.0, 1.0]])
    area, kind = torch.rand(4), torch.zeros(4, dtype=torch.long)
    fit_normalization(model, Data(context=weather, area=area, kind=kind))
    assert any(isinstance(m, Conditions) for m in model.modules())
    model.generate(parts(1, 1, 1, context=weather[:1]))
    with pytest.warns(UserWarning, match=r"context\[:, 0\].*\[-5, 20\].*-12"):
        model.generate(parts(1, 1, 1, context=torch.tensor([[-12.0, 1.0]])))
    with refuses(ValueError, "context"):
        model.generate(parts(1, 1, 1))
    with refuses(ValueError, "context"):
        build().generate(parts(1, 1, 1, context=weather[:1]))
    with refuses(ValueError, "context"):
        model.generate(parts(1, 1, 1, context=torch.zeros(1, 3)))


def test_kinds_that_training_did_not_have_are_warned_of():
    model = build().train()
    seen = {"kind": torch.tensor([0, 2]), "area": torch.ones(2)}
    model.generate(seen)
    model.eval().generate(seen)
    with pytest.warns(UserWarning, match="kind 1 was never seen"):
        model.generate({"kind": torch.tensor([0, 1]), "area": torch.ones(2)})
    with pytest.warns(UserWarning, match="'cars'"):
        model.generate({**seen, "cars": torch.tensor([0, 1])})


def test_options_out_of_range_are_refused(refuses):
    with refuses(ValueError, "rank"):
        build(rank=0)
    with refuses(ValueError, "unit"):
        build(unit=0.0)
    with refuses(ValueError, "family"):
        build(family="cauchy")


def test_reset_draws_all_parameters_anew():
    model = build(context_channels=1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.reset_parameters()
    constant = {n for n, v in model.named_parameters() if len(v.unique()) <= 3}
    changed = {n for n, v in model.named_parameters() if not torch.equal(v, before[n])}
    assert changed | constant == set(before)
