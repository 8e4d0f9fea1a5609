"""Homes of one day: drawn without replacement, sharing their day, split by day and home."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from compvae_pyg.evaluation import evaluate_ensembles, nearest_distances
from compvae_pyg.networks import Categorical
from compvae_pyg.problems import problem_of
from compvae_pyg.problems.households import Households, Pool, SimulatedPool
from compvae_pyg.problems.households.pool import choose


@pytest.fixture(scope="module")
def held_out():
    return Households().held_out()


def measured(homes=6, days=10, missing=()):
    # The load tells home and day: 100 h + d.
    load = (100.0 * torch.arange(homes).view(-1, 1, 1) + torch.arange(days).view(1, -1, 1)) + 1.0
    load = load.repeat(1, 1, 4)
    for home, day in missing:
        load[home, day, 2] = math.nan
    kinds = {"kind": torch.arange(homes) % 2}
    weather = torch.arange(float(days)).unsqueeze(1)
    return Pool("mine", load, kinds, {"kind": Categorical(2)}, weather, ("temperature",))


def test_a_home_is_chosen_once_before_all_were():
    group = torch.arange(50).repeat_interleave(12)
    for homes in (12, 48, 13):
        chosen = choose(group, homes, torch.Generator().manual_seed(0)).view(50, 12)
        assert all(len(row.unique()) == 12 for row in chosen)
        assert chosen.min() >= 0 and chosen.max() < homes
    pairs = choose(torch.arange(20_000).repeat_interleave(2), 6).view(-1, 2)
    count = torch.zeros(6, 6).index_put((pairs[:, 0], pairs[:, 1]), torch.ones(len(pairs)), True)
    assert float(count.diagonal().sum()) == 0.0
    assert float(count.sum(1).min() / count.sum(1).max()) > 0.9


def test_homes_of_a_pool_are_of_one_day_and_without_replacement():
    problem = Households(measured())
    data = problem.sample(torch.full((40,), 4), torch.Generator().manual_seed(0))
    parts, load = problem.pool.sample(torch.tensor([3] * 20), torch.full((20,), 6))
    home, day = (load[:, 0] - 1).long() // 100, (load[:, 0] - 1).long() % 100
    assert bool((day == 3).all())
    assert all(len(row.unique()) == 6 for row in home.view(20, 6))
    assert torch.equal(parts["kind"], home % 2)
    day = data.context[:, 0]
    assert torch.equal((data.whole[:, 0] - 4) % 100, 4 * day % 100)


def test_days_without_readings_of_a_home_go_without_it(refuses):
    pool = measured(missing=[(0, 3), (1, 3)])
    assert pool.most_parts == 4 and Households(pool).max_parts == 4
    _, load = pool.sample(torch.full((50,), 3), torch.full((50,), 4))
    assert float(load.min()) > 200 and bool(load.isfinite().all())
    with refuses(ValueError, "num_parts"):
        pool.sample(torch.tensor([3]), torch.tensor([5]))
    # One day in ten with few homes takes no homes from the others.
    few = Households(measured(days=11, missing=[(h, 3) for h in range(4)]))
    assert few.max_parts == 6
    days = few.pool.draw_days(torch.tensor(200 * [2, 6]), torch.Generator().manual_seed(0))
    assert (
        set(days[0::2].tolist()) == set(range(11)) > set(days[1::2].tolist()) == {*range(11)} - {3}
    )
    assert few.sample(torch.full((50,), 6)).whole.isfinite().all()
    with refuses(ValueError, "num_parts"):
        few.sample(torch.tensor([7]))
    with refuses(ValueError, "home"):
        measured(homes=2, days=1, missing=[(0, 0)])


def test_measured_homes_are_told_apart_by_a_field_of_few_categories(refuses):
    pool = measured()
    assert Households(pool).kinds(6) == {"homes": None}
    known = replace(pool, categories={"kind": ("flat", "house")})
    problem = Households(known)
    kinds = problem.kinds(6)
    assert kinds == {"kind flat": {"kind": 0}, "kind house": {"kind": 1}}
    assert problem.kinds(1) == {"homes": None}
    data = problem.ensembles(2, 30, of=kinds["kind house"])
    assert data.whole.shape == (30, 4) and bool((data.kind == 1).all())
    assert problem.pool is known
    with refuses(ValueError, "of"):
        problem.ensembles(2, 30, of={"kind": 2})


def test_homes_are_chosen_a_chunk_at_a_time(monkeypatch):
    pool = measured()
    monkeypatch.setattr("compvae_pyg.problems.households.pool._SCORES", 12)
    parts, load = pool.sample(torch.arange(10), torch.arange(10) % 6 + 1)
    home, day = (load[:, 0] - 1).long() // 100, (load[:, 0] - 1).long() % 100
    assert torch.equal(day, torch.arange(10).repeat_interleave(torch.arange(10) % 6 + 1))
    assert torch.equal(parts["kind"], home % 2)
    assert len(torch.stack([home, day]).unique(dim=1).T) == len(load)


def test_splits_by_day_and_by_home_share_neither(refuses):
    kept, other = measured().split(every_day=5, every_home=3)
    assert kept.load.shape == (4, 8, 4) and other.load.shape == (2, 2, 4)
    assert set(other.load[:, :, 0].flatten().tolist()) == {205.0, 210.0, 505.0, 510.0}
    assert not set(kept.conditions.flatten().tolist()) & set(other.conditions.flatten().tolist())
    for option in ({"every_day": 11}, {"every_home": 7}):
        with refuses(ValueError, next(iter(option))):
            measured().split(**option)
    problem = Households(measured(), "hidden").split()
    assert problem.held_out().pool.num_days == 2 and problem.held_out().day == "hidden"
    assert "context" not in problem.sample(torch.tensor([2]))


def test_simulated_homes_share_cold_days_by_their_heat_pumps(held_out):
    pool = held_out.pool
    day = torch.arange(pool.num_days).repeat_interleave(20)
    energy = {}
    for pump in (0, 1):
        parts = {"residents": torch.full_like(day, 2), "heat_pump": torch.full_like(day, pump)}
        load = pool.draw(day, parts, torch.arange(len(day)), torch.Generator().manual_seed(0))
        energy[pump] = load.mean(1).view(pool.num_days, 20)
    temperature = pool.conditions[:, 0]
    # Two homes of a day are hardly correlated without heat pumps, and much with them.
    r = {}
    for pump, value in energy.items():
        between = value.mean(1).var() - value.var(1).mean() / 20
        r[pump] = float(between / value.flatten().var())
    assert r[0] < 0.1 and r[1] > 0.5
    both = torch.stack([energy[1].mean(1), temperature])
    assert float(torch.corrcoef(both)[0, 1]) < -0.9


def test_held_out_days_are_not_those_of_training(held_out):
    days = {split: set(SimulatedPool(split).days) for split in ("training", "held_out", "many")}
    assert not days["training"] & days["held_out"] and days["many"] <= days["held_out"]
    assert len(days["training"] | days["held_out"]) == 365
    assert held_out.held_out() is not None


def test_ensembles_have_one_composition_and_all_days_alike(held_out):
    data = held_out.ensembles(10, 146)
    fields = torch.stack([data.residents, data.heat_pump], dim=1).view(146, 10, 2)
    assert bool((fields == fields[0]).all()) and data.heat_pump[:10].sum() == 5
    days, number = data.context.unique(dim=0, return_counts=True)
    assert len(days) == 73 and bool((number == 2).all())
    apart = held_out.ensembles(3, 10, own_days=True)
    assert apart.whole.shape == (30, 48) and len(apart.context.unique(dim=0)) > 20


def test_sums_of_independent_homes_understate_what_homes_share(held_out):
    model = held_out.build("small", hidden_channels=16, part_hidden_channels=16)
    rows = evaluate_ensembles(
        model, held_out, training=Households(), num_parts=(1, 16), num_wholes=600
    )
    by_name = {(row.sample, row.num_parts): row for row in rows}
    assert 0.8 < by_name["true", 16].energy_variance_ratio < 1.25
    assert by_name["independent", 16].energy_variance_ratio < 0.4
    assert 0.1 < by_name["true", 16].same_day_r < 0.4
    assert 0.7 < by_name["gaussian", 16].energy_variance_ratio < 1.4
    assert by_name["generated", 1].true_admd > by_name["generated", 16].true_admd
    assert all(row.formatted() for row in rows)


def test_networks_are_saved_with_their_problem(tmp_path, refuses):
    problem = Households(day="hidden")
    model = problem.build("small", hidden_channels=16, part_hidden_channels=16)
    model.save_pretrained(tmp_path)
    again = problem_of(type(model).from_pretrained(tmp_path))
    assert isinstance(again, Households) and again.day == "hidden"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"]["context_channels"] == 0
    with refuses(ValueError, "pool"):
        Households(source="mine")
    with refuses(ValueError, "day"):
        Households(
            Pool("x", torch.rand(2, 3, 4), {"k": torch.zeros(2).long()}, {"k": Categorical(1)})
        )


def test_copies_of_training_curves_are_nearer_than_others():
    draw = np.random.default_rng(0)
    train, other = (torch.tensor(draw.normal(size=(300, 8))) for _ in range(2))
    copies = train[:50] + 0.01
    assert nearest_distances(copies, train).max() < nearest_distances(other, train).min()
