"""What whoever uses Lightning expects of a LightningModule, each by Lightning's own means."""

import copy
import csv
import math
from dataclasses import replace
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from torch_geometric.loader import DataLoader

from compvae_pyg import Sines
from compvae_pyg.training import CompVAEModule, GeneratedDataset, LearningRate, Schedule, Stage

LABELS = Stage("labels", 1.0, inferred="none", loss="squared_error")  # has no noise
TERMS = ("elbo", "kl_w", "kl_z", "reconstruction")


@pytest.fixture
def loader(stored):
    return DataLoader(stored, batch_size=5)


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# Logging


@pytest.fixture
def rows(module, fit, tmp_path):
    """Fit with all that logs; return the rows of the CSV logger."""
    logger = CSVLogger(tmp_path, name="", version="csv")
    fit(module, LearningRateMonitor("step"), logger=logger)
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_logger_gets_all_figures_of_the_training(rows, module):
    values = [row for row in rows if row["train/elbo"]]
    # Rows of step t are logged at step t - 1, as Lightning counts.
    assert [int(row["step"]) for row in values] == [4, 9, 14, 19]
    for row in values:
        step = int(row["step"])
        stage, beta_w, beta_z, *_ = module.schedule.at(step)
        assert float(row["train/stage"]) == module.schedule.stages.index(stage)
        assert float(row["train/beta_w"]) == pytest.approx(beta_w)
        assert float(row["train/beta_z"]) == pytest.approx(beta_z)
        assert float(row["train/max_parts"]) == module.schedule.curriculum.max_parts(step)
        rate = module.schedule.learning_rate.at(step)
        assert float(row["train/learning_rate"]) == pytest.approx(rate)
        assert float(row["train/skipped_steps"]) == 0
        for name in TERMS:
            nats, bits = float(row[f"train/{name}"]), float(row[f"train/{name}_bits"])
            assert bits == pytest.approx(nats / math.log(2.0), rel=1e-5)
    last = values[-1]
    assert float(last["train/elbo"]) == pytest.approx(module.row["elbo"], rel=1e-5)
    assert float(last["train/mse"]) == pytest.approx(module.row["mse"], rel=1e-5)


def test_the_learning_rate_monitor_sees_the_schedule(rows, module):
    rates = [float(row["lr-Adam"]) for row in rows if row["lr-Adam"]]
    # Lightning's callback logs at the beginning of a step.
    expected = [module.schedule.learning_rate.at(step) for step in (4, 9, 14, 19)]
    assert rates == pytest.approx(expected)


def test_tensorboard_gets_the_figures(module, fit, loader, tmp_path):
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="", version="board")
    fit(module, data=loader, val=loader, logger=logger)
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    names = board.Tags()["scalars"]
    assert {f"{prefix}/{name}" for prefix in ("train", "val") for name in TERMS} <= set(names)
    assert board.Scalars("train/elbo")[-1].value == pytest.approx(module.row["elbo"], rel=1e-5)


def test_train_passes_loggers_and_callbacks_on(tmp_path, run):
    logger = CSVLogger(tmp_path, name="", version="csv")
    best = ModelCheckpoint(tmp_path / "best", monitor="train/elbo", mode="max")
    run(tmp_path / "out", logger=logger, callbacks=[best])
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "5", "8", "11", "14", "17"]
    # All checkpoints hold the identity of the run and its random state.
    saved = torch.load(best.best_model_path, weights_only=True)
    assert saved["run"]["problem"] == "tiny" and len(saved["random_states"]) == 1


# Validation and test


def expected_terms(module, wholes):
    """Terms of the ELBO with the noise of the first batch, from one call."""
    batch = next(iter(DataLoader(wholes, batch_size=len(wholes))))
    noise = torch.Generator().manual_seed(0)
    terms = module.model.eval().elbo(batch.whole, module.parts(batch), batch.batch, generator=noise)
    squares = (batch.whole - terms.likelihood.mean).square()
    return {
        "elbo": terms.elbo,
        "kl_w": terms.kl_w,
        "kl_z": terms.kl_z,
        "reconstruction": -terms.log_likelihood,
        "mse": squares.mean(dim=1),
        "size": batch.ptr.diff(),
    }


@pytest.fixture
def trainer(tmp_path):
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )


def test_validation_and_test_log_averages_of_the_elbo(module, trainer, stored):
    loader = DataLoader(stored, batch_size=len(stored))
    module.step = 2  # in stage "labels", which has neither divergence
    (validated,) = trainer.validate(module, loader, verbose=False)
    (tested,) = trainer.test(module, loader, verbose=False)
    for name, value in expected_terms(module, stored).items():
        if name != "size":
            expected = pytest.approx(float(value.mean()), rel=1e-5)
            assert validated[f"val/{name}"] == tested[f"test/{name}"] == expected
    assert validated["val/kl_w"] > 0.0
    assert validated["val/elbo_bits"] == pytest.approx(validated["val/elbo"] / math.log(2.0))


def test_validation_averages_over_wholes_not_batches(tiny, trainer, stored):
    """The reconstruction of a model whose latents are all but fixed."""
    torch.manual_seed(1)
    model = tiny.build()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    module = CompVAEModule(model, tiny.schedule(), tiny.parts)
    loaders = [DataLoader(stored, batch_size=size) for size in (5, len(stored))]
    uneven, one = (trainer.validate(module, loader, verbose=False)[0] for loader in loaders)
    # Divergences do not depend on the noise then.
    assert uneven["val/kl_w"] == pytest.approx(one["val/kl_w"], rel=1e-5)


def test_wholes_of_some_numbers_of_parts_are_validated_apart(tiny, model, trainer, stored):
    module = CompVAEModule(model, tiny.schedule(), tiny.parts, by_num_parts=(1, 4, 9))
    (found,) = trainer.validate(module, DataLoader(stored, batch_size=len(stored)), verbose=False)
    values = expected_terms(module, stored)
    for size in (1, 4):
        chosen = values["size"] == size
        assert found[f"val/elbo/K={size}"] == pytest.approx(float(values["elbo"][chosen].mean()))
    assert math.isnan(found["val/elbo/K=9"])


def test_generated_wholes_are_validated_as_stored_ones_are(tiny, module, trainer):
    generated = GeneratedDataset(tiny, tiny.schedule(2), seed=5)
    loader = torch.utils.data.DataLoader(generated, batch_size=None)
    (found,) = trainer.validate(module, loader, verbose=False)
    assert math.isfinite(found["val/elbo"])


def test_validation_leaves_training_as_it_was_to_the_bit(tiny, model, fit, stored, loader):
    state = copy.deepcopy(model.state_dict())
    results = []
    # A loader draws from the global random state unless it has its own.
    own = DataLoader(stored, batch_size=4, generator=torch.Generator())
    for val in (None, own):
        model.load_state_dict(state)
        torch.manual_seed(3)
        module = CompVAEModule(model, tiny.schedule(), tiny.parts)
        fit(module, data=loader, val=val, num_sanity_val_steps=0)
        results.append(copy.deepcopy(model.state_dict()))
    assert same(*results)


def test_early_stopping_and_the_best_checkpoint_follow_the_validation(
    tiny, model, fit, loader, tmp_path
):
    class Worse(L.Callback):
        """Spoils the weights more and more from the third epoch on."""

        def __init__(self):
            self.seen = []

        def on_validation_start(self, trainer, pl_module):
            if trainer.current_epoch >= 2:
                with torch.no_grad():
                    pl_module.model.generator.decoder.net.lin.bias.add_(5.0)

        def on_validation_end(self, trainer, pl_module):
            self.seen.append(float(trainer.callback_metrics["val/elbo"]))

    worse = Worse()
    stop = EarlyStopping("val/elbo", mode="max", patience=2)
    best = ModelCheckpoint(tmp_path / "best", monitor="val/elbo", mode="max")
    module = CompVAEModule(model, replace(tiny.schedule(60), stages=(LABELS,)), tiny.parts)
    options = {"enable_checkpointing": True, "num_sanity_val_steps": 0, "max_epochs": 20}
    fit(module, worse, stop, best, data=loader, val=loader, **options)
    epoch = worse.seen.index(max(worse.seen))
    assert len(worse.seen) == stop.stopped_epoch + 1 == epoch + 3
    assert float(best.best_model_score) == max(worse.seen)
    # Three batches an epoch.
    assert torch.load(best.best_model_path, weights_only=True)["training"]["step"] == 3 * epoch + 3


# Optimisers and schedulers of the user's


class Mine(CompVAEModule):
    """A module whose optimiser comes from a function of its parameters."""

    make = None

    def configure_optimizers(self):
        return type(self).make(self)


@pytest.fixture
def mine(tiny, model):
    def build(make, schedule=None):
        kind = type("Mine", (Mine,), {"make": staticmethod(make)})
        return kind(model, schedule or tiny.schedule(), tiny.parts, patience=4)

    return build


def one_cycle(module):
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    steps = module.trainer.estimated_stepping_batches
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Rates(L.Callback):
    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append([group["lr"] for group in optimizer.param_groups])


def test_adamw_with_one_cycle_has_the_rates_of_the_cycle(mine, fit):
    rates, module = Rates(), mine(one_cycle)
    trainer = fit(module, rates)
    weight = torch.zeros(1, requires_grad=True)
    other = torch.optim.AdamW([weight], lr=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(other, 1e-2, total_steps=20)
    for (rate,) in rates.seen:
        assert rate == pytest.approx(other.param_groups[0]["lr"])
        other.step()
        cycle.step() if len(cycle.get_last_lr()) and cycle.last_epoch < 19 else None
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 20


def test_a_group_whose_rate_is_0_stays_as_it_is(mine, fit):
    def groups(module):
        encoder, generator = module.model.encoder, module.model.generator
        frozen = {"params": encoder.parameters(), "lr": 0.0}
        return torch.optim.SGD([frozen, {"params": generator.parameters()}], lr=1e-3)

    module, rates = mine(groups), Rates()
    before = copy.deepcopy(module.model.state_dict())
    fit(module, rates)
    assert rates.seen == [[0.0, 1e-3]] * 20
    assert same(module.model.encoder.state_dict(), {k[8:]: v for k, v in before.items()})
    assert not same(module.model.generator.state_dict(), {k[10:]: v for k, v in before.items()})


def test_stochastic_weight_averaging_has_its_own_rate(tiny, model, fit, loader):
    rates = Rates()
    module = CompVAEModule(model, replace(tiny.schedule(18), stages=(LABELS,)), tiny.parts)
    averaging = StochasticWeightAveraging(0.05, swa_epoch_start=3, annealing_epochs=1)
    fit(module, rates, averaging, data=loader, max_steps=-1, max_epochs=6)
    assert rates.seen[-1] == [0.05]
    assert int(averaging.n_averaged) == 4


class States(L.Callback):
    """Copies weights and the optimiser's state after each step."""

    def __init__(self):
        self.weights, self.optimizer = [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.weights.append(copy.deepcopy(pl_module.state_dict()))
        state = trainer.optimizers[0].state_dict()["state"]
        self.optimizer.append(
            {f"{i}.{n}": copy.deepcopy(v) for i, s in state.items() for n, v in s.items()}
        )


OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=1e-3),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-3),
}


@pytest.mark.filterwarnings("ignore:step 6 was skipped")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bad_step_is_skipped_whatever_the_optimiser(mine, fit, faults, name):
    def make(module):
        optimizer = OPTIMIZERS[name](module.parameters())
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    module, states = mine(make), States()
    faults.not_finite = {6}
    trainer = fit(module, states)
    assert int(module.guard.state["skipped"]) == 1
    assert same(states.weights[6], states.weights[5])
    assert same(states.optimizer[6], states.optimizer[5])
    for step in (5, 7):
        assert not same(states.weights[step], states.weights[step - 1]), step
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    # The scheduler counts the steps of the schedule, as the betas do.
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == module.step == 20


@pytest.mark.filterwarnings("ignore:step 2 was skipped")
def test_a_bad_batch_spoils_the_step_that_it_is_of_alone(tiny, model, fit, faults, stored):
    module = CompVAEModule(model, tiny.schedule(4), tiny.parts, patience=4)
    states = States()
    faults.not_finite = {6}  # the first of three batches of step 2
    data = DataLoader(stored, batch_size=1)
    fit(module, states, data=data, accumulate_grad_batches=3, max_steps=4)
    assert (module.step, int(module.guard.state["skipped"])) == (4, 1)
    assert same(states.weights[8], states.weights[5])
    assert not same(states.weights[5], states.weights[2])
    assert not same(states.weights[11], states.weights[8])


# Batches, gradients, precision


def test_four_small_batches_are_one_large_one(tiny, model, fit, stored):
    state, results = copy.deepcopy(model.state_dict()), []
    schedule = Schedule(5, stages=(LABELS,), learning_rate=LearningRate(1e-2), max_grad_norm=1.0)
    for size, accumulate in ((3, 4), (12, 1)):
        model.load_state_dict(state)
        module = CompVAEModule(model, schedule, tiny.parts)
        fit(module, data=DataLoader(stored, batch_size=size), accumulate_grad_batches=accumulate)
        assert module.step == 5
        results.append((copy.deepcopy(model.state_dict()), module.row))
    (small, row), (large, other) = results
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-6)
        assert name.startswith("encoder") or not torch.equal(value, state[name])
    assert row["mse"] == pytest.approx(other["mse"], rel=1e-4)


def test_train_accumulates_generated_batches_and_resumes_to_the_bit(tmp_path, run, model, faults):
    options = {"accumulate": 2, "checkpoint_every": 2}
    expected = run(tmp_path / "whole", **options).state_dict()
    faults.crash = 27  # the second batch of step 13
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path / "crashed", model, **options)
    found = run(tmp_path / "crashed", resume=True, **options).state_dict()
    assert same(found, expected)
    assert not same(run(tmp_path / "other").state_dict(), expected)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_the_trainer_clips_gradients(tiny, model, fit, recorder, precision, algorithm):
    module = CompVAEModule(model, replace(tiny.schedule(), max_grad_norm=None), tiny.parts)
    largest = []

    class Largest(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            largest.append(max(float(grad.abs().max()) for grad in grads))

    clip = {"gradient_clip_val": 0.01, "gradient_clip_algorithm": algorithm}
    fit(module, recorder, Largest(), precision=precision, **clip)
    if algorithm == "norm":
        assert max(recorder.grad_norm) == pytest.approx(0.01, rel=1e-4)
    else:
        assert max(largest) == pytest.approx(0.01) and max(recorder.grad_norm) > 0.011


@pytest.mark.filterwarnings("ignore:step . was skipped")
def test_a_gradient_scaler_skips_what_the_guard_counts(tiny, model, fit, faults):
    from lightning.pytorch.plugins import MixedPrecision

    scaler = torch.amp.GradScaler("cpu", init_scale=0.25)
    module, states = CompVAEModule(model, tiny.schedule(), tiny.parts, patience=4), States()
    faults.not_finite = {6}
    fit(module, states, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert int(module.guard.state["skipped"]) == 1
    assert same(states.weights[6], states.weights[5])
    assert same(states.optimizer[6], states.optimizer[5])
    assert scaler.get_scale() == 0.125
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    assert not same(states.weights[19], states.weights[7])


def test_networks_may_be_of_half_precision_altogether(module, fit, loader):
    fit(module, data=loader, val=loader, precision="bf16-true")
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    assert int(module.guard.state["skipped"]) == 0 and math.isfinite(module.row["elbo"])


# Checkpoints, copies


def test_a_module_is_loaded_from_a_checkpoint_without_a_trainer(tmp_path, run, tiny):
    trained = run(tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    module = CompVAEModule.load_from_checkpoint(path, model=tiny.build(), parts=tiny.parts)
    assert same(module.model.state_dict(), trained.state_dict())
    assert module.step == 20 and module.schedule == tiny.schedule()


def test_a_registered_model_is_rebuilt_from_the_checkpoint_alone(tmp_path):
    sines = Sines()
    model = sines.build("small", hidden_channels=16)
    schedule = Schedule.staged(1, 2, max_parts=3, initial_rate=1e-3, shares=(0.0, 1.0, 0.0))
    module = CompVAEModule(model, schedule, patience=7, by_num_parts=(1, 2))
    path = tmp_path / "saved.ckpt"
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, DataLoader(sines.sample(torch.tensor([1, 2])).to_data_list(), 2))
    trainer.save_checkpoint(path)
    # No code in it is executed.
    loaded = CompVAEModule.load_from_checkpoint(path, weights_only=True)
    assert same(loaded.model.state_dict(), model.state_dict())
    assert (loaded.schedule, loaded.guard.patience, loaded.by_num_parts) == (schedule, 7, (1, 2))
    assert loaded.hparams["schedule"]["learning_rate"]["initial"] == 1e-3


def test_a_module_can_be_copied_at_any_time(tiny, model, fit):
    copies = []

    class Copier(L.Callback):
        def copy(self, module):
            copies.append(copy.deepcopy(module))

        def on_before_zero_grad(self, trainer, pl_module, optimizer):
            self.copy(pl_module)

        def on_before_backward(self, trainer, pl_module, loss):
            self.copy(pl_module)

        def on_after_backward(self, trainer, pl_module):
            self.copy(pl_module)

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            self.copy(pl_module)

        def on_train_batch_end(self, trainer, pl_module, *args):
            self.copy(pl_module)

    module = CompVAEModule(model, tiny.schedule(3), tiny.parts)
    fit(module, Copier())
    assert len(copies) == 15
    last = copies[-1]
    assert same(last.state_dict(), module.state_dict()) and last.step == 3


def test_the_average_of_weights_is_what_is_trained_in_the_end(tmp_path, run, model, faults):
    def train(name, *args, **options):
        return run(tmp_path / name, *args, callbacks=[EMAWeightAveraging(decay=0.5)], **options)

    plain = run(tmp_path / "plain").state_dict()
    averaged = train("averaged").state_dict()
    saved = torch.load(tmp_path / "averaged" / "checkpoints" / "last.ckpt", weights_only=True)
    assert same(averaged, {k[6:]: v for k, v in saved["state_dict"].items()})
    assert same(plain, {k[6:]: v for k, v in saved["current_model_state"].items()})
    assert not same(averaged, plain)
    # Resumed, also when it is finished.
    assert same(train("averaged", resume=True).state_dict(), averaged)
    faults.crash = 13
    with pytest.raises(OSError, match="power cut"):
        train("crashed", model)
    assert same(train("crashed", resume=True).state_dict(), averaged)


def test_training_that_a_callback_ends_is_saved(tmp_path, run):
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            trainer.should_stop = pl_module.step == 10

    model = run(tmp_path, callbacks=[Stop()])
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["training"]["step"] == 10
    assert same(model.state_dict(), {k[6:]: v for k, v in saved["state_dict"].items()})


def test_a_schedule_that_is_longer_than_the_run_is_warned_of(tiny, model, fit, loader):
    module = CompVAEModule(model, tiny.schedule(100), tiny.parts)
    with pytest.warns(RuntimeWarning, match=r"schedule has 100 steps.* 6, in stage 'labels'"):
        fit(module, data=loader, max_steps=-1, max_epochs=2)


def test_a_schedule_that_fits_the_run_is_not(tiny, model, fit, loader, recwarn):
    fit(CompVAEModule(model, tiny.schedule(6), tiny.parts), data=loader)
    fit(CompVAEModule(model, tiny.schedule(6), tiny.parts))
    assert not [w for w in recwarn if "schedule has" in str(w.message)]


@pytest.mark.filterwarnings("ignore:schedule has 20 steps")
def test_a_module_that_is_fitted_twice_goes_on_with_its_schedule(tiny, model, fit):
    module, rates = CompVAEModule(model, tiny.schedule(), tiny.parts), Rates()
    fit(module, rates, max_steps=8)
    fit(module, rates, max_steps=12)
    expected = [module.schedule.learning_rate.at(step) for step in range(20)]
    assert [rate for (rate,) in rates.seen] == pytest.approx(expected)
    assert module.step == 20


def test_without_a_trainer_a_module_has_no_scaler(module):
    assert module.configure_optimizers()["optimizer"].defaults["fused"]
    module._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()))
    assert not module.configure_optimizers()["optimizer"].defaults["fused"]
