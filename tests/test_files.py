import fcntl
import multiprocessing
import os
import random
import resource
import signal
import zipfile

import pytest
import torch

from compvae_pyg.files import (
    Lines,
    is_sealed,
    locked,
    read_archive,
    replace_file,
    write_archive,
)

fork = multiprocessing.get_context("fork")


def test_a_file_that_cannot_be_written_is_as_it_was_and_named(tmp_path):
    path, report = tmp_path / "file", tmp_path / "report"
    replace_file(path, b"old")

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            replace_file(path, bytes(5000))
        except OSError as error:
            report.write_text(str(error))

    process = fork.Process(target=fill)
    process.start()
    process.join(60)
    assert path.read_bytes() == b"old"
    assert "File too large" in report.read_text() and str(path) in report.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "report"]  # nothing half written


def test_a_row_that_cannot_be_written_names_its_file(tmp_path):
    lines, report = Lines(tmp_path / "rows", "header\n"), tmp_path / "report"
    lines.restore()

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        try:
            for _ in range(20):
                lines.append("row\n")
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            report.write_text(str(error))

    process = fork.Process(target=fill)
    process.start()
    process.join(60)
    assert "File too large" in report.read_text() and str(lines.path) in report.read_text()


def test_a_process_that_is_killed_while_writing_leaves_the_old_file_or_the_new_one(tmp_path):
    path, contents = tmp_path / "file", [bytes([i]) * 300_000 for i in range(2)]
    replace_file(path, contents[0])
    moments = random.Random(0)

    def write():
        while True:
            for content in contents:
                replace_file(path, content)

    for _ in range(10):
        process = fork.Process(target=write)
        process.start()
        process.join(moments.uniform(0.01, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert path.read_bytes() in contents


def test_a_sealed_archive_is_an_archive_of_which_no_bit_may_change(tmp_path):
    path = tmp_path / "archive"
    write_archive(path, {"weights": torch.arange(5.0), "step": 3})
    content = path.read_bytes()
    assert torch.equal(read_archive(path)["weights"], torch.arange(5.0))
    assert torch.load(path, weights_only=True)["step"] == 3
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and len(archive.comment) == 32
    for bit in range(0, 8 * len(content), 7):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not is_sealed(bytes(damaged))
    assert not any(is_sealed(content[:size]) for size in (0, 1, 31, 32, 33, len(content) - 1))
    assert is_sealed(content)


def test_a_lock_is_of_one_process_and_ends_with_it(tmp_path):
    for path in (tmp_path, tmp_path / "lock"):
        reads, writes = os.pipe()

        def hold(path=path, writes=writes):
            with locked(path):
                os.write(writes, b"x")
                signal.pause()

        process = fork.Process(target=hold)
        process.start()
        os.read(reads, 1)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        os.kill(process.pid, signal.SIGKILL)
        with locked(path):  # waits for it
            pass
        process.join()


def test_drives_that_cannot_lock_are_written_to(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", wait=False):
        pass
