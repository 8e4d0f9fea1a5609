from dataclasses import replace

import pytest
import torch

from compvae_pyg.training import LearningRate


@pytest.fixture
def trained(tmp_path, run):
    return run(tmp_path)


def test_the_folder_holds_metrics_and_one_checkpoint(tmp_path, trained):
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"metrics.csv", "checkpoints/last.ckpt", "checkpoints/lock"}


def test_the_model_is_given_back_trained_and_free(tmp_path, tiny, run, model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert run(tmp_path, model) is model
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(saved[f"model.{k}"], v) for k, v in model.state_dict().items())


def test_the_same_seed_gives_the_same_model_and_another_another(tmp_path, run):
    torch.manual_seed(5)
    one = run(tmp_path / "one").state_dict()
    torch.manual_seed(6)
    two = run(tmp_path / "two").state_dict()
    other = run(tmp_path / "other", seed=1).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_training_learns(tmp_path, tiny, run, read_rows):
    schedule = replace(
        tiny.schedule(num_steps=300),
        batch_size=32,
        learning_rate=LearningRate(initial=1e-2, final=1e-3, halving=100),
    )
    run(tmp_path, schedule=schedule, log_every=30, checkpoint_every=300)
    rows = read_rows(tmp_path)
    rmse = [float(row["rmse"]) for row in rows if row["stage"] == "labels"]
    assert rmse[-1] < 0.5 * rmse[0]
    for stage in ("parts", "whole"):
        elbo = [float(row["elbo_nats"]) for row in rows if row["stage"] == stage]
        assert elbo[-1] > elbo[0] + 2.0


def test_a_folder_in_use_is_refused(tmp_path, trained, run, refuses):
    with refuses(FileExistsError, "resume"):
        run(tmp_path)


def test_resuming_from_nothing_is_refused(tmp_path, run, refuses):
    with refuses(FileNotFoundError, "resume"):
        run(tmp_path, resume=True)


def test_resuming_what_is_finished_gives_the_model(tmp_path, trained, tiny, run):
    rows = (tmp_path / "metrics.csv").read_bytes()
    again = run(tmp_path, tiny.build(), resume=True)
    expected = trained.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert (tmp_path / "metrics.csv").read_bytes() == rows


def test_the_checkpoint_of_another_run_is_refused(tmp_path, trained, tiny, model, run, refuses):
    schedule = tiny.schedule()
    with refuses(ValueError, "seed"):
        run(tmp_path, resume=True, seed=1)
    with refuses(ValueError, "schedule.num_steps"):
        run(tmp_path, resume=True, schedule=tiny.schedule(num_steps=10))
    rate = replace(schedule.learning_rate, initial=1.0)
    with refuses(ValueError, "schedule.learning_rate.initial"):
        run(tmp_path, resume=True, schedule=replace(schedule, learning_rate=rate))
    stages = (replace(schedule.stages[0], share=0.6), schedule.stages[2])
    with refuses(ValueError, "schedule.stages.0.share"):
        run(tmp_path, resume=True, schedule=replace(schedule, stages=stages))
    model.generator.w_prior.net = torch.nn.Linear(2, 8)
    with refuses(ValueError, "model.generator.w_prior.net.weight"):
        run(tmp_path, model, resume=True)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"devices": 0}, "devices"),
        ({"num_nodes": 0}, "num_nodes"),
        ({"precision": "8-bit"}, "precision"),
        ({"strategy": "fsdp"}, "strategy"),
        ({"seed": -1}, "seed"),
        ({"log_every": 0}, "log_every"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, run, refuses, options, name):
    with refuses(ValueError, name):
        run(tmp_path, **options)
    assert not list(tmp_path.iterdir())
