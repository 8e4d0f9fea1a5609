"""A whole training step, its components one by one, and its lower bound.

    python -m pytest benchmarks/test_step.py

It is the last step of a problem's own schedule: data, forward, backward, gradient norm, Adam.
Its components are timed by themselves, forward and backward, on their inputs in the step. The lower
bound (``floor``) is the matrix products and convolutions of the step alone. The step is taken with
the ELBO under ``torch.compile`` as well.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from benchmarks.measure import Products, interleave
from compvae_pyg import Dots, Sines, SumControlledNormal
from compvae_pyg.distributions.normal import normal_sample
from compvae_pyg.models import CompVAE, Elbo
from compvae_pyg.optim import gradient_norm
from compvae_pyg.problems import Problem
from compvae_pyg.runtime import compiled
from compvae_pyg.training import GeneratedDataset, Schedule, objective

PROBLEMS: dict[str, Problem] = {"dots": Dots(), "sines": Sines()}
# A CPU needs minutes for the 256 wholes of a step of the paper's networks.
PAPER_BATCH_ON_CPU = 32
# A GPU is measured by a product that is large enough to keep it busy.
SQUARE = 8192


def tensors_of(value: Any) -> list[Tensor]:
    """All differentiable tensors in what a network returns."""
    if isinstance(value, Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, Independent):
        value = value.base_dist
    if isinstance(value, Distribution):
        names = ("loc", "scale", "rho")
        return [t for name in names for t in tensors_of(getattr(value, name, None))]
    if isinstance(value, tuple | list):
        return [t for item in value for t in tensors_of(item)]
    return []


def detached(value: Any) -> Any:
    """The same, as leaves of a graph of their own."""
    if isinstance(value, Tensor):
        leaf = value.detach()
        return leaf.requires_grad_() if value.requires_grad else leaf
    if isinstance(value, torch.distributions.Normal):
        return torch.distributions.Normal(detached(value.loc), detached(value.scale))
    return value


class Step:
    """Takes training steps, whole and component by component."""

    def __init__(
        self, problem: Problem, model: CompVAE, schedule: Schedule, autocast: bool, device: Any
    ) -> None:
        self.problem, self.model, self.schedule = problem, model, schedule
        self.device = device
        self.parameters = list(model.parameters())
        self.last = schedule.num_steps - 1
        self.dataset = GeneratedDataset(problem, schedule, device=device)
        self.coefficients = schedule.at(self.last)
        self.optimiser = torch.optim.Adam(
            model.parameters(), lr=1e-6, betas=schedule.betas, fused=True
        )
        self.autocast = autocast
        self.elbo: Callable[..., Elbo] = model.elbo

    def data(self) -> Any:
        return self.dataset[self.last]

    def forward(self, batch: Any) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            terms = self.elbo(batch.whole, self.problem.parts(batch), batch.batch, batch.num_graphs)
        return objective(terms, batch.whole, self.coefficients).mean()

    def optimise(self) -> None:
        gradient_norm(self.parameters)
        self.optimiser.step()

    def __call__(self) -> None:
        self.optimiser.zero_grad()
        self.forward(self.data()).backward()
        self.optimise()

    def components(self) -> dict[str, Callable[[], object]]:
        """The components of a step, each by itself."""
        model, batch = self.model, self.data()
        networks = {
            "embedding": model.embedding,
            "encoder": model.encoder,
            "prior of w": model.generator.w_prior,
            "prior of z": model.generator.z_prior,
            "decoder": model.generator.decoder,
        }
        calls: dict[str, tuple[Any, Any]] = {}
        hooks = [
            network.register_forward_hook(
                lambda _, args, kwargs, out, name=name: calls.update({name: (args, kwargs)}),
                with_kwargs=True,
            )
            for name, network in networks.items()
        ]
        self.forward(batch)
        for hook in hooks:
            hook.remove()

        def by_itself(name: str) -> Callable[[], object]:
            args, kwargs = calls[name]
            args = [detached(value) for value in args]
            kwargs = {key: detached(value) for key, value in kwargs.items()}

            def run() -> None:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                    out = networks[name](*args, **kwargs)
                tensors = tensors_of(out)
                torch.autograd.backward(tensors, [torch.ones_like(t) for t in tensors])

            return run

        w_prior = detached(model.generator.w_prior(self.problem.parts(batch)))
        args, kwargs = calls["encoder"]
        w = model.encoder(*args, **kwargs).w
        leaves = [v.detach().requires_grad_() for v in (w.loc, w.scale, w.coupling_logits)]
        sets = (batch.batch, batch.num_graphs)

        def divergence() -> None:
            q = SumControlledNormal(*leaves, *sets, coupling=w.coupling, validate_args=False)
            total = normal_sample(q.sum_distribution).sum()
            (kl_divergence(q, w_prior).sum() + total).backward()

        return {
            "data": self.data,
            **{name: by_itself(name) for name in networks},
            "sample and KL of w": divergence,
            "optimiser": self.optimise,
        }


@pytest.mark.parametrize("networks", ["small", "paper"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_step(benchmark, device, compiling, request, networks, name) -> None:
    problem = PROBLEMS[name]
    schedule = Schedule.of(problem, "staged" if networks == "small" else "paper")
    if networks == "paper" and device.type == "cpu":
        schedule = replace(schedule, batch_size=PAPER_BATCH_ON_CPU)
    autocast = request.config.getoption("--bf16")
    model = problem.build(networks).to(device).train()
    step = Step(problem, model, schedule, autocast, device)
    step()
    batch = step.data()
    with Products() as floor:
        step.forward(batch).backward()
    benchmark.extra_info.update(
        problem=name,
        networks=networks,
        precision="bf16" if autocast else "float32",
        wholes=schedule.batch_size,
        parts=batch.num_nodes,
    )
    contenders: dict[str, Callable[[], object]] = {
        "step": step,
        "floor": floor,
        **step.components(),
    }
    if device.type == "cuda":
        square = torch.randn(SQUARE, SQUARE, device=device)
        square = square.bfloat16() if autocast else square
        contenders["square product"] = lambda: torch.mm(square, square)
        # Convolutions are not counted, so that the rate is a lower bound.
        benchmark.extra_info.update(flops=floor.flops, square_flops=2 * SQUARE**3)
    if compiling:
        compiled_step = Step(problem, model, schedule, autocast, device)
        compiled_step.elbo = compiled(model.elbo)
        compiled_step()
        contenders["compiled"] = compiled_step
    interleave(benchmark, contenders, device, seconds=15.0)


WORKER = """
import sys, torch
from benchmarks.test_step import PROBLEMS, Step
from compvae_pyg.runtime import keep_freed_memory
from compvae_pyg.training import Schedule
torch.set_num_threads(int(sys.argv[1]))
if sys.argv[3] == "kept":
    assert keep_freed_memory()
problem = PROBLEMS[sys.argv[2]]
model = problem.build("small").train()
step = Step(problem, model, Schedule.of(problem), False, torch.device("cpu"))
for _ in sys.stdin:
    step()
    print(flush=True)
"""


@pytest.mark.parametrize("name", PROBLEMS)
def test_kept_memory(benchmark, device, name) -> None:
    """What keeping freed memory saves: two processes, step by step in turn."""
    if device.type != "cpu":
        pytest.skip("the device's memory is torch's own matter")
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with ExitStack() as stack:

        def worker(how: str) -> Callable[[], object]:
            command = [sys.executable, "-c", WORKER, str(torch.get_num_threads()), name, how]
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                command, cwd=root, env=env, stdin=pipe, stdout=pipe, text=True
            )
            stack.enter_context(process)
            stdin, stdout = process.stdin, process.stdout
            assert stdin is not None and stdout is not None

            def step() -> None:
                stdin.write("\n")
                stdin.flush()
                assert stdout.readline() == "\n", "the worker has died"

            return step

        contenders = {how: worker(how) for how in ("kept", "handed back")}
        for step in contenders.values():
            for _ in range(3):
                step()
        benchmark.extra_info.update(problem=name, networks="small", precision="float32")
        interleave(benchmark, contenders, device)
