import threading

import pytest
import torch
from torch import nn

from compvae_pyg.problems.repeatable import isolated


def test_randomness_inside_comes_from_the_seed_and_leaves_no_trace():
    model, draws = nn.Linear(1, 1), []
    for _ in range(2):
        torch.rand(3)
        state = torch.get_rng_state()
        with isolated(model, seed=5):
            draws.append(torch.rand(4))
        assert torch.equal(torch.get_rng_state(), state)
    with isolated(model, seed=6):
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_threads_inside_and_outside_do_not_disturb_each_other():
    def inside(seed, out):
        own = torch.Generator().manual_seed(9)
        with isolated(nn.Identity(), seed):
            for _ in range(200):
                out.append(torch.cat([torch.rand(4), torch.rand(4, generator=own)]))

    torch.manual_seed(7)
    expected = torch.stack([torch.randn(4) for _ in range(600)])
    alone, drawn = [[], []], [[], []]
    for seed in range(2):
        inside(seed, alone[seed])
    torch.manual_seed(7)
    threads = [threading.Thread(target=inside, args=(seed, drawn[seed])) for seed in range(2)]
    for thread in threads:
        thread.start()
    outside = torch.stack([torch.randn(4) for _ in range(600)])
    for thread in threads:
        thread.join()
    assert torch.equal(outside, expected)
    for seed in range(2):
        assert torch.equal(torch.stack(drawn[seed]), torch.stack(alone[seed]))
    # A source of their own remains what it is.
    assert torch.equal(torch.stack(drawn[0])[:, 4:], torch.stack(drawn[1])[:, 4:])


def test_each_module_returns_to_its_own_mode_even_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].eval()
    with pytest.raises(RuntimeError), isolated(model, seed=0):
        assert not any(module.training for module in model.modules())
        raise RuntimeError
    assert [module.training for module in model.modules()] == [True, True, False]


def test_nothing_inside_records_gradients():
    model = nn.Linear(1, 1)
    with isolated(model, seed=0):
        assert not model(torch.ones(1, 1)).requires_grad
    assert model(torch.ones(1, 1)).requires_grad
