import math

import pytest
import torch

from compvae_pyg.training import MetricsFile

COLUMNS = (
    "step,stage,max_parts,learning_rate,beta_w,beta_z,kl_w_nats,kl_w_bits,kl_z_nats,kl_z_bits,"
    "reconstruction_nats,reconstruction_bits,elbo_nats,elbo_bits,rmse,skipped_steps,seconds"
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
