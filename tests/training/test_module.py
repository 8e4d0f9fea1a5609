from dataclasses import replace

import lightning as L
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from compvae_pyg.training import CompVAEModule, LearningRate, Schedule, Stage, staged_elbo


def test_learning_rate_and_decay_rates_follow_the_schedule(module, fit):
    rates = []

    class Rates(L.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    trainer = fit(module, Rates())
    assert rates == pytest.approx([module.schedule.learning_rate.at(t) for t in range(20)])
    assert trainer.optimizers[0].param_groups[0]["betas"] == (0.5, 0.9)


def test_the_gradient_is_bounded(tiny, model, recorder, fit):
    free = CompVAEModule(model, replace(tiny.schedule(), max_grad_norm=None), tiny.parts)
    fit(free, recorder)
    assert max(recorder.grad_norm) > 0.1
    recorder.grad_norm.clear()
    bounded = CompVAEModule(model, replace(tiny.schedule(), max_grad_norm=0.1), tiny.parts)
    fit(bounded, recorder)
    assert max(recorder.grad_norm) <= 0.1 * (1 + 1e-5)


def test_each_stage_opens_its_latents(module, faults, fit):
    fit(module)
    opened = [(bool(t.kl_w.any()), bool(t.kl_z.any())) for t in faults.terms]
    assert opened == [(False, False)] * 5 + [(True, False)] * 7 + [(True, True)] * 8


def test_one_step_is_adam_on_the_mean_objective(tiny, model, fit):
    """Its first step moves each weight by lr / (1 + eps / |gradient|) against the gradient."""
    labels = Stage("labels", 1.0, inferred="none", loss="squared_error")  # has no noise
    schedule = Schedule(1, 3, stages=(labels,), learning_rate=LearningRate(initial=0.01))
    batch = tiny.sample(torch.tensor([2, 1, 2]), torch.Generator().manual_seed(3))
    terms = staged_elbo(model, batch.whole, batch.point, batch.batch, inferred="none")
    mean = terms.likelihood.mean
    loss = (batch.whole - mean).square().sum(dim=1).mean()
    weights = list(model.generator.parameters())
    gradients = torch.autograd.grad(loss, weights)
    expected = [
        weight.detach() - 0.01 * gradient / (gradient.abs() + 1e-8)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    fit(CompVAEModule(model, schedule, tiny.parts), data=DataLoader(batch.to_data_list(), 3))
    for weight, target in zip(weights, expected, strict=True):
        assert torch.allclose(weight, target, atol=1e-6)


def test_stored_data_needs_only_a_loader(tiny, module, fit):
    stored = [
        Data(point=torch.randn(k, 2), whole=torch.randn(1, 4), num_nodes=k)
        for k in (1, 3, 2, 2, 1, 4, 2)
    ]
    trainer = fit(module, data=DataLoader(stored, batch_size=3, shuffle=True))
    assert trainer.current_epoch >= 6
    assert module.step == 20


def test_networks_run_in_bfloat16(module, faults, fit):
    dtypes = []
    module.model.encoder.w_head.register_forward_hook(lambda *args: dtypes.append(args[2].dtype))
    fit(module, precision="bf16-mixed")
    assert set(dtypes) == {torch.bfloat16}
    assert {t.dtype for t in faults.terms[-1][:3]} == {torch.float32}
    assert int(module.guard.state["skipped"]) == 0
    assert all(p.dtype == torch.float32 for p in module.parameters())


def test_averages_are_over_wholes_not_batches(tiny, module, faults, fit):
    stored = [
        Data(point=torch.randn(k, 2), whole=torch.randn(1, 4), num_nodes=k) for k in (1, 3, 2, 2)
    ]
    fit(module, data=DataLoader(stored, batch_size=3))
    # The last epoch's: a batch of three wholes and one of one.
    kl_w = torch.cat([t.kl_w for t in faults.terms[-2:]])
    assert len(kl_w) == 4
    assert module.row["kl_w"] == pytest.approx(float(kl_w.mean()), rel=1e-5)
