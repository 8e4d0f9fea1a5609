import sys

import pytest

from compvae_pyg.training import Progress


def test_without_a_terminal_lines_come_first_and_last(tmp_path, run, capsys):
    run(tmp_path, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 3/20  labels: elbo ")
    assert lines[1].startswith("step 20/20  whole: elbo ")


def test_a_terminal_shows_a_bar(tmp_path, run, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    run(tmp_path, progress=True)
    shown = capsys.readouterr()
    last = shown.out.split("\r")[-1]
    assert "20/20" in last
    for word in ("stage=whole", "train/elbo=", "train/kl_w=", "train/kl_z=", "it/s"):
        assert word in last
    assert shown.err == ""


def test_a_resumed_bar_counts_on_and_times_the_steps_that_it_saw(tmp_path, run, faults, model):
    rates = []

    class Bar(Progress):
        def on_train_batch_end(self, *args):
            super().on_train_batch_end(*args)
            bar = self.train_progress_bar
            rates.append((bar.n, bar.total, bar.n - bar.initial))

    faults.crash = 13
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, model, callbacks=[Bar()])
    rates.clear()
    run(tmp_path, resume=True, callbacks=[Bar()])
    assert rates == [(step, 20, step - 12) for step in range(13, 21)]


def test_without_progress_nothing_is_said(tmp_path, run, capfd):
    run(tmp_path)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
