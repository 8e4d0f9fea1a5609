import math
import os
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from compvae_pyg.data import PartBudgetSampler


def sizes_of(count, last=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, last + 1, (count,), generator=generator)


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    max_parts=st.integers(1, 40),
    num_ranks=st.integers(1, 4),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_every_set_comes_once_within_the_budget_on_one_rank(
    sizes, max_parts, num_ranks, shuffle, epoch
):
    samplers = [
        PartBudgetSampler(sizes, max_parts, shuffle=shuffle, rank=r, num_ranks=num_ranks)
        for r in range(num_ranks)
    ]
    try:
        shares = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            shares.append(list(sampler))
    except ValueError:
        assert len(sizes) < len(samplers[0]) * num_ranks
        return
    drawn = Counter(index for share in shares for batch in share for index in batch)
    assert drawn == Counter(range(len(sizes)))
    for sampler, share in zip(samplers, shares, strict=True):
        assert len(share) == len(sampler)
        for batch in share:
            assert batch
            assert len(batch) == 1 or sum(sizes[index] for index in batch) <= max_parts


def test_no_more_batches_than_the_parts_fill():
    sizes = sizes_of(2000)
    sampler = PartBudgetSampler(sizes, 500)
    assert len(sampler) == math.ceil(int(sizes.sum()) / 500)


def test_outliers_are_batches_of_their_own():
    sampler = PartBudgetSampler([3, 1000, 2, 4, 700, 1], 10)
    batches = sorted(sorted(batch) for batch in sampler)
    assert batches == [[0, 2, 3, 5], [1], [4]]


def test_an_epoch_is_drawn_the_same_again_and_the_next_is_another():
    def draw(seed, epoch):
        sampler = PartBudgetSampler(sizes_of(200), 100, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(1, 1)
    assert draw(1, 0) != draw(2, 0)


def test_drawing_leaves_the_global_random_state_alone():
    state = torch.get_rng_state()
    list(PartBudgetSampler(sizes_of(50), 40))
    assert torch.equal(torch.get_rng_state(), state)


def test_sets_meet_each_other_as_often_as_chance_has_it():
    # 320 sets in 17 batches, tightly packed: two sets share a batch about once in 17 epochs.
    sampler = PartBudgetSampler(sizes_of(320), 160)
    together, epochs = 0, 60
    pairs = [(i, j) for i in range(0, 320, 10) for j in range(5, 320, 10)]
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        owner = {index: b for b, batch in enumerate(sampler) for index in batch}
        together += sum(owner[i] == owner[j] for i, j in pairs)
    assert together / (epochs * len(pairs)) == pytest.approx(1 / len(sampler), rel=0.1)


def test_without_shuffling_batches_follow_the_data():
    sampler = PartBudgetSampler([4, 4, 4, 9, 1, 2], 10, shuffle=False)
    assert list(sampler) == [[0, 1], [2], [3, 4], [5]]
    sampler.set_epoch(1)
    assert list(sampler) == [[0, 1], [2], [3, 4], [5]]


def test_misuse_is_refused(refuses):
    with refuses(ValueError, "sizes"):
        PartBudgetSampler([], 10)
    with refuses(ValueError, "sizes"):
        PartBudgetSampler(torch.tensor([3, -1]), 10)
    with refuses(TypeError, "sizes"):
        PartBudgetSampler([1.5], 10)
    with refuses(ValueError, "max_parts"):
        PartBudgetSampler([1], 0)
    with refuses(ValueError, "seed"):
        PartBudgetSampler([1], 1, seed=-1)
    with refuses(ValueError, "rank and num_ranks"):
        PartBudgetSampler([1], 1, rank=1)
    with refuses(ValueError, "rank"):
        PartBudgetSampler([1], 1, rank=2, num_ranks=2)
    with refuses(ValueError, "ranks"):
        list(PartBudgetSampler([1], 1, rank=0, num_ranks=2))


class Recorder(L.LightningModule):
    """Notes which data come in which epoch."""

    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(1, 1)
        self.epochs = {}

    def training_step(self, batch, batch_idx):
        self.epochs.setdefault(self.current_epoch, []).append(batch.ident.tolist())
        return self.lin(batch.ident.float().view(-1, 1)).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def dataset(sizes):
    return [Data(num_nodes=n, ident=torch.tensor([i])) for i, n in enumerate(sizes.tolist())]


def trainer(folder, **options):
    return L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )


def test_lightning_tells_it_the_epoch(tmp_path):
    sizes = sizes_of(40)
    loader = DataLoader(dataset(sizes), batch_sampler=PartBudgetSampler(sizes, 60))
    module = Recorder()
    trainer(tmp_path).fit(module, loader)
    assert [len(batches) for batches in module.epochs.values()] == [len(loader)] * 3
    for batches in module.epochs.values():
        assert sorted(chain.from_iterable(batches)) == list(range(40))
    assert module.epochs[0] != module.epochs[1] != module.epochs[2]


SCRIPT = """
import importlib.util, os, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("here", sys.argv[1])
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
sizes = here.sizes_of(41)
sampler = here.PartBudgetSampler(sizes, 60)
loader = here.DataLoader(here.dataset(sizes), batch_sampler=sampler)
module = here.Recorder()
trainer = here.trainer(sys.argv[2], devices=2, strategy="ddp", use_distributed_sampler=False)
trainer.fit(module, loader)
torch.save(module.epochs, f"{sys.argv[2]}/rank{trainer.global_rank}.pt")
"""


@pytest.mark.slow
def test_ranks_that_train_together_share_the_data_out(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, script, __file__, tmp_path],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1))
    for epoch in range(3):
        assert len(one[epoch]) == len(two[epoch])
        assert sorted(chain.from_iterable(one[epoch] + two[epoch])) == list(range(41))
