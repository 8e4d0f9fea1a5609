import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import importlib.util, json, os, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("tiny", sys.argv[1])
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
output, options = sys.argv[2], json.loads(sys.argv[3])
rank = int(os.environ.get("LOCAL_RANK", 0))
problem = tiny.Tiny()
torch.manual_seed(1)
model = problem.build()
faults = tiny.Faults(model)
if rank == 1:
    faults.not_finite = set(options["not_finite"])
faults.crash = options["crash"]
config = tiny.TrainConfig(output=output, accelerator="cpu", devices=2, checkpoint_every=4,
                          log_every=10, progress=False, resume=options["resume"])
model = tiny.train(problem, model, problem.schedule(), config)
kl_w = torch.cat([t.kl_w for t in faults.terms[-10:]]).mean().item()
torch.save({"weights": model.state_dict(), "kl_w": kl_w}, f"{output}/rank{rank}.pt")
"""


@pytest.fixture
def train_on_two(tiny, tmp_path):
    """Train in two processes, of which the second has the bad steps."""

    def call(name, not_finite=(), crash=None, resume=False, launcher=()):
        output = tmp_path / name
        options = {"not_finite": list(not_finite), "crash": crash, "resume": resume}
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        conftest = sys.modules[type(tiny).__module__].__file__
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, *launcher, script, conftest, output, json.dumps(options)],
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) == (crash is None), done.stderr
        return output

    return call


def rank(output, number):
    return torch.load(output / f"rank{number}.pt", weights_only=True)


@pytest.mark.slow
def test_ranks_stay_together_through_a_bad_step_of_one(train_on_two):
    output = train_on_two("whole", not_finite=[2, 13])
    one, two = rank(output, 0), rank(output, 1)
    for name, value in one["weights"].items():
        assert torch.equal(value, two["weights"][name])
        assert bool(torch.isfinite(value).all())
    with (output / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["skipped_steps"]) for row in rows] == [1, 2]


@pytest.mark.slow
def test_rows_are_averages_over_the_ranks(train_on_two):
    output = train_on_two("whole")
    with (output / "metrics.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    kl_w = [rank(output, number)["kl_w"] for number in (0, 1)]
    assert kl_w[0] != kl_w[1]
    assert float(last["kl_w_nats"]) == pytest.approx(sum(kl_w) / 2, rel=1e-5)


@pytest.mark.slow
def test_ranks_resume_each_from_its_own_random_state(train_on_two):
    expected = train_on_two("whole")
    output = train_on_two("crashed", crash=14)
    train_on_two("crashed", resume=True)
    for number in (0, 1):
        here, there = rank(output, number)["weights"], rank(expected, number)["weights"]
        assert all(torch.equal(value, there[name]) for name, value in here.items())


@pytest.mark.slow
def test_torchrun_gives_the_weights_of_the_program_s_own_processes(train_on_two):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    outputs = train_on_two("own"), train_on_two("torchrun", launcher=launcher)
    for number in (0, 1):
        here, there = (rank(output, number)["weights"] for output in outputs)
        assert all(torch.equal(value, there[name]) for name, value in here.items())
