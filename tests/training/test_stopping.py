"""Training that is asked to stop: by Ctrl-C, by a scheduler, by a terminal that is closed."""

import multiprocessing
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import lightning as L
import pytest
import torch

from compvae_pyg.command_line import one_line_errors
from compvae_pyg.training import LastCheckpoint

fork = multiprocessing.get_context("fork")
PATIENCE = 120


def last_step(output):
    path = output / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["training"]["step"] if path.exists() else 0


@pytest.fixture
def start(tmp_path, run, model, faults):
    """Train in a process of its own, with its output in a file, until something happens there."""

    def begin(before, environment=(), name="err", output=tmp_path / "out", **options):
        def train():
            os.environ.update(environment)
            os.dup2(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY), 2)
            sys.stderr = open(2, "w", closefd=False)
            faults.before = before
            with one_line_errors():
                run(output, model, **{"checkpoint_every": 1000, **options})

        process = fork.Process(target=train)
        process.start()
        return process

    return begin


def at_step(number, *signals):
    def before(step):
        if step == number:
            for signum in signals:
                os.kill(os.getpid(), signum)

    return before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_saves_and_has_its_status_and_a_line(tmp_path, start, name):
    number = signal.Signals[name]
    process = start(at_step(5, number))
    process.join(PATIENCE)
    assert process.exitcode == 128 + number
    assert last_step(tmp_path / "out") == 6
    said = [line for line in (tmp_path / "err").read_text().splitlines() if line]
    assert "step 6 of 20" in said[-1] and "resume" in said[-1]
    assert len(said) == 1 + (name == "SIGINT")


def test_what_comes_again_is_the_same_wish(tmp_path, start):
    process = start(at_step(5, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP))
    process.join(PATIENCE)
    assert (process.exitcode, last_step(tmp_path / "out")) == (143, 6)


def test_a_process_that_ignores_hangups_trains_on(tmp_path, start):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = start(at_step(5, signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    process.join(PATIENCE)
    assert (process.exitcode, last_step(tmp_path / "out")) == (0, 20)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start", "on_fit_end"])
def test_a_signal_beside_the_steps_is_heeded_as_well(tmp_path, start, name, hook):
    number = signal.Signals[name]
    asks = type("Asks", (L.Callback,), {hook: lambda *_, **__: os.kill(os.getpid(), number)})
    process = start(lambda step: None, callbacks=[asks()])
    process.join(PATIENCE)
    assert process.exitcode == 128 + number
    ended = hook == "on_fit_end"
    assert last_step(tmp_path / "out") == (20 if ended else 0)
    assert len((tmp_path / "err").read_text().split("\n")) == 2 + 2 * (ended and name == "SIGINT")


def test_a_terminal_that_is_closed_loses_nothing(tmp_path, run, model, faults):
    """The bar and the messages find no terminal any more."""
    output, (reads, writes) = tmp_path / "out", os.pipe()

    pid, terminal = pty.fork()
    if pid == 0:
        status = 99
        try:
            sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))
            deadline = time.monotonic() + PATIENCE

            def wait(step):
                if step == 5:
                    os.write(writes, b"x")
                    # A terminal that is gone has no foreground group.
                    while time.monotonic() < deadline:
                        try:
                            os.tcgetpgrp(0)
                        except OSError:
                            return
                        time.sleep(0.01)

            faults.before = wait
            run(output, model, checkpoint_every=1000, progress=True)
            status = 0
        except SystemExit as stop:
            status = stop.code
        finally:
            os._exit(status)
    os.read(reads, 1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert last_step(output) == 6


# Checkpoints by time


def test_a_checkpoint_is_due_by_time_as_well_as_by_steps(tmp_path, run, model, faults, monkeypatch):
    monkeypatch.setattr(LastCheckpoint, "seconds", 0.0)
    faults.crash = 7
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, model, checkpoint_every=1000)
    assert last_step(tmp_path) == 7


def test_at_most_two_minutes_of_work_are_lost():
    assert LastCheckpoint.seconds <= 120.0


# Several processes


def environments(num_nodes=1):
    """Those that torchrun gives to two processes, on as many nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": str(2 // num_nodes), "MASTER_PORT": port}
    common |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "none"}
    places = (divmod(rank, 2 // num_nodes) for rank in range(2))
    return [
        {**common, "RANK": str(rank), "GROUP_RANK": str(node), "LOCAL_RANK": str(local)}
        for rank, (node, local) in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("asked", "name", "num_nodes"),
    [((0, 1), "SIGTERM", 1), ((1,), "SIGHUP", 2), ((0,), "SIGINT", 1)],
)
def test_two_processes_stop_together_whichever_is_asked(tmp_path, start, asked, name, num_nodes):
    processes, number = [], signal.Signals[name]
    for rank, environment in enumerate(environments(num_nodes)):
        # Not at the same step: signals come when they come.
        before = at_step(5 + 2 * rank, number) if rank in asked else at_step(-1)
        options = {"devices": 2 // num_nodes, "num_nodes": num_nodes}
        options |= {"strategy": "ddp_find_unused_parameters_true"} if num_nodes > 1 else {}
        processes.append(start(before, environment, f"err{rank}", **options))
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [128 + number] * 2
    assert last_step(tmp_path / "out") == 6 + 2 * min(asked)
    lines = "".join((tmp_path / f"err{rank}").read_text() for rank in range(2)).splitlines()
    assert sum("resume" in line for line in lines) == 1


SCRIPT = """
import importlib.util, os, sys, time, torch
torch.set_num_threads(1)
with open(sys.argv[2] + ".pid" + os.environ.get("LOCAL_RANK", "0"), "w") as file:
    file.write(str(os.getpid()))
spec = importlib.util.spec_from_file_location("tiny", sys.argv[1])
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
from compvae_pyg.command_line import one_line_errors
problem = tiny.Tiny()
torch.manual_seed(1)
model = problem.build()
tiny.Faults(model).before = lambda step: time.sleep(0.01)
config = tiny.TrainConfig(output=sys.argv[2], accelerator="cpu", devices=2, log_every=1,
                          checkpoint_every=10**6, progress=False)
with one_line_errors():
    tiny.train(problem, model, problem.schedule(10**6), config)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(10))
@pytest.mark.parametrize("launcher", ["lightning", "child", "both", "torchrun", "worker"])
def test_sigterm_saves_whatever_starts_the_processes(tmp_path, tiny, launcher, moment):
    script, output = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    arguments = [str(script), sys.modules[type(tiny).__module__].__file__, str(output)]
    common = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable]
    if launcher in ("torchrun", "worker"):
        command += ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    several = environments() if launcher == "both" else [{}]
    options = {"stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, *arguments], env=common | more, **options) for more in several
    ]
    rows, deadline = output / "metrics.csv", time.monotonic() + PATIENCE
    while not (rows.exists() and rows.read_bytes().count(b"\n") > 3 * moment + 1):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if launcher in ("child", "worker"):  # one of the processes that were started by another
        os.kill(int(Path(f"{output}.pid1").read_text()), signal.SIGTERM)
    else:
        for process in processes:
            process.terminate()
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    # The agent of torchrun has a status of its own.
    expected = 1 if launcher in ("torchrun", "worker") else 143
    assert [process.returncode for process in processes] == [expected] * len(processes), said
    assert last_step(output) > 3 * moment
    assert "".join(said).count("SIGTERM: stopped at step") == 1
