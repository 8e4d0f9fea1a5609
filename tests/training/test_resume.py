import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compvae_pyg.training import LastCheckpoint


def last(output: Path) -> dict:
    return torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(one, other, where=""):
    """Compare nested containers; tensors bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path):
    """Weights, optimiser, random states, counters and rows, all but the time it took."""
    here, there = last(one), last(other)
    for name in ("state_dict", "optimizer_states", "random_states", "training", "run"):
        assert_same(here[name], there[name], name)
    rows = []
    for output in (one, other):
        with (output / "metrics.csv").open(newline="") as file:
            rows.append([row[:-1] for row in csv.reader(file)])
    assert rows[0] == rows[1]


@pytest.fixture
def uninterrupted(tmp_path, run):
    output = tmp_path / "uninterrupted"
    run(output)
    return output


@pytest.mark.parametrize("crash", [4, 5, 7, 10, 14, 19])
def test_resumed_training_is_uninterrupted_training(
    tmp_path, uninterrupted, model, faults, run, crash
):
    """Whether the crash falls on a checkpoint, between two, on a row, or beyond a stage's end."""
    output = tmp_path / "crashed"
    faults.crash = crash
    with pytest.raises(OSError, match="power cut"):
        run(output, model)
    assert last(output)["training"]["step"] == crash // 4 * 4
    torch.manual_seed(77)
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


def test_training_can_be_interrupted_many_times(tmp_path, uninterrupted, tiny, run):
    from_conftest = sys.modules[type(tiny).__module__]
    output, resume = tmp_path / "crashed", False
    for crash in (5, 6, 9):
        model = tiny.build()
        if not resume:
            torch.manual_seed(1)
            model = tiny.build()
        from_conftest.Faults(model).crash = crash
        with pytest.raises(OSError, match="power cut"):
            run(output, model, resume=resume)
        resume = True
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


@pytest.mark.filterwarnings("ignore:step 6 was skipped")
def test_skipped_steps_are_remembered(tmp_path, tiny, run):
    faults_of = sys.modules[type(tiny).__module__].Faults
    for name, crash in (("whole", None), ("crashed", 11)):
        torch.manual_seed(1)
        model = tiny.build()
        faults = faults_of(model)
        faults.not_finite, faults.crash = {6, 9}, crash
        try:
            run(tmp_path / name, model)
        except OSError:
            model = tiny.build()
            # It counts from the step at which it resumes.
            faults_of(model).not_finite = {1}
            run(tmp_path / name, model, resume=True)
    assert int(last(tmp_path / "crashed")["training"]["guard"]["skipped"]) == 2
    assert_same_run(tmp_path / "crashed", tmp_path / "whole")


def test_rows_beyond_the_checkpoint_and_a_half_written_one_are_dropped(
    tmp_path, uninterrupted, model, faults, run
):
    output = tmp_path / "crashed"
    faults.crash = 11
    with pytest.raises(OSError, match="power cut"):
        run(output, model)
    with (output / "metrics.csv").open("a") as file:
        file.write("12,whole,4,0.0")
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


def test_ctrl_c_saves_the_step_at_hand(
    tmp_path, uninterrupted, model, faults, run, refuses, capsys
):
    output = tmp_path / "interrupted"
    handler = signal.getsignal(signal.SIGINT)
    faults.before = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 9 else None
    with refuses(KeyboardInterrupt, "resume"):
        run(output, model)
    assert "Ctrl-C again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert last(output)["training"]["step"] == 10
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


def test_a_second_ctrl_c_does_not_wait(tmp_path, uninterrupted, model, faults, run):
    def press_twice(step):
        if step == 9:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    output = tmp_path / "interrupted"
    handler = signal.getsignal(signal.SIGINT)
    faults.before = press_twice
    with pytest.raises(KeyboardInterrupt, match="step 8"):
        run(output, model)
    assert signal.getsignal(signal.SIGINT) is handler
    assert last(output)["training"]["step"] == 8
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


def test_sigterm_saves_the_step_at_hand(tmp_path, uninterrupted, model, faults, run):
    output = tmp_path / "terminated"
    faults.before = lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 9 else None
    with pytest.raises(SystemExit) as stop:
        run(output, model)
    assert stop.value.code == 143
    assert last(output)["training"]["step"] == 10
    run(output, resume=True)
    assert_same_run(output, uninterrupted)


def test_another_number_of_ranks_is_refused(refuses):
    checkpoint = {"random_states": [{}, {}]}
    with refuses(ValueError, "devices"):
        LastCheckpoint("last.ckpt", 1).on_load_checkpoint(
            SimpleNamespace(world_size=1), None, checkpoint
        )


def test_checkpoints_must_be_some_steps_apart(tmp_path, refuses):
    with refuses(ValueError, "every"):
        LastCheckpoint(tmp_path / "last.ckpt", every=0)


SCRIPT = """
import importlib.util, os, signal, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("tiny", sys.argv[1])
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
problem = tiny.Tiny()
torch.manual_seed(1)
model = problem.build()
def die(step):
    if step == 14:
        os.kill(os.getpid(), signal.SIGKILL)
tiny.Faults(model).before = die
tiny.train(problem, model, problem.schedule(), tiny.TrainConfig(
    output=sys.argv[2], accelerator="cpu", checkpoint_every=4, log_every=3, progress=False))
"""


@pytest.mark.slow  # test_nothing_lost.py kills at several steps
def test_training_survives_kill_9(tmp_path, uninterrupted, tiny, run, read_rows):
    output = tmp_path / "killed"
    root = Path(__file__).parents[2]
    died = subprocess.run(
        [sys.executable, "-c", SCRIPT, sys.modules[type(tiny).__module__].__file__, output],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [int(row["step"]) for row in read_rows(output)] == [3, 6, 9, 12]
    run(output, resume=True)
    assert_same_run(output, uninterrupted)
