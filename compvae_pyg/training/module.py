"""The training of CompVAE as a LightningModule."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch_geometric.data import Data

from compvae_pyg.models import CompVAE, Elbo
from compvae_pyg.nn import Fields
from compvae_pyg.problems import Schedule
from compvae_pyg.training.compilation import compiled
from compvae_pyg.training.gradient import bound_gradient
from compvae_pyg.training.guard import NonFiniteGuard
from compvae_pyg.training.metrics import RunningMetrics
from compvae_pyg.training.objective import objective, staged_elbo

__all__ = ["CompVAEModule"]


class CompVAEModule(L.LightningModule):
    r"""Trains a :class:`~compvae_pyg.models.CompVAE` by a schedule.

    Any source of PyG batches will do: :class:`GeneratedData`, or a
    :class:`torch_geometric.loader.DataLoader` over ``Data`` objects that hold the fields of the
    parts, ``whole`` (``[1, *event]``) and ``num_nodes``.

    A step whose loss or gradient norm is not finite is skipped before it touches the weights or
    the state of the optimiser, on all ranks alike; it is counted, and after ``patience`` such steps
    in a row training stops.

    Args:
        model: What is trained.
        schedule: Stages, learning rate, Adam's decay rates and the bound on the gradient's norm.
        parts: Takes the description of the parts from a batch, such as
            :meth:`Problem.parts <compvae_pyg.problems.Problem.parts>`.
        patience: Length of the run of skipped steps at which training is given up.
        compile: Whether to run the bound under ``torch.compile``, from torch 2.8. It is compiled in
            the first step of each stage.

    Attributes:
        step: Number of batches seen, skipped ones included.
        metrics: Averages since they were last read.
        guard: Counts the skipped steps.

    Raises:
        TrainingDivergedError: While training, after ``patience`` skipped steps in a row.

    Example:
        >>> from torch_geometric.loader import DataLoader
        >>> from compvae_pyg.problems import Dots
        >>> dots = Dots()
        >>> stored = dots.sample(torch.tensor([1, 2, 3, 1])).to_data_list()
        >>> module = CompVAEModule(dots.build("small"), Schedule(2, 2), dots.parts)
        >>> trainer = L.Trainer(max_steps=2, accelerator="cpu", logger=False, barebones=True)
        >>> trainer.fit(module, DataLoader(stored, batch_size=2))
        >>> module.step
        2
    """

    def __init__(
        self,
        model: CompVAE,
        schedule: Schedule,
        parts: Callable[[Data], Fields],
        *,
        patience: int = 25,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.schedule = schedule
        self.parts = parts
        self.step = 0
        self.metrics = RunningMetrics()
        self.guard = NonFiniteGuard(patience)
        self._staged_elbo = compiled(staged_elbo) if compile else staged_elbo
        self._evaluated: tuple[Tensor, Elbo, Tensor] | None = None

    def training_step(self, batch: Data, batch_idx: int = 0) -> Tensor:
        """Return the mean loss of the wholes of a batch."""
        weights = self.schedule.weights(self.step)
        terms = self._staged_elbo(
            self.model,
            batch.whole,
            self.parts(batch),
            batch.batch,
            batch.num_graphs,
            inferred=weights.stage.inferred,
        )
        loss = objective(terms, batch.whole, weights).mean()
        self._evaluated = (loss.detach(), terms, batch.whole)
        # A factor of 1, or else NaN: a loss that is not finite has no finite gradient, so that the
        # norm of the gradient, which the ranks share, tells them all.
        return loss * (1.0 + (loss.detach() - loss.detach()))

    def configure_optimizers(self) -> Optimizer:
        """Return Adam, whose fused kernel can leave out a step without asking the host."""
        rate = self.schedule.learning_rate.at(self.step)
        return Adam(self.parameters(), lr=rate, betas=self.schedule.betas, fused=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Set the learning rate, bound the gradient and judge the step."""
        for group in optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate.at(self.step)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = bound_gradient(parameters, self.schedule.max_grad_norm)
        assert self._evaluated is not None
        loss, terms, whole = self._evaluated
        self._evaluated = None
        skip = self.guard.judge(self.step, loss, norm)
        # The protocol of torch.amp.GradScaler: where it is 1, the kernel returns at once.
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        self.metrics.add(terms, whole, skip)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, count it, and look at the guard now and then."""
        super().optimizer_step(*args, **kwargs)
        self.step += 1
        if self.step % self.guard.patience == 0 or self.step == self.schedule.num_steps:
            self.guard.check(self.step, self.schedule.weights(self.step - 1).stage.name)

    def on_fit_start(self) -> None:
        """Refuse what the guard does not understand, and move the counters to the device."""
        if self.trainer.precision == "16-mixed":
            raise ValueError("precision must be 32-true or bf16-mixed (got 16-mixed)")
        if self.trainer.accumulate_grad_batches != 1:
            raise ValueError(
                "accumulate_grad_batches must be 1, a batch being a step of the schedule "
                f"(got {self.trainer.accumulate_grad_batches})"
            )
        self.guard.to(self.device)
        self.metrics.sums = self.metrics.sums.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the step, the guard's counters and the sums of the metrics over all ranks."""
        checkpoint["training"] = {
            "step": self.step,
            "guard": {name: value.cpu() for name, value in self.guard.state_dict().items()},
            "metrics": self.sum_over_ranks(self.metrics.sums).cpu(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up training where the checkpoint stood."""
        state = checkpoint["training"]
        self.step = state["step"]
        self.guard.load_state_dict(state["guard"])
        # The sums are those of all ranks together: one takes them on.
        first = self.trainer.global_rank == 0
        self.metrics.sums = state["metrics"] if first else torch.zeros_like(state["metrics"])

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """Return the sum of the ranks' tensors; every rank must call this."""
        return self.trainer.strategy.reduce(value.clone(), reduce_op="sum")
