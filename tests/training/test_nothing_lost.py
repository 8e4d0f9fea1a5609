"""Training that is killed, runs out of disk, or finds a file that is not its own."""

import io
import multiprocessing
import os
import pickle
import random
import resource
import signal
import tempfile
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from compvae_pyg.files import is_sealed, seal, write_archive
from compvae_pyg.identity import flat
from compvae_pyg.training import AtomicCheckpointIO

# The processes start as copies of this one, with torch on one thread: in milliseconds.
fork = multiprocessing.get_context("fork")


def last_step(output):
    path = output / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["training"]["step"] if path.exists() else 0


def rows_without_times(output):
    return [line.rsplit(",", 1)[0] for line in (output / "metrics.csv").read_text().splitlines()]


def resumed_is_uninterrupted(run, output, expected, options):
    """Finish what was killed; it has to be what was never interrupted, to the bit."""
    model = run(output, resume=(output / "checkpoints" / "last.ckpt").exists(), **options)
    here, there = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (output, expected)
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, there["state_dict"][f"model.{name}"])
    assert torch.equal(here["random_states"][0]["cpu"], there["random_states"][0]["cpu"])
    adam, other = (c["optimizer_states"][0]["state"] for c in (here, there))
    assert all(torch.equal(adam[i][key], other[i][key]) for i in adam for key in adam[i])
    assert rows_without_times(output) == rows_without_times(expected)


def test_training_killed_at_several_steps_is_uninterrupted_training(tmp_path, run, model, faults):
    output, options = tmp_path / "killed", {"checkpoint_every": 1, "log_every": 1}
    run(tmp_path / "whole", **options)
    total = 0
    for steps in (3, 1, 7, 5):
        resume = (output / "checkpoints" / "last.ckpt").exists()

        # A process counts the steps of its own.
        def die(step, steps=steps):
            if step == steps:
                os.kill(os.getpid(), signal.SIGKILL)

        def train(resume=resume, die=die):
            faults.before = die
            run(output, model, resume=resume, **options)

        process = fork.Process(target=train)
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        # The file is complete, and no step before the last is lost.
        total += steps
        assert last_step(output) >= total - 1
    resumed_is_uninterrupted(run, output, tmp_path / "whole", options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_training_killed_at_random_moments_is_uninterrupted_training(tmp_path, run, seed):
    output, options = tmp_path / "killed", {"checkpoint_every": 1, "log_every": 1}
    moments, reached = random.Random(seed), 0
    began = time.monotonic()
    run(tmp_path / "whole", **options)
    duration = time.monotonic() - began
    for _ in range(40):
        resume = (output / "checkpoints" / "last.ckpt").exists()
        process = fork.Process(target=run, args=(output,), kwargs={"resume": resume, **options})
        process.start()
        process.join(moments.uniform(0.0, duration))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        # Whenever it was: the file is complete, and no step that it had is lost.
        before, reached = reached, last_step(output)
        assert reached >= before
        if process.exitcode == 0:
            break
    resumed_is_uninterrupted(run, output, tmp_path / "whole", options)


def test_a_full_disk_is_an_error_that_leaves_the_last_checkpoint(tmp_path, run, model, faults):
    output, path = tmp_path / "full", tmp_path / "full" / "checkpoints" / "last.ckpt"
    report = tmp_path / "report"
    run(tmp_path / "whole")

    def fill(step):
        if step == 6:
            # No file may grow beyond half a checkpoint.
            limit = path.stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def train_until_the_disk_is_full():
        faults.before = fill
        try:
            run(output, model)
        except OSError as error:
            report.write_text(str(error))

    process = fork.Process(target=train_until_the_disk_is_full)
    process.start()
    process.join(120)
    text = report.read_text()
    assert "File too large" in text and str(path) in text and "\n" not in text
    assert last_step(output) == 4
    run(output, resume=True)
    assert rows_without_times(output)[-1] == rows_without_times(tmp_path / "whole")[-1]


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(
    tmp_path, run, faults, model
):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match="Not a directory"):
        run(tmp_path / "file" / "out", model)
    assert faults.terms == []


def test_what_a_killed_save_left_behind_does_not_pass_for_a_checkpoint(tmp_path, run, monkeypatch):
    run(tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    before = path.read_bytes()
    path.with_name("last.ckpt.partial").write_bytes(b"half")

    def refuse(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"Input/output error.*last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    assert path.read_bytes() == before


# Files that are no checkpoints of this run


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_truncated_checkpoints_are_refused_in_a_line(tmp_path, run, refuses, keep):
    run(tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:keep])
    with refuses(ValueError, "last.ckpt"):
        run(tmp_path, resume=True)


class Trap:
    """Code that a pickle would run when it is read."""

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_no_code_in_a_file_is_executed(tmp_path, run, refuses, how):
    run(tmp_path)
    path, trap = tmp_path / "checkpoints" / "last.ckpt", Trap()
    trap.path = tmp_path / "sprung"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"run": trap}))
    else:
        torch.save({"run": trap}, path)
    with refuses(ValueError, "last.ckpt"):
        run(tmp_path, resume=True)
    assert not trap.path.exists()


def test_foreign_and_newer_checkpoints_are_refused(tmp_path, run, refuses):
    run(tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    write_archive(path, {**checkpoint, "run": {**checkpoint["run"], "format": 99}})
    with refuses(ValueError, "format"):
        run(tmp_path, resume=True)
    for foreign in (checkpoint["state_dict"], [1, 2], 3):
        write_archive(path, foreign)
        with refuses(ValueError, "last.ckpt"):
            run(tmp_path, resume=True)
    torch.save(checkpoint, path)  # without its digest
    with refuses(ValueError, "last.ckpt"):
        run(tmp_path, resume=True)


def test_no_code_in_a_file_with_a_digest_is_executed(tmp_path, run, refuses):
    path, trap, content = tmp_path / "checkpoints" / "last.ckpt", Trap(), io.BytesIO()
    trap.path = tmp_path / "sprung"
    torch.save({"run": trap}, content)
    path.parent.mkdir()
    path.write_bytes(seal(content.getvalue()))
    with refuses(ValueError, "last.ckpt"):
        run(tmp_path, resume=True)
    assert not trap.path.exists()


def test_no_bit_of_a_checkpoint_changes_silently(tmp_path, run, model, faults, refuses):
    faults.crash = 9
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, model)
    path, places = tmp_path / "checkpoints" / "last.ckpt", random.Random(0)
    content = path.read_bytes()
    # Any bits, then bits where an archive has its names and its end, then lost and added bytes.
    bits = [places.randrange(8 * len(content)) for _ in range(100)]
    bits += [8 * i for i in (*range(64), *range(len(content) - 60, len(content)))]
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with refuses(ValueError, "last.ckpt"):
            run(tmp_path, resume=True)
    for damaged in (content + b"\0", content[1:], b"\0" * len(content)):
        path.write_bytes(damaged)
        with refuses(ValueError, "last.ckpt"):
            run(tmp_path, resume=True)
    path.write_bytes(content)
    run(tmp_path, resume=True)


def test_checkpoints_of_other_callbacks_have_a_digest_and_can_be_resumed_from(tmp_path, run):
    mine = ModelCheckpoint(tmp_path / "mine", filename="{step}", every_n_train_steps=9)
    run(tmp_path / "out", callbacks=[mine])
    (path,) = (tmp_path / "mine").iterdir()  # the one before it was removed
    assert is_sealed(path.read_bytes())
    path.replace(tmp_path / "out" / "checkpoints" / "last.ckpt")
    run(tmp_path / "out", resume=True)
    assert last_step(tmp_path / "out") == 20


# Paths


@pytest.mark.parametrize("name", ["lr::0.1", "http-run", "s3://bucket", "file:x", "~", "a b é"])
def test_a_name_is_that_of_a_folder_and_of_nothing_else(
    tmp_path, run, model, faults, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr").write_text("precious")
    faults.crash = 9
    with pytest.raises(OSError, match="power cut"):
        run(name, model)
    run(name, resume=True)
    top = name.split("/")[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted({top, "lr"})
    assert (tmp_path / "lr").read_text() == "precious"
    files = {p.relative_to(Path(name)).as_posix() for p in Path(name).rglob("*") if p.is_file()}
    assert files == {"metrics.csv", "checkpoints/last.ckpt", "checkpoints/lock"}


def test_a_program_that_changes_its_folder_saves_where_it_was_asked_to(
    tmp_path, run, model, faults
):
    here = Path.cwd()
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path)
    try:
        faults.before = lambda step: os.chdir("other") if step == 2 else None
        run("out", model)
    finally:
        os.chdir(here)
    assert last_step(tmp_path / "out") == 20 and not list((tmp_path / "other").iterdir())


def test_the_folder_of_temporary_files_is_not_needed(tmp_path, run, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    run(tmp_path / "out")
    assert last_step(tmp_path / "out") == 20


# One training a folder


def test_two_trainings_in_a_folder_are_one_too_many(tmp_path, run, model, faults, refuses):
    """The lock of a process that was killed is free."""
    reads, writes = os.pipe()

    def stay(step):
        if step == 6:
            os.write(writes, b"x")
            time.sleep(120)

    def train():
        faults.before = stay
        run(tmp_path, model)

    process = fork.Process(target=train)
    process.start()
    os.read(reads, 1)
    rows = (tmp_path / "metrics.csv").read_bytes()
    with refuses(BlockingIOError, "training"):
        run(tmp_path, resume=True)
    assert (tmp_path / "metrics.csv").read_bytes() == rows
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    run(tmp_path, resume=True)
    assert last_step(tmp_path) == 20


def test_a_training_that_ends_while_another_begins_is_not_overwritten(tmp_path, run, refuses):
    class Meanwhile(L.Callback):
        """Trains in the same folder after it was found empty and before it is locked."""

        def setup(self, trainer, pl_module, stage):
            run(tmp_path)

    with refuses(BlockingIOError, "training"):
        run(tmp_path, callbacks=[Meanwhile()])
    assert last_step(tmp_path) == 20
    run(tmp_path, resume=True)


# The run that a checkpoint belongs to


def test_a_problem_with_other_parameters_is_another_run(tmp_path, run, tiny, refuses):
    tiny.noise = 0.1
    run(tmp_path)
    tiny.noise = 0.2
    with refuses(ValueError, "parameters.noise"):
        run(tmp_path, resume=True)


def test_data_of_a_problem_are_distinguished_by_their_content():
    one = {"curves": torch.arange(4.0), "kind": ("a", None)}
    changed = {**one, "curves": torch.tensor([0.0, 1.0, 2.0, 4.0])}
    same, other = dict(flat(one)), dict(flat(changed))
    assert dict(flat({"curves": torch.arange(4.0).numpy(), "kind": ["a", None]})) == same != other
