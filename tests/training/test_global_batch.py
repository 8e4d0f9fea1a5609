"""Two processes that train together are one process on the batches of both."""

import multiprocessing
import os
import socket
from dataclasses import replace

import torch
from torch.distributions import Independent, Normal
from torch_geometric.data import Batch

from compvae_pyg.models import Elbo
from compvae_pyg.training import GeneratedDataset
from compvae_pyg.training import module as training_module

fork = multiprocessing.get_context("fork")
STEPS, WHOLES = 12, 3


def noise_by_rank(ranks):
    """Let the wholes of each rank have noise of that rank and step, whoever evaluates them."""
    evaluate, step = training_module.staged_elbo, 0

    def staged_elbo(model, whole, parts, **options):
        nonlocal step
        terms = []
        for place, rank in enumerate(ranks):
            rows = range(place * WHOLES, (place + 1) * WHOLES)
            torch.manual_seed(1000 * step + rank)
            terms.append(evaluate(model, whole[rows], parts.select(rows), **options))
        step += 1
        columns = [torch.cat(column) for column in zip(*(t[:3] for t in terms), strict=True)]
        mean, scale = (
            torch.cat([getattr(t.likelihood.base_dist, name) for t in terms])
            for name in ("loc", "scale")
        )
        return Elbo(*columns, Independent(Normal(mean, scale), 1))

    training_module.staged_elbo = staged_elbo


def schedule_of(tiny, batch_size):
    return replace(tiny.schedule(STEPS), batch_size=batch_size)


def join(run, tiny, rank, port, folder):
    """What torchrun would start."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        GROUP_RANK="0",
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="test",
    )
    torch.manual_seed(1)
    model = tiny.build()
    noise_by_rank([rank])
    run(folder / "two", model, schedule=schedule_of(tiny, WHOLES), devices=2)
    torch.save(model.state_dict(), folder / f"rank{rank}.pt")


class Both:
    """The problem whose batches are those of two ranks, one after the other."""

    def __init__(self, tiny):
        self.tiny, self.step = tiny, 0
        schedule = schedule_of(tiny, WHOLES)
        self.ranks = [GeneratedDataset(tiny, schedule, seed=0, rank=rank) for rank in (0, 1)]

    def __call__(self, num_parts, generator=None):
        wholes = [data for rank in self.ranks for data in rank[self.step].to_data_list()]
        self.step += 1
        return Batch.from_data_list(wholes)


def test_two_processes_take_the_steps_of_one_on_the_batches_of_both(tmp_path, run, tiny):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        fork.Process(target=join, args=(run, tiny, rank, port, tmp_path)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)

    torch.manual_seed(1)
    model = tiny.build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noise_by_rank([0, 1])
    tiny.sample = Both(type(tiny)())
    run(tmp_path / "one", model, schedule=schedule_of(tiny, 2 * WHOLES))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=1e-6)
        assert not torch.equal(value, before[name])


def test_ranks_draw_data_of_their_own_the_same_each_time(tiny):
    ranks = [GeneratedDataset(tiny, tiny.schedule(), seed=3, rank=rank) for rank in (0, 1, 0)]
    for step in range(5):
        one, two, again = (rank[step] for rank in ranks)
        assert torch.equal(one.whole, again.whole) and torch.equal(one.point, again.point)
        assert not torch.equal(one.whole, two.whole)
