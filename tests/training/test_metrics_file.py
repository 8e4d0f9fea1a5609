import locale
import math
import os
from dataclasses import replace

import pytest
import torch

from compvae_pyg.training import MetricsFile, Stage

COLUMNS = (
    "step,stage,max_parts,learning_rate,beta_w,beta_z,kl_w_nats,kl_w_bits,kl_z_nats,kl_z_bits,"
    "reconstruction_nats,reconstruction_bits,elbo_nats,elbo_bits,rmse,code_variance,"
    "code_distance,skipped_steps,seconds"
)


@pytest.fixture
def rows(tmp_path, model, faults, run, read_rows):
    faults.not_finite = {4, 13}
    with pytest.warns(RuntimeWarning, match="skipped"):
        run(tmp_path, model)
    return read_rows(tmp_path)


def test_there_is_a_row_every_few_steps_and_at_the_end(rows, tmp_path):
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == COLUMNS
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12, 15, 18, 20]


def test_rows_say_where_the_schedule_stood(rows, tiny):
    schedule = tiny.schedule()
    for row in rows:
        step = int(row["step"]) - 1
        weights = schedule.at(step)
        assert row["stage"] == weights.stage.name
        assert int(row["max_parts"]) == schedule.curriculum.max_parts(step)
        assert float(row["learning_rate"]) == pytest.approx(schedule.learning_rate.at(step))
        assert float(row["beta_w"]) == pytest.approx(weights.beta_w)
        assert float(row["beta_z"]) == pytest.approx(weights.beta_z)
    assert [int(row["skipped_steps"]) for row in rows] == [0, 1, 1, 1, 2, 2, 2]
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


def test_bits_are_nats_by_the_logarithm_of_two(rows):
    for row in rows:
        for name in ("kl_w", "kl_z", "reconstruction", "elbo"):
            bits = float(row[f"{name}_nats"]) / math.log(2.0)
            assert float(row[f"{name}_bits"]) == pytest.approx(bits, rel=1e-8)


def test_values_are_the_averages_of_the_good_steps_since_the_row_before(rows, faults):
    start = 0
    for row in rows:
        steps = [step for step in range(start, int(row["step"])) if step not in (4, 13)]
        start = int(row["step"])
        terms = [faults.terms[step] for step in steps]
        kl_w = torch.cat([t.kl_w for t in terms]).mean().item()
        kl_z = torch.cat([t.kl_z for t in terms]).mean().item()
        log_likelihood = torch.cat([t.log_likelihood for t in terms]).mean().item()
        errors = [faults.wholes[s] - faults.terms[s].likelihood.mean.detach() for s in steps]
        assert float(row["kl_w_nats"]) == pytest.approx(kl_w, rel=1e-5)
        assert float(row["kl_z_nats"]) == pytest.approx(kl_z, rel=1e-5, abs=1e-6)
        assert float(row["reconstruction_nats"]) == pytest.approx(-log_likelihood, rel=1e-5)
        assert float(row["elbo_nats"]) == pytest.approx(log_likelihood - kl_w - kl_z, rel=1e-5)
        rmse = torch.cat(errors).square().mean().sqrt().item()
        assert float(row["rmse"]) == pytest.approx(rmse, rel=1e-5)


def test_a_row_without_a_good_step_is_not_a_number(tmp_path, model, faults, run, read_rows):
    faults.not_finite = {3, 4, 5}
    with pytest.warns(RuntimeWarning, match="skipped"):
        run(tmp_path, model)
    assert [row["elbo_nats"] == "nan" for row in read_rows(tmp_path)] == [False, True] + [False] * 5


def test_a_file_with_other_columns_is_not_continued(tmp_path, module, fit, refuses):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,2.0\n")
    module.step = 2
    with refuses(ValueError, "metrics.csv"):
        fit(module, MetricsFile(path))


# What becomes of the file


@pytest.fixture
def crashed(tmp_path, model, faults, run):
    faults.crash = 13
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path / "crashed", model)
    run(tmp_path / "whole")
    return tmp_path / "crashed" / "metrics.csv"


def without_times(path):
    return [line.rsplit(b",", 1)[0] for line in path.read_bytes().split(b"\n")]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("damage", ["removed", "empty", "zeros", "gap", "cut", "other", "binary"])
def test_a_damaged_file_is_made_anew_from_the_checkpoint(tmp_path, run, crashed, damage, finished):
    if finished:
        run(crashed.parent, resume=True)
    content = crashed.read_bytes()
    lines = content.splitlines(keepends=True)
    crashed.write_bytes(
        {
            "removed": b"",
            "empty": b"",
            "zeros": b"".join([lines[0], b"\0" * len(lines[1]), *lines[2:]]),
            "gap": b"".join([*lines[:2], *lines[3:]]),
            "cut": b"".join(lines[:3])[:-5],
            "other": b"step,loss\n1,2.0\n",
            "binary": bytes(range(256)),
        }[damage]
    )
    if damage == "removed":
        crashed.unlink()
    with pytest.warns(RuntimeWarning, match=r"metrics\.csv was damaged or removed"):
        run(crashed.parent, resume=True)
    assert without_times(crashed) == without_times(tmp_path / "whole" / "metrics.csv")


def test_a_file_that_is_removed_while_training_has_all_rows(tmp_path, run, model, faults):
    run(tmp_path / "whole")
    path = tmp_path / "removed" / "metrics.csv"
    faults.before = lambda step: path.unlink() if step == 7 else None
    with pytest.warns(RuntimeWarning, match=r"metrics\.csv was damaged or removed"):
        run(path.parent, model)
    assert without_times(path) == without_times(tmp_path / "whole" / "metrics.csv")


def test_rows_are_on_the_disk_with_the_checkpoint(tmp_path, run, monkeypatch):
    synced, sync = [], os.fsync

    def note(descriptor):
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    run(tmp_path, checkpoint_every=20, log_every=20)
    places = [(p.stat().st_ino, p.stat().st_size) for p in sorted(tmp_path.rglob("*.c*"))]
    assert [name.name for name in sorted(tmp_path.rglob("*.c*"))] == ["last.ckpt", "metrics.csv"]
    assert synced.index(places[1]) < synced.index(places[0])


def test_the_file_is_of_utf_8_whatever_the_locale(tmp_path, tiny, run, monkeypatch):
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "ascii")
    monkeypatch.setattr(locale, "getencoding", lambda: "ascii", raising=False)
    stages = (Stage("étape, «1»", 1.0),)
    run(tmp_path, schedule=replace(tiny.schedule(), stages=stages))
    run(tmp_path, schedule=replace(tiny.schedule(), stages=stages), resume=True)
    assert '"étape, «1»"' in (tmp_path / "metrics.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "a\nb", "a\r", "a\0", "a\u2028b", "\ud800", 3])
def test_a_stage_has_a_name_that_fits_a_line(refuses, name):
    with refuses((TypeError, ValueError), "name"):
        Stage(name, 1.0)
