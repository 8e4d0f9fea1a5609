"""What makes a run another one: its checkpoint is then no start for it."""

import copy
import inspect
import math
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data

from compvae_pyg import Dots, Sines
from compvae_pyg.identity import flat, networks
from compvae_pyg.models import CompVAEEncoder
from compvae_pyg.models.hub import _BUILDERS
from compvae_pyg.training import TrainConfig

# What may change from one part of a run to the next: where, how often and with what it is said.
FREE = {"output", "resume", "num_nodes", "strategy", "checkpoint_every", "log_every", "progress"}
CHANGED = {
    "seed": 1,
    "accumulate": 2,
    "devices": 2,
    "accelerator": "cuda",
    "precision": "bf16-mixed",
    "compile": True,
}


def test_each_option_of_a_run_is_free_or_part_of_its_identity():
    assert {field.name for field in fields(TrainConfig)} == FREE | set(CHANGED)


@pytest.mark.parametrize("name", sorted(set(CHANGED) - {"devices"}))
def test_an_option_that_changes_what_is_trained_is_another_run(tmp_path, run, refuses, name):
    run(tmp_path)
    option = "device" if name == "accelerator" else name
    with refuses(ValueError, option):
        run(tmp_path, resume=True, **{name: CHANGED[name]})


def changed_options(problem, preset):
    for name, option in inspect.signature(_BUILDERS[problem][preset]).parameters.items():
        match option.default:
            case bool():
                yield name, not option.default
            case int():
                yield name, option.default * 2
            case float():
                yield name, option.default * 2
            case str():
                yield name, {"paper": "scaled", "scaled": "paper", "sum": "mean"}[option.default]


@pytest.mark.parametrize("problem", [Dots(), Sines()])
def test_each_option_of_the_networks_is_seen_in_them(problem):
    def identity(**options):
        return dict(flat(networks(_without_config(problem.build("small", **options)))))

    default = identity()
    assert identity() == default
    for name, value in changed_options(problem.name, "small"):
        if name == "num_categories":
            continue  # the problem's own
        assert identity(**{name: value}) != default, name


def _without_config(model):
    model.config = None  # names the options that it was built with, which others may not have
    return model


@pytest.mark.parametrize(
    "options",
    [
        {"aggr": "mean"},
        {"coupling": "scaled"},
        {"part_noise": False},
        {"prior_coupling": True},
        {"posterior_init": "low_variance"},
    ],
)
def test_other_networks_are_another_run(tmp_path, run, tiny, refuses, options):
    run(tmp_path)
    model = tiny.build()
    sizes = {"hidden_channels": 6, "w_channels": 3, "z_channels": 2, "num_blocks": 1}
    model.encoder = CompVAEEncoder(4, 2, **sizes, **options)
    with pytest.raises(ValueError, match=r"another run: .*model.encoder"):
        run(tmp_path, model, resume=True)


def test_parameters_that_are_not_trained_or_tied_are_another_run(tmp_path, run, tiny, refuses):
    run(tmp_path)
    frozen, typed = tiny.build(), tiny.build().double()
    frozen.generator.w_prior.net.bias.requires_grad_(False)
    for model, name in ((frozen, "w_prior.net.bias"), (typed, "weight")):
        with pytest.raises(ValueError, match=f"another run: .*{name}"):
            run(tmp_path, model, resume=True)
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    before = dict(flat(networks(tied)))
    tied[1].weight = tied[0].weight
    assert dict(flat(networks(tied))) != before


def test_a_problem_of_another_class_or_data_is_another_run(tmp_path, run, tiny, refuses):
    tiny.curves = torch.zeros(3)
    run(tmp_path)
    tiny.curves = torch.tensor([0.0, 0.0, 1e-9])
    with refuses(ValueError, "parameters.curves"):
        run(tmp_path, resume=True)
    del tiny.curves
    tiny.__class__ = type("Other", (type(tiny),), {})
    with refuses(ValueError, "Other"):
        run(tmp_path, resume=True)


def test_each_number_of_a_schedule_is_part_of_the_run(tiny):
    schedule = tiny.schedule()
    default = dict(flat(schedule))
    for changed in (
        {"batch_size": 4},
        {"betas": (0.5, 0.8)},
        {"max_grad_norm": None},
        {"curriculum": replace(schedule.curriculum, per="batch")},
        {"learning_rate": replace(schedule.learning_rate, hold=1)},
        {"stages": (*schedule.stages[:2], replace(schedule.stages[2], anneal=0.5))},
    ):
        assert dict(flat(replace(schedule, **changed))) != default, changed


def test_what_the_last_bits_depend_on_is_reported(tmp_path, run, model, faults):
    faults.crash = 9
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, model)
    torch.set_num_threads(2)
    try:
        with pytest.warns(RuntimeWarning, match="threads is 1 there and 2 here"):
            run(tmp_path, resume=True)
    finally:
        torch.set_num_threads(1)


@dataclass
class Nested:
    values: dict
    kind: type = float


class Kind(Enum):
    A = 1


def test_values_of_all_kinds_have_a_plain_identity_that_does_not_change():
    class Text(str):
        pass

    value = {
        "nested": Nested({"x": [1, 2.5, None, True]}),
        "names": {"b", "a"},
        "nan": math.nan,
        "number": np.float32(0.5),
        "type": torch.float64,
        "path": Path("a/b"),
        "kind": Kind.A,
        "text": Text("x"),
        "function": math.sin,
        "object": object(),
    }
    plain = dict(flat(value))
    assert plain == dict(flat(value))
    assert all(type(v) in (bool, int, float, str, type(None)) for v in plain.values())
    assert (plain["nested.values.x.1"], plain["nested.kind"]) == (2.5, "float")
    assert (plain["names.0"], plain["kind"], plain["number"]) == ("'a'", "Kind.A", 0.5)


def test_data_and_networks_of_a_problem_are_distinguished_by_their_content():
    torch.manual_seed(0)
    values = {
        "names": (np.array(["a", "b"]), np.array(["a", "c"])),
        "view": (np.arange(6.0)[::-2], np.arange(6.0)[::2]),
        "order": (np.arange(3, dtype=">f4"), np.arange(3, dtype=">f4") + 1),
        "data": (Data(x=torch.zeros(2)), Data(x=torch.ones(2))),
        "network": (nn.Linear(1, 1), nn.Linear(1, 1)),
        "option": (nn.ELU(1.0), nn.ELU(2.0)),
    }
    for name, (one, other) in values.items():
        assert dict(flat(one)) == dict(flat(copy.deepcopy(one))) != dict(flat(other)), name
    assert dict(flat(values["order"][0])) == dict(flat(torch.arange(3.0)))


# Longer runs


def test_a_finished_run_goes_on_if_more_steps_are_asked_for(tmp_path, run, tiny, read_rows):
    first = copy.deepcopy(run(tmp_path).state_dict())
    with pytest.warns(RuntimeWarning, match="20 steps goes on to 30"):
        model = run(tmp_path, resume=True, schedule=tiny.schedule(30))
    rows = read_rows(tmp_path)
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12, 15, 18, 20, 21, 24, 27, 30]
    assert {row["stage"] for row in rows[6:]} == {"whole"}
    assert all(row["beta_z"] == "2" for row in rows[7:])
    assert any((value != first[name]).any() for name, value in model.state_dict().items())
    # It is then a run of so many steps: as it is, or longer still, but not shorter.
    again = run(tmp_path, resume=True, schedule=tiny.schedule(30)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    for shorter in (25, 20):
        with pytest.raises(ValueError, match="30"):
            run(tmp_path, resume=True, schedule=tiny.schedule(shorter))


def test_a_longer_run_that_is_interrupted_comes_out_the_same(tmp_path, run, tiny, faults, model):
    run(tmp_path / "one")
    run(tmp_path / "two", model)
    with pytest.warns(RuntimeWarning, match="goes on"):
        whole = run(tmp_path / "one", resume=True, schedule=tiny.schedule(30))
    faults.crash = 27
    with pytest.raises(OSError, match="power cut"), pytest.warns(RuntimeWarning, match="goes on"):
        run(tmp_path / "two", model, resume=True, schedule=tiny.schedule(30))
    resumed = run(tmp_path / "two", resume=True, schedule=tiny.schedule(30)).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.state_dict().items())


def test_a_longer_run_of_other_numbers_is_another_run(tmp_path, run, tiny, refuses):
    run(tmp_path)
    with refuses(ValueError, "betas"):
        run(tmp_path, resume=True, schedule=replace(tiny.schedule(30), betas=(0.5, 0.8)))
