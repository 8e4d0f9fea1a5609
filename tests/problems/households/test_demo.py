"""What the tab of the households shows, without a browser."""

import pytest
import torch

from compvae_pyg import CompVAE
from compvae_pyg.problems.households import SimulatedPool
from compvae_pyg.problems.households.demo import (
    KINDS,
    day_like,
    draw_days,
    peak_table,
    summary,
    time_table,
)

PUMPS = [n if pump else 0 for n, pump in KINDS]


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("safetensors")
    return CompVAE.from_pretrained("households-small").requires_grad_(False)


@pytest.fixture(scope="module")
def conditions():
    return SimulatedPool().conditions


def test_streets_without_homes_have_no_load(model, conditions):
    load = draw_days(model, [0] * 10, conditions[0], seed=0, number=20)
    assert load.shape == (20, 48) and load.unique().tolist() == [0.0]
    assert set(time_table(load, 0.5)["kW"]) == {0.0}
    assert set(peak_table(load)["share of days above"]) == {0.0}
    assert summary([0] * 10, load) == "no homes: no load"


def test_heat_pumps_make_peaks_on_cold_days_and_more_homes_more_load(model, conditions):
    cold, mild = (conditions[conditions[:, 0].argsort()[k]] for k in (3, 200))
    pumps, none = [10 * n for n in PUMPS], [10 * n for n in PUMPS[5:] + PUMPS[:5]]
    peak = {
        name: float(draw_days(model, counts, day, seed=0, number=200).amax(1).median())
        for name, counts, day in (
            ("cold", pumps, cold),
            ("mild", pumps, mild),
            ("without", none, cold),
            ("twice", [2 * n for n in none], cold),
        )
    }
    assert peak["cold"] > 1.5 * peak["mild"] and peak["cold"] > 1.5 * peak["without"]
    assert 1.7 < peak["twice"] / peak["without"] < 2.1


def test_the_same_seed_draws_the_same_days(model, conditions):
    first, again, other = (
        draw_days(model, 10 * [2], conditions[0], seed, number=3) for seed in (4, 4, 5)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_tables_hold_quantiles_of_what_is_drawn():
    load = torch.rand(400, 6, generator=torch.Generator().manual_seed(0))
    table = time_table(load, 4.0)
    assert table["hour"][:6] == [2.0, 6.0, 10.0, 14.0, 18.0, 22.0]
    high, middle, low, one = torch.tensor(table["kW"]).view(4, 6)
    assert ((load <= high).float().mean(0) - 0.95).abs().max() < 0.01
    assert ((load <= low).float().mean(0) - 0.05).abs().max() < 0.01
    assert (low < middle).all() and torch.equal(one, load[0])
    level, share = (torch.tensor(column) for column in peak_table(load).values())
    above = (load.amax(1, keepdim=True) > level).float().mean(0)
    assert (above - share).abs().max() < 0.01


def test_days_like_one_that_is_cold_are_dark_and_stay_within_those_there_are(conditions):
    cold, warm = day_like(conditions, -5.0), day_like(conditions, 20.0)
    assert warm[1] > 2.0 * cold[1] and -6.0 < cold[0] < -2.5
    dark, light = (day_like(conditions, 10.0, daylight) for daylight in (60.0, 220.0))
    assert light[2] > dark[2]
    for given in ((-40.0,), (60.0,), (10.0, 900.0)):
        like = day_like(conditions, *given)
        assert bool((like >= conditions.amin(0)).all() and (like <= conditions.amax(0)).all())


def test_a_street_is_told_in_a_sentence():
    text = summary([1] + [0] * 9, torch.full((5, 48), 2.0))
    assert text.startswith("1 home, 0 with a heat pump: a peak of 2 kW")
    assert "3 homes, 2 with" in summary([1, 0, 0, 0, 0, 2, 0, 0, 0, 0], torch.ones(5, 48))
