"""A model as a module among others: wrappers, compilers and summaries call ``forward``."""

import copy

import pytest
import torch
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel
from torch_geometric.nn import summary

from compvae_pyg.nn import PackedParts

SIZES = (3, 0, 1, 5, 2, 0)
S, N = 6, 11


@pytest.fixture
def inputs(batch_of, draw):
    return draw(S, 5), draw(N, 3, seed=1), batch_of(SIZES), S


@pytest.fixture
def one_process():
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


def test_calling_a_model_is_its_elbo(small_model, seeded, inputs, draw):
    model, options = small_model(), {"count": torch.full((N,), 2), "weight": draw(N, seed=2)}
    for more in ({}, options):
        with seeded(7):
            expected = model.elbo(*inputs, **more)
        with seeded(7):
            called = model(*inputs, **more)
        for one, other in zip(called[:3], expected[:3], strict=True):
            assert torch.equal(one, other)
        torch.testing.assert_close(called.likelihood.mean, expected.likelihood.mean)


def test_hooks_of_the_model_see_its_elbo(small_model, inputs):
    model, seen = small_model(), []
    model.register_forward_hook(lambda _, args, out: seen.append((args, out)))
    terms = model(*inputs)
    assert len(seen) == 1 and seen[0][1] is terms and seen[0][0][0] is inputs[0]


@pytest.mark.parametrize("packed", [False, True])
def test_data_parallel_training_has_the_gradients_of_the_elbo(
    small_model, seeded, inputs, one_process, packed
):
    model, (whole, *parts) = small_model(), inputs
    wrapped = DistributedDataParallel(copy.deepcopy(model))
    given = (PackedParts(*parts),) if packed else parts
    for step in range(2):  # an unused parameter shows at the next step
        with seeded(step):
            expected = model(whole, *parts).elbo.sum()
        with seeded(step):
            loss = wrapped(whole, *given).elbo.sum()
        expected.backward()
        loss.backward()
        torch.testing.assert_close(loss, expected)
    for one, other in zip(wrapped.module.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_compiled_model_gives_its_bound_in_one_graph_for_all_shapes(
    small_model, batch_of, draw, seeded, compile_once, backend
):
    model = small_model(residual_posterior=True)
    compiled = compile_once(model, backend)
    generator = torch.Generator().manual_seed(0)
    # More sets than any layer has channels, which would be taken for the same number.
    for count in (12, 15, 19, 14, 17, 13):
        batch = batch_of(torch.randint(0, 6, (count,), generator=generator).tolist())
        given = draw(count, 5), draw(len(batch), 3, seed=1), batch, count
        with seeded(7):
            expected = model(*given)
        with seeded(7):
            out = compiled(*given)
        for one, other in zip(out[:3], expected[:3], strict=True):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(out.likelihood.mean, expected.likelihood.mean)


def test_pyg_sums_a_model_up(small_model, inputs):
    table = summary(small_model(), *inputs)
    for name in ("CompVAE", "CompVAEEncoder", "CompVAEGenerator", "GraphBlock"):
        assert name in table
    total = sum(parameter.numel() for parameter in small_model().parameters())
    assert f"{total:,}" in table


def test_lightning_sums_a_model_up(small_model, inputs):
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.utilities.model_summary import ModelSummary

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = small_model()
            self.example_input_array = inputs

        def forward(self, *given):
            return self.model(*given)

    total = sum(parameter.numel() for parameter in small_model().parameters())
    assert ModelSummary(Module(), max_depth=-1).total_parameters == total
