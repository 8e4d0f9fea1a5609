"""Stored wholes: splits, epochs, resumption, several processes, and what is refused."""

import copy
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as PyGLoader

from compvae_pyg import Sines
from compvae_pyg.data import ParquetWholes, PartBudgetSampler
from compvae_pyg.training import (
    CompVAEModule,
    LearningRate,
    Schedule,
    StoredData,
    TrainConfig,
    split_wholes,
    train,
)

SCHEDULE = Schedule(24, batch_size=4, learning_rate=LearningRate(1e-2))


def listed(count=40, seed=0):
    """Wholes whose first coordinate is their number."""
    random = np.random.default_rng(seed)
    out = []
    for number, size in enumerate(random.integers(0, 6, count).tolist()):
        whole = torch.tensor([[float(number), 0.0, 1.0, 2.0]])
        kind, length = torch.arange(size) % 3, torch.full((size,), float(number))
        day = torch.tensor([number // 7])
        out.append(Data(kind=kind, size=length, whole=whole, day=day, num_nodes=size))
    return out


def numbers(batches):
    return [batch.whole[:, 0].long().tolist() for batch in batches]


def flat(batches):
    return list(chain.from_iterable(batches))


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# Splits


@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=30),
    seed=st.integers(0, 5),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.7, 0.3, 0.0)]),
)
def test_splits_are_disjoint_and_complete_and_do_not_divide_groups(sizes, seed, fractions):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    try:
        splits = split_wholes(len(groups), fractions, groups=groups, seed=seed)
    except ValueError as error:
        assert "fractions" in str(error)
        return
    assert sorted(flat(splits)) == list(range(len(groups)))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not set(groups[splits[one]]) & set(groups[splits[other]])
    for split, fraction in zip(splits, fractions, strict=True):
        # As near as whole groups come, at either end.
        assert abs(len(split) - fraction * len(groups)) <= max(sizes)


def test_splits_are_those_of_their_seed():
    one, again, other = (split_wholes(50, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert one[0].tolist() != other[0].tolist()
    assert [len(split) for split in one] == [40, 5, 5]
    many = np.concatenate([split_wholes(50, seed=seed)[2] for seed in range(200)])
    assert np.bincount(many, minlength=50).min() > 5  # of 20


def test_the_split_and_the_batches_do_not_depend_on_workers(folder):
    seen = []
    for num_workers in (0, 1, 2):
        data = StoredData(folder, batch_size=5, group="day", seed=3, num_workers=num_workers)
        loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        seen.append([batch.whole for loader in loaders for batch in loader])
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def test_groups_of_a_column_stay_together(folder, tables):
    days = np.array(tables(40)[0]["day"])
    data = StoredData(folder, group="day", fractions=(0.6, 0.2, 0.2))
    of = [set(days[indices]) for indices in data.indices.values()]
    assert sum(map(len, of)) == len(set(days)) and set.union(*of) == set(days)
    wholes = StoredData(listed(), group="day", fractions=(0.6, 0.2, 0.2))
    assert all(len(set(split // 7)) <= 4 for split in wholes.indices.values())
    assert wholes.fields == ("kind", "size")


# Epochs


@pytest.mark.parametrize("limit", [{"batch_size": 5}, {"max_parts": 12}])
def test_an_epoch_has_each_whole_once_and_the_next_is_another(limit):
    data = StoredData(listed(), fractions=(0.9, 0.1, 0.0), **limit)
    loader, state = data.train_dataloader(), torch.get_rng_state()
    one, two = numbers(loader), numbers(loader)
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(flat(one)) == sorted(flat(two)) == data.indices["train"].tolist()
    assert one != two and len(one) == len(two) == len(loader)
    again = StoredData(listed(), fractions=(0.9, 0.1, 0.0), **limit)
    assert [numbers(again.train_dataloader()) for _ in range(2)] == [one, two]
    val = numbers(data.val_dataloader())
    assert flat(val) == data.indices["val"].tolist() and val == numbers(data.val_dataloader())
    if "max_parts" in limit:
        assert max(batch.num_nodes for batch in loader) <= 12
    else:
        assert {len(batch) for batch in one} <= {4, 5}
    assert data.test_dataloader() == []


def test_a_budget_sampler_shuffles_each_epoch_in_a_plain_loop():
    sampler = PartBudgetSampler([3, 1, 2, 5, 4, 1, 2, 3] * 4, 10)
    one, two = list(sampler), list(sampler)
    assert one != two and sorted(flat(one)) == sorted(flat(two)) == list(range(32))
    sampler.set_epoch(1)
    assert list(sampler) == two


@pytest.mark.parametrize("limit", [{"batch_size": 3}, {"max_parts": 10}])
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_an_epoch_out(limit, num_ranks):
    data = StoredData(listed(), fractions=(0.7, 0.3, 0.0), **limit)
    for split in ("train", "val"):
        shares = []
        for rank in range(num_ranks):
            data.trainer = SimpleNamespace(training=False, global_rank=rank, world_size=num_ranks)
            data._begun = 0
            loader = getattr(data, f"{split}_dataloader")()
            shares.append(numbers(loader))
            assert len(shares[-1]) == len(loader)
        assert len({len(share) for share in shares}) == 1
        # Disjoint, and the epoch together.
        assert sorted(flat(flat(shares))) == data.indices[split].tolist()


def test_data_of_any_kind_of_source_are_the_same():
    wholes = listed()

    class Lazy(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return wholes[index]

    expected = numbers(StoredData(wholes, batch_size=4).train_dataloader())
    for source in (Lazy(), (data for data in wholes), tuple(wholes)):
        assert numbers(StoredData(source, batch_size=4).train_dataloader()) == expected


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_categories_of_any_integers_come_in_64_bits(dtype):
    wholes = listed()
    narrow = [data.clone().update({"kind": data.kind.to(dtype)}) for data in wholes]
    for one, other in zip(
        StoredData(narrow, batch_size=4).train_dataloader(),
        StoredData(wholes, batch_size=4).train_dataloader(),
        strict=True,
    ):
        assert one.kind.dtype == torch.long and torch.equal(one.kind, other.kind)


def test_a_batch_of_stored_wholes_is_that_of_their_tables(folder):
    table = ParquetWholes(folder / "wholes.parquet", folder / "parts.parquet")
    one = StoredData(list(table), batch_size=7).train_dataloader()
    other = StoredData(folder, batch_size=7).train_dataloader()
    for a, b in zip(one, other, strict=True):
        for name in ("whole", "kind", "size", "batch", "ptr"):
            assert torch.equal(a[name], b[name])
        assert a.num_graphs == b.num_graphs and set(a.keys()) == set(b.keys())


# Training


def options(output, **more):
    fixed = {"accelerator": "cpu", "checkpoint_every": 4, "log_every": 3, "progress": False}
    return TrainConfig(output=output, **{**fixed, **more})


def run(output, model, data, schedule=SCHEDULE, callbacks=(), **more):
    return train(
        model=model, schedule=schedule, config=options(output, **more), data=data,
        callbacks=callbacks,
    )  # fmt: skip


class Cut(L.Callback):
    """Ends training by an error in the middle of a step, and notes the wholes that come."""

    def __init__(self, step=None):
        self.step, self.seen = step, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.step == self.step:
            raise OSError("power cut")
        self.seen.append(batch.whole[:, 0].clone())


def last(output):
    return torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tables, write, build):
    """Three epochs of eight batches, of four wholes each."""
    root = tmp_path_factory.mktemp("stored")
    folder, whole = write(root / "data", *tables(40)), Cut()
    model = run(root / "out", build(), StoredData(folder, num_workers=2), callbacks=[whole])
    return folder, model.state_dict(), whole.seen


@pytest.mark.parametrize("crash", [6, 8, 14, 23])
def test_training_resumes_in_the_middle_of_an_epoch_to_the_bit(
    tmp_path, uninterrupted, build, crash
):
    folder, expected, seen = uninterrupted
    assert len(seen) == 24
    cut, rest, saved = Cut(crash), Cut(), crash // 4 * 4
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, build(), StoredData(folder, num_workers=2), callbacks=[cut])
    assert last(tmp_path)["training"]["step"] == saved
    torch.manual_seed(77)
    data = StoredData(folder, num_workers=2)
    model = run(tmp_path, build(), data, callbacks=[rest], resume=True)
    assert all(torch.equal(a, b) for a, b in zip(cut.seen, seen[:crash], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(rest.seen, seen[saved:], strict=True))
    assert same(model.state_dict(), expected)


SCRIPT = """
import importlib.util, os, signal, sys
import lightning as L
import torch
from compvae_pyg.training import StoredData
sys.path.insert(0, sys.argv[1])
import conftest, test_stored
class Die(L.Callback):
    def on_train_batch_start(self, trainer, pl_module, *args):
        if pl_module.step == 14:
            os.kill(os.getpid(), signal.SIGKILL)
model = conftest.build.__wrapped__()()
torch.set_num_threads(int(sys.argv[4]))
test_stored.run(test_stored.Path(sys.argv[3]), model, StoredData(sys.argv[2], num_workers=2),
                callbacks=[Die()])
"""


@pytest.mark.slow
def test_training_on_tables_survives_kill_9(tmp_path, uninterrupted, build):
    folder, expected, _ = uninterrupted
    here, scratch = Path(__file__).parent, tmp_path / "scratch"
    scratch.mkdir()
    died = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            here,
            folder,
            tmp_path / "out",
            f"{torch.get_num_threads()}",
        ],
        env={**os.environ, "PYTHONPATH": str(here.parents[1]), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert last(tmp_path / "out")["training"]["step"] == 12
    model = run(tmp_path / "out", build(), StoredData(folder, num_workers=2), resume=True)
    assert same(model.state_dict(), expected)


@pytest.mark.parametrize("crashes", [(9, 17), (8, 16), (13, 18, 21), (4, 9, 13, 17)])
def test_training_resumes_again_and_again(tmp_path, uninterrupted, build, crashes):
    """Also where it resumes at the ends of epochs, after which the Trainer counts other epochs."""
    folder, expected, seen = uninterrupted
    for number, crash in enumerate(crashes):
        with pytest.raises(OSError, match="power cut"):
            run(tmp_path, build(), StoredData(folder), callbacks=[Cut(crash)], resume=number > 0)
    rest = Cut()
    model = run(tmp_path, build(), StoredData(folder), callbacks=[rest], resume=True)
    assert torch.equal(torch.cat(rest.seen), torch.cat(seen[crashes[-1] // 4 * 4 :]))
    assert same(model.state_dict(), expected)


def test_data_that_were_trained_on_before_can_be_resumed_with(tmp_path, folder, build):
    data = StoredData(folder)
    with pytest.raises(OSError, match="power cut"):
        run(tmp_path, build(), data, callbacks=[Cut(6)])
    run(tmp_path, build(), data, resume=True)
    assert last(tmp_path)["training"]["step"] == 24


def test_ctrl_c_in_the_middle_of_an_epoch_is_resumed(tmp_path, uninterrupted, build, refuses):
    class Press(Cut):
        def on_train_batch_start(self, trainer, pl_module, *args):
            super().on_train_batch_start(trainer, pl_module, *args)
            if pl_module.step == 13:
                os.kill(os.getpid(), signal.SIGINT)

    folder, expected, seen = uninterrupted
    press, rest = Press(), Cut()
    with refuses(KeyboardInterrupt, "resume"):
        run(tmp_path, build(), StoredData(folder), callbacks=[press])
    model = run(tmp_path, build(), StoredData(folder), callbacks=[rest], resume=True)
    assert (len(press.seen), len(rest.seen)) == (14, 10)
    assert torch.equal(torch.cat(press.seen + rest.seen), torch.cat(seen))
    assert same(model.state_dict(), expected)


QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.mark.parametrize("limit", [{}, {"max_parts": 9}])
@pytest.mark.filterwarnings("ignore:schedule has", "ignore:Checkpoint directory")
def test_a_plain_trainer_resumes_with_the_next_batch(tmp_path, build, limit):
    """Also where epochs end early, steps take two batches, and validation comes in between."""

    def fit(path=None):
        seen = Cut()
        keep = {"filename": "{step}", "save_top_k": -1}
        steps = ModelCheckpoint(tmp_path / "step", every_n_train_steps=1, **keep)
        vals = ModelCheckpoint(tmp_path / "val", monitor="val/elbo", **keep)
        trainer = L.Trainer(
            callbacks=[seen, steps, vals],
            max_steps=11,
            accumulate_grad_batches=2,
            limit_train_batches=6,
            val_check_interval=3,
            **QUIET,
        )
        data = StoredData(listed(), **limit)
        trainer.fit(CompVAEModule(build(), SCHEDULE), data, ckpt_path=path, weights_only=True)
        return seen.seen

    expected = fit()
    assert len(expected) == 22
    assert not torch.equal(torch.cat(expected[:6]), torch.cat(expected[6:12]))
    # Validation comes in the middle of each epoch, within a step of two batches, and at its end.
    places = {"step=3": 6, "step=5": 10}
    for folder, steps in (("step", places), ("val", {"step=4": 9, "step=6": 12})):
        for name, done in steps.items():
            rest = fit(tmp_path / folder / f"{name}.ckpt")
            assert torch.equal(torch.cat(rest), torch.cat(expected[done:])), name


@pytest.mark.filterwarnings("ignore:schedule has", "ignore:You requested to overfit")
def test_overfitting_sees_the_same_batches_in_each_epoch(build):
    seen, quiet = Cut(), {**QUIET, "enable_checkpointing": False, "limit_val_batches": 0}
    trainer = L.Trainer(callbacks=[seen], overfit_batches=2, max_epochs=3, **quiet)
    trainer.fit(CompVAEModule(build(), SCHEDULE), StoredData(listed()))
    one, two, three = (torch.cat(seen.seen[at : at + 2]) for at in (0, 2, 4))
    assert len(seen.seen) == 6 and torch.equal(one, two) and torch.equal(one, three)


@pytest.mark.filterwarnings("ignore:schedule has")
def test_early_stopping_and_the_best_checkpoint_follow_the_validation(tmp_path, build, folder):
    class Worse(L.Callback):
        """Spoils the weights more and more from the third epoch on."""

        def on_validation_start(self, trainer, pl_module):
            if trainer.current_epoch >= 2:
                with torch.no_grad():
                    pl_module.model.generator.decoder.network.net.lin.bias.add_(5.0)

    stop = EarlyStopping("val/elbo", mode="max", patience=2)
    best = ModelCheckpoint(tmp_path / "best", monitor="val/elbo", mode="max")
    module, data = CompVAEModule(build(), Schedule(400, batch_size=4)), StoredData(folder)
    quiet = {**QUIET, "num_sanity_val_steps": 0}
    trainer = L.Trainer(callbacks=[Worse(), stop, best], max_epochs=20, **quiet)
    trainer.fit(module, datamodule=data)
    epochs = torch.load(best.best_model_path, weights_only=True)["epoch"]
    assert stop.stopped_epoch == epochs + 2 <= 4
    (found,) = trainer.test(module, datamodule=data, verbose=False)
    assert np.isfinite(found["test/elbo"])
    # The same callbacks in `train`.
    stop = EarlyStopping("val/elbo", mode="max", patience=2)
    run(tmp_path / "out", build(), data, Schedule(400, 4), callbacks=[Worse(), stop])
    assert 0 < stop.stopped_epoch <= 4


def test_train_validates_every_few_steps_and_by_the_number_of_parts(tmp_path, uninterrupted, build):
    folder, expected, _ = uninterrupted
    steps = []

    class Look(L.Callback):
        def on_validation_end(self, trainer, pl_module):
            steps.append(pl_module.step)
            assert {"val/elbo", "val/elbo/K=2", "val/elbo/K=3"} <= set(trainer.callback_metrics)

    how = {"validate_every": 5, "by_num_parts": (2, 3), "callbacks": [Look()]}
    model = train(StoredData(folder), build(), SCHEDULE, options(tmp_path), **how)
    assert steps == [0, 5, 10, 15, 20]  # before training, a few wholes to find mistakes early
    assert same(model.state_dict(), expected)


def join(rank, port, folder, output, model, crash, resume):
    """What torchrun would start."""
    tempfile.tempdir = str(output.parent / "scratch")
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test",
    )  # fmt: skip
    seen = Cut(crash)
    with suppress(OSError):
        run(output, model, StoredData(folder), callbacks=[seen], devices=2, resume=resume)
    torch.save((model.state_dict(), seen.seen), f"{output}.rank{rank}.pt")


def run_two(*args):
    """Return the weights of two ranks, and the wholes that they see."""
    fork = torch.multiprocessing.get_context("fork")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [fork.Process(target=join, args=(rank, port, *args)) for rank in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0, 0]
    return [torch.load(f"{args[1]}.rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_see_disjoint_batches_that_are_the_epoch(tmp_path, folder, build):
    (tmp_path / "scratch").mkdir()
    one, two = run_two(folder, tmp_path / "out", build(), None, False)
    assert same(one[0], two[0]) and not list((tmp_path / "scratch").glob("compvae_pyg-*"))
    data = StoredData(folder)
    table = data.wholes.batch(data.indices["train"]).whole[:, 0]
    assert len(one[1]) == len(two[1]) == 24
    for start in range(0, 24, 4):  # four steps an epoch
        epoch = torch.cat(one[1][start : start + 4] + two[1][start : start + 4])
        assert torch.equal(epoch.sort().values, table.sort().values)
    # They resume in the middle of an epoch as well.
    output = tmp_path / "cut"
    run_two(folder, output, build(), 11, False)
    assert last(output)["training"]["step"] == 8
    run_two(folder, output, build(), 23, True)
    assert last(output)["training"]["step"] == 20
    for rest, whole in zip(run_two(folder, output, build(), None, True), (one, two), strict=True):
        assert same(rest[0], whole[0]) and torch.equal(torch.cat(rest[1]), torch.cat(whole[1][20:]))


# Normalisation


def test_the_training_split_sets_the_normalisation_once(tmp_path, folder, build):
    data, model = StoredData(folder), build()
    run(tmp_path / "one", model, data, Schedule(2, 4))
    units = model.embedding.whole_embedding
    wholes = data.wholes.batch(data.indices["train"]).whole
    torch.testing.assert_close(units.mean, wholes.mean(0))
    torch.testing.assert_close(units.std, wholes.std(0, correction=0))
    before = copy.deepcopy(units.state_dict())
    run(tmp_path / "two", model, StoredData(folder, seed=5), Schedule(2, 4))
    assert same(units.state_dict(), before)


def test_a_choice_of_fields_is_given_to_the_model(tmp_path, refuses):
    sines = Sines()
    stored = sines.sample(torch.arange(1, 13) % 4).to_data_list()
    config = options(tmp_path, log_every=1)
    model = sines.build("small", hidden_channels=8)
    data = StoredData(stored, fields=["category"])
    train(data, model, Schedule(1, 4), config)
    assert data.fields == ("category",)
    (batch,) = StoredData(stored, fields=["category"], batch_size=12).train_dataloader()
    assert sorted(batch.keys()) == ["batch", "category", "num_nodes", "ptr", "whole"]
    with refuses(ValueError, "fields"):
        StoredData(stored, fields=["color"])
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    # The largest number of parts there is, and not that of a curriculum.
    assert dict(zip(header.split(","), row.split(","), strict=True))["max_parts"] == "3"


def test_a_loader_of_ones_own_without_normalisation_warns(tmp_path, build):
    loader = PyGLoader(listed(), batch_size=8)
    trainer = L.Trainer(**QUIET, default_root_dir=tmp_path, max_steps=1)
    with pytest.warns(UserWarning, match="fit_normalization"):
        trainer.fit(CompVAEModule(build(), SCHEDULE), loader)


def test_a_run_that_was_stopped_early_is_finished(tmp_path, build):
    def stop():
        return EarlyStopping("val/elbo", mode="max", patience=1, min_delta=1e9)

    data = StoredData(listed(), batch_size=4)
    model = run(tmp_path, build(), data, callbacks=[stop()])
    step = last(tmp_path)["training"]["step"]
    assert step < SCHEDULE.num_steps
    seen = Cut()
    again = run(
        tmp_path, build(), StoredData(listed(), batch_size=4), callbacks=[stop(), seen], resume=True
    )
    assert not seen.seen and same(again.state_dict(), model.state_dict())
    assert last(tmp_path)["training"]["step"] == step


# What does not fit


def test_a_run_on_other_data_is_not_resumed(tmp_path, folder, build, refuses):
    run(tmp_path, build(), StoredData(folder), Schedule(2, 4))
    for other in (
        StoredData(folder, seed=1),
        StoredData(folder, fractions=(0.7, 0.2, 0.1)),
        StoredData(folder, batch_size=3),
        StoredData(listed()),
    ):
        with refuses(ValueError, "data"):
            run(tmp_path, build(), other, Schedule(2, 4), resume=True)


def test_a_run_on_data_of_other_values_is_not_resumed(tmp_path, build, refuses):
    wholes = listed()
    run(tmp_path, build(), StoredData(wholes), Schedule(2, 4))
    wholes[3].whole = wholes[3].whole + 1e-6
    with refuses(ValueError, "data"):
        run(tmp_path, build(), StoredData(wholes), Schedule(2, 4), resume=True)


@pytest.mark.filterwarnings("ignore:schedule has")
def test_a_plain_trainer_is_not_resumed_on_other_data(tmp_path, build, refuses):
    common = {**QUIET, "default_root_dir": tmp_path, "max_steps": 3}
    trainer = L.Trainer(**common)
    trainer.fit(CompVAEModule(build(), SCHEDULE), StoredData(listed()))
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    with refuses(ValueError, "seed"):
        L.Trainer(**common).fit(
            CompVAEModule(build(), SCHEDULE),
            StoredData(listed(), seed=1),
            ckpt_path=tmp_path / "saved.ckpt",
            weights_only=True,
        )


def changed(**attributes):
    wholes = listed()
    for name, value in attributes.items():
        wholes[3][name] = value
    return wholes


def test_wholes_that_do_not_fit_are_refused(refuses):
    with refuses(ValueError, "wholes"):
        StoredData([])
    with refuses(TypeError, "wholes"):
        StoredData(3)
    with refuses(TypeError, "wholes"):
        StoredData([torch.zeros(3)])
    with refuses(ValueError, "whole"):
        StoredData(changed(whole=torch.zeros(1, 3)))
    with refuses(ValueError, "whole"):
        StoredData(changed(whole=torch.zeros(4)))
    with refuses(ValueError, "whole"):
        StoredData(changed(whole=torch.full((1, 4), torch.nan)))
    with refuses(ValueError, "size"):
        StoredData(changed(size=torch.full((listed()[3].num_nodes,), torch.inf)))
    with refuses(ValueError, "city"):
        StoredData(listed(), group="city")
    with refuses(ValueError, "fields"):
        StoredData([Data(whole=torch.zeros(1, 4), num_nodes=2)])
    with refuses(ValueError, "num_nodes"), pytest.warns(UserWarning, match="num_nodes"):
        StoredData([Data(kind=torch.zeros(2), whole=torch.zeros(1, 4))])


def test_arguments_that_do_not_fit_are_refused(tmp_path, build, refuses):
    with refuses(ValueError, "batch_size"):
        StoredData(listed(), batch_size=0)
    with refuses(ValueError, "max_parts"):
        StoredData(listed(), batch_size=2, max_parts=5)
    with refuses(ValueError, "num_workers"):
        StoredData(listed(), num_workers=-1)
    with refuses(ValueError, "seed"):
        StoredData(listed(), seed=-1)
    for fractions in ((0.8, 0.2), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)):
        with refuses(ValueError, "fractions"):
            StoredData(listed(), fractions=fractions)
    with refuses(ValueError, "fractions"):
        StoredData(listed(4))
    with refuses(ValueError, "groups"):
        split_wholes(3, groups=[1, 2])
    with refuses(TypeError, "fractions"):
        split_wholes(3, 0.8)
    with refuses(ValueError, "batch_size"):
        StoredData(listed()).train_dataloader()
    with refuses(FileNotFoundError, "wholes"):
        StoredData(tmp_path)
    with refuses(TypeError, "model"):
        train(listed(), None, SCHEDULE, options(tmp_path))
    with refuses(TypeError, "wholes"):
        train(None, build(), SCHEDULE, options(tmp_path))
