from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from compvae_pyg.training import CompVAEModule, Curriculum, GeneratedData, GeneratedDataset


def equal(one, other):
    return all(
        torch.equal(one[name], other[name]) if one[name].shape == other[name].shape else False
        for name in ("whole", "point", "batch", "ptr")
    )


def trainer_of(module, rank=0, ckpt_path=None, accumulate=1):
    return SimpleNamespace(
        lightning_module=module,
        global_rank=rank,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        ckpt_path=ckpt_path,
        accumulate_grad_batches=accumulate,
    )


def test_a_batch_depends_on_seed_rank_and_step_alone(tiny):
    data = GeneratedDataset(tiny, tiny.schedule(), seed=3, rank=1)
    forwards = [data[step] for step in range(20)]
    torch.manual_seed(99)
    again = GeneratedDataset(tiny, tiny.schedule(), seed=3, rank=1)
    assert all(equal(again[step], forwards[step]) for step in reversed(range(20)))


@pytest.mark.parametrize(("seed", "rank", "step"), [(4, 1, 7), (3, 0, 7), (3, 1, 8)])
def test_seeds_ranks_and_steps_have_batches_of_their_own(tiny, seed, rank, step):
    here = GeneratedDataset(tiny, tiny.schedule(), seed=3, rank=1)[7]
    there = GeneratedDataset(tiny, tiny.schedule(), seed=seed, rank=rank)[step]
    # Twelve wholes of continuous values: were two equal, the streams would be too.
    assert not bool(torch.isin(there.whole, here.whole).any())


def test_generating_leaves_the_global_random_state_alone(tiny):
    state = torch.get_rng_state()
    GeneratedDataset(tiny, tiny.schedule())[0]
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_follow_the_curriculum(tiny):
    data = GeneratedDataset(tiny, replace(tiny.schedule(), batch_size=60))
    largest = [int(data[step].ptr.diff().max()) for step in (0, 3, 4, 8, 12, 19)]
    assert largest == [2, 2, 3, 4, 5, 5]


def test_a_batch_curriculum_gives_wholes_of_one_size(tiny):
    curriculum = Curriculum(5, 5, per="batch")
    data = GeneratedDataset(tiny, replace(tiny.schedule(), curriculum=curriculum))
    sizes = [data[step].ptr.diff().unique().tolist() for step in range(20)]
    assert all(len(size) == 1 for size in sizes)
    assert len({size[0] for size in sizes}) > 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_begin_at_the_step_of_the_module(tiny, model, accumulate):
    schedule = tiny.schedule()
    module = CompVAEModule(model, schedule, tiny.parts)
    module.step = 17
    data = GeneratedData(tiny, schedule, seed=5)
    data.trainer = trainer_of(module, rank=2, accumulate=accumulate)
    expected = GeneratedDataset(tiny, schedule, seed=5, rank=2, accumulate=accumulate)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 3 * accumulate
    assert all(equal(batch, expected[17 * accumulate + i]) for i, batch in enumerate(batches))
    # A trainer that resumes counts those before its checkpoint as well.
    data.trainer = trainer_of(module, 2, "last.ckpt", accumulate)
    loader = data.train_dataloader()
    assert (len(loader), len(list(loader))) == (20 * accumulate, 3 * accumulate)


def test_the_batches_of_a_step_have_its_sizes(tiny):
    data = GeneratedDataset(tiny, replace(tiny.schedule(), batch_size=60), accumulate=3)
    largest = [int(data[index].ptr.diff().max()) for index in (0, 11, 12, 23, 24)]
    assert (len(data), largest) == (60, [2, 2, 3, 3, 4])


def test_misuse_is_refused(tiny, refuses):
    data = GeneratedDataset(tiny, tiny.schedule())
    assert len(data) == 20
    with refuses(IndexError, "step"):
        data[20]
    with refuses(ValueError, "seed"):
        GeneratedDataset(tiny, tiny.schedule(), seed=-1)
    with refuses(ValueError, "seed"):
        GeneratedData(tiny, tiny.schedule(), seed=-1)
    loader = GeneratedData(tiny, tiny.schedule())
    with refuses(RuntimeError, "train_dataloader"):
        loader.train_dataloader()
