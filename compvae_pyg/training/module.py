"""The training of CompVAE as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.distributions import Normal
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch_geometric.data import Data

from compvae_pyg.distributions.aggregate_posterior import code_distance, code_figures
from compvae_pyg.models import CompVAE, CompVAEGenerator, Posterior, build_architecture
from compvae_pyg.models.staged_elbo import staged_elbo
from compvae_pyg.networks import Normalization
from compvae_pyg.networks.category_normal import follow_posterior
from compvae_pyg.nn import Fields, PackedParts
from compvae_pyg.nn.checks import check_counts, check_has_wholes, check_model, check_type
from compvae_pyg.optim import NonFiniteGuard, gradient_norm, parameters_of, skip_step
from compvae_pyg.runtime import compiled
from compvae_pyg.training.objective import measured, named, objective
from compvae_pyg.training.schedule import Schedule

__all__ = ["CompVAEModule"]


class CompVAEModule(L.LightningModule):
    r"""Trains, validates and tests a :class:`~compvae_pyg.models.CompVAE`.

    It takes PyG batches from any loader: their ``Data`` objects hold the fields of the parts,
    ``whole`` (``[1, *event]``) and ``num_nodes``.

    A step whose loss or gradient norm is not finite is skipped on all ranks before it touches the
    weights or the state of the optimiser, and counted. On a GPU, optimisers without a fused kernel
    wait for the device to learn of it.

    Every ``log_every_n_steps`` of the Trainer and at the end of an epoch, it logs averages over the
    wholes since the last time: ``train/elbo``, ``kl_w``, ``kl_z``, ``reconstruction`` in nats and,
    as ``train/elbo_bits``, …, in bits, and ``mse``; beside ``stage`` (its number), ``max_parts``,
    ``beta_w``, ``beta_z``, ``learning_rate`` and ``skipped_steps``, and how well the codes of the
    last batch fill their prior, :func:`code_variance` and :func:`code_distance`. Validation and
    test log the terms of the ELBO and these two, whatever the stage, as ``val/elbo``, …,
    ``test/elbo``, …, with the same noise each time, each rank its own.

    Args:
        model: What is trained; or its ``config``, to build it.
        schedule: The training schedule.
        parts: Function of a batch that returns the fields of its parts, such as
            :meth:`Problem.parts <compvae_pyg.problems.Problem.parts>`; by default all attributes
            with a row for each part.
        patience: Length of the run of skipped steps at which a :class:`TrainingDivergedError` is
            raised.
        compile: Whether to run the ELBO under ``torch.compile``, from torch 2.8.
        by_num_parts: Numbers of parts K whose wholes are validated and tested apart as well, as
            ``val/elbo/K=3``, ….

    Attributes:
        step: Number of steps of the optimiser, skipped ones included.
        guard: Counts the skipped steps.
        row: What was last logged, the stage by its name.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range, torch cannot
            compile, or a batch has no wholes.
        TrainingDivergedError: In training, see ``patience``.

    Example:
        >>> from torch_geometric.loader import DataLoader
        >>> from compvae_pyg import Dots
        >>> stored = Dots().sample(torch.tensor([1, 2, 3, 1])).to_data_list()
        >>> module = CompVAEModule(Dots().build("small"), Schedule(2))
        >>> trainer = L.Trainer(max_steps=2, accelerator="cpu", logger=False, barebones=True)
        >>> trainer.fit(module, DataLoader(stored, batch_size=2))
        >>> module.step
        2
    """

    def __init__(
        self,
        model: CompVAE | Mapping[str, Any],
        schedule: Schedule | Mapping[str, Any],
        parts: Callable[[Data], Fields] | None = None,
        *,
        patience: int = 25,
        compile: bool = False,
        by_num_parts: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if isinstance(model, Mapping):
            model = build_architecture(model["problem"], model["preset"], **model["options"])
        if isinstance(schedule, Mapping):
            schedule = Schedule.from_dict(schedule)
        check_model(model)
        check_type(schedule, "schedule", Schedule)
        check_counts(by_num_parts, "by_num_parts", at_least=0)
        self.model: Any = model
        self.schedule, self.parts, self.by_num_parts = schedule, parts, tuple(by_num_parts)
        self.guard = NonFiniteGuard(patience)
        self.step, self.ended = 0, False  # ended before its last step, by a callback
        self.row: dict[str, Any] = {}
        self._compiled = compiled(staged_elbo) if compile else None
        self._of_codes = self._codes(None)
        # Wholes, and sums over them of what is measured and of the loss: since the last row, and of
        # the step at hand.
        self._sums, self._step_sums = torch.zeros(6), torch.zeros(6)
        plain = {"model": getattr(model, "config", None), "schedule": asdict(schedule)}
        plain |= {"patience": patience, "compile": compile, "by_num_parts": self.by_num_parts}
        self.save_hyperparameters(plain)

    # Training

    def training_step(self, batch: Data, batch_idx: int = 0) -> Tensor:
        """Return the mean loss of the wholes of a batch."""
        coefficients, elbo = self.schedule.at(self.step), self._compiled or staged_elbo
        parts, inferred = self._pack(batch), coefficients.stage.inferred
        terms = elbo(self.model, batch.whole, parts, inferred=inferred)
        losses = objective(terms, batch.whole, coefficients)
        if self._logs(self.step + 1):
            self._of_codes = self._codes(terms.posterior, parts)
        if terms.posterior is not None and (weight := coefficients.code_matching):
            losses = losses + weight * code_distance(terms.posterior.w, self._prior(parts), parts)
        if terms.posterior is not None and (rate := coefficients.stage.fit_prior):
            follow_posterior(self.model, terms.posterior.w, parts, rate)
        values = torch.cat([measured(terms, batch.whole), losses.detach().unsqueeze(0)])
        count = values.new_full((1,), values.shape[1])
        self._step_sums = self._step_sums + torch.cat([count, values.sum(dim=1)])
        loss = losses.mean()
        # A factor of 1, or else NaN: a loss that is not finite has no finite gradient, so that the
        # norm of the gradient, which the ranks share, tells them all.
        return loss * (1.0 + (loss.detach() - loss.detach()))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam and the learning rate of the schedule; a subclass may return any others."""
        rate, betas = self.schedule.learning_rate, self.schedule.betas
        # Its fused kernel can leave out a step without asking the host, but not with a scaler.
        fused = self._scaler() is None
        optimizer = Adam(self.parameters(), lr=rate.initial, betas=betas, fused=fused)
        scheduler = LambdaLR(optimizer, lambda _: rate.at(self.step) / rate.initial)
        by_step: Any = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Judge the step, and see that it is skipped if it is bad."""
        sums, self._step_sums = self._step_sums, torch.zeros_like(self._step_sums)
        norm = gradient_norm(parameters_of(optimizer))
        skip = self.guard.judge(self.step, sums[5] / sums[0], norm)
        self._sums = self._sums + torch.where(skip, 0.0, sums)
        skip_step(optimizer, skip, scaled=self._scaler() is not None)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Bound the gradient as the Trainer says, or else the schedule."""
        # Not by Lightning, which refuses fused kernels in mixed precision, scaler or not.
        if bound := gradient_clip_val or self.schedule.max_grad_norm:
            clip = clip_grad_value_ if gradient_clip_algorithm == "value" else clip_grad_norm_
            clip(parameters_of(optimizer), bound)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, count it, look at the guard and log now and then."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        super().optimizer_step(*args, **kwargs)
        self.step += 1
        if self.step == self.schedule.num_steps or self.step % self.guard.patience == 0:
            stage = self.schedule.at(self.step - 1).stage.name
            self.guard.check(self.step, stage, warn=self.trainer.is_global_zero)
        if self._logs(self.step):
            self._log_row(rate)

    def _logs(self, step: int) -> bool:
        trainer: Any = self._trainer
        every = trainer.log_every_n_steps if trainer else 0
        ends = every and (step == self.schedule.num_steps or trainer.is_last_batch)
        return bool(ends or (every and (trainer.global_step + 1) % every == 0))

    def _log_row(self, rate: float) -> None:
        count, *sums, _ = self._reduced().tolist()
        self._sums = torch.zeros_like(self._sums)
        stage, beta_w, beta_z, *_ = self.schedule.at(self.step - 1)
        logged = {
            "stage": self.schedule.stages.index(stage),
            "max_parts": self.schedule.curriculum.max_parts(self.step - 1),
            "learning_rate": rate,
            "beta_w": beta_w,
            "beta_z": beta_z,
            **named(*(value / count if count else math.nan for value in sums)),
            **{name: float(value) for name, value in self._of_codes.items()},
            "skipped_steps": int(self.guard.state["skipped"]),
        }
        self.row = {"step": self.step, **logged, "stage": stage.name}
        for name, value in logged.items():
            on_bar = name in ("elbo", "kl_w", "kl_z")
            self.log(f"train/{name}", float(value), on_bar, batch_size=max(1, int(count)))

    # Validation and test

    def validation_step(self, batch: Data, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the terms of the ELBO of the wholes of a batch, as ``val/…``."""
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: Data, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the terms of the ELBO of the wholes of a batch, as ``test/…``."""
        self._evaluate(batch, batch_idx, "test")

    def _evaluate(self, batch: Data, batch_idx: int, prefix: str) -> None:
        seed = batch_idx * self.trainer.world_size + self.global_rank
        noise, parts = torch.Generator(self.device).manual_seed(seed), self._pack(batch)
        terms = self.model.elbo(batch.whole, parts, generator=noise)
        values = measured(terms, batch.whole)
        more = self._codes(terms.posterior, parts)
        # Also for numbers of parts that do not occur: all ranks have to log the same names.
        chosen = {f"/K={k}": values[:, parts.sizes() == k] for k in self.by_num_parts}
        for ending, of_wholes in {"": values, **chosen}.items():
            averages = named(*(of_wholes.sum(dim=1) / max(1, of_wholes.shape[1])))
            how: Any = {"batch_size": of_wholes.shape[1], "sync_dist": True}
            for name, value in {**averages, **more}.items():
                self.log(f"{prefix}/{name}{ending}", value, name + ending == "elbo", **how)
            more = {}

    def _codes(self, posterior: Posterior | None, parts: Any = None) -> dict[str, Any]:
        if posterior is None or parts.num_parts == 0:
            return {"code_variance": math.nan, "code_distance": math.nan}
        return code_figures(posterior.w, self._prior(parts), parts)

    def _prior(self, parts: PackedParts) -> Normal:
        generator: CompVAEGenerator = self.model.generator
        return generator.prior_w(generator.pack(parts))

    # States

    def on_fit_start(self) -> None:
        """Move the counters to the device, and warn if the model's normalisation is not fitted."""
        if any(int(m.num_rows) == 0 for m in self.modules() if isinstance(m, Normalization)):
            rank_zero_warn("normalisation is not fitted: call networks.fit_normalization first")
        self.guard.state = {n: value.to(self.device) for n, value in self.guard.state.items()}
        self._sums = self._sums.to(self.device)
        self._step_sums = torch.zeros_like(self._sums)

    def on_train_start(self) -> None:
        """Warn if the run is to end before the schedule does."""
        left, planned = -1.0, self.schedule.num_steps
        with suppress(MisconfigurationException):  # the number of batches in a step may change
            left = self.trainer.estimated_stepping_batches - self.trainer.global_step
        if left > 0 and (end := self.step + left) < planned:
            stage = self.schedule.at(int(end) - 1).stage.name
            message = f"schedule has {planned} steps, and the run ends at {end}, in stage {stage!r}"
            rank_zero_warn(message, category=RuntimeWarning)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the step, the guard's counters and the sums of what is logged, over all ranks."""
        guard, sums = {n: value.cpu() for n, value in self.guard.state.items()}, self._reduced()
        state = {"step": self.step, "ended": self.ended, "guard": guard, "sums": sums.cpu()}
        checkpoint["training"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up training where the checkpoint stood."""
        state = checkpoint["training"]
        self.step, self.guard.state = state["step"], state["guard"]
        # The sums are those of all ranks together: one takes them on.
        self._sums = state["sums"] * (self.global_rank == 0)

    def _reduced(self) -> Tensor:  # every rank must call this
        return self.trainer.strategy.reduce(self._sums.clone(), reduce_op="sum")

    def _pack(self, batch: Data) -> PackedParts:
        check_has_wholes(batch)
        if self.parts is None:
            return PackedParts.of(batch)
        context = batch.get("context")
        return PackedParts.of(self.parts(batch), batch.batch, batch.num_graphs, context=context)

    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self.trainer.precision_plugin, "scaler", None) if self._trainer else None
