"""Steps of an optimiser: their learning rate, and what keeps one that is not finite away."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import utils
from torch.optim import Optimizer

from compvae_pyg.nn.checks import check_count, check_number

__all__ = [
    "LearningRate",
    "NonFiniteGuard",
    "TrainingDivergedError",
    "gradient_norm",
    "parameters_of",
    "skip_step",
]


@dataclass(frozen=True)
class LearningRate:
    """A learning rate that is halved at regular intervals.

    Attributes:
        initial: The rate at first.
        final: The rate below which it does not fall.
        halving: Steps between two halvings.
        hold: Steps before the first interval begins.
        warmup: Steps during which the rate rises linearly from 0.

    Raises:
        TypeError, ValueError: If a number is of another type or out of range.

    Example:
        >>> rate = LearningRate(1e-3, final=1e-4, halving=100)
        >>> rate.at(0), rate.at(150), rate.at(10_000)
        (0.001, 0.0005, 0.0001)
    """

    initial: float = 1e-4
    final: float = 1e-6
    halving: int = 20_000
    hold: int = 0
    warmup: int = 0

    def __post_init__(self) -> None:
        check_number(self.initial, "initial", positive=True)
        check_number(self.final, "final")
        if self.final < 0.0:
            raise ValueError(f"final must not be negative (got {self.final})")
        for name, at_least in (("halving", 1), ("hold", 0), ("warmup", 0)):
            check_count(getattr(self, name), name, at_least)

    @classmethod
    def for_run(cls, num_steps: int, initial: float) -> LearningRate:
        """Return a rate for a run of any length: constant for half of it, then halved six times.

        Example:
            >>> LearningRate.for_run(10_000, initial=1e-3).at(9_999) * 64
            0.001
        """
        halving, hold = max(1, int(0.09 * num_steps)), int(0.45 * num_steps)
        return cls(initial, initial / 64, halving, hold, warmup=min(200, num_steps // 10))

    def at(self, step: int) -> float:
        """Return the rate of a step."""
        halvings = max(0, step - self.hold) // self.halving
        rate = max(self.initial * 0.5**halvings, self.final)
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate


class TrainingDivergedError(RuntimeError):
    """The loss, or its gradient, was not finite for too many steps in a row.

    Example:
        >>> guard = NonFiniteGuard(patience=1)
        >>> skip = guard.judge(0, torch.tensor(math.nan), torch.tensor(math.nan))
        >>> guard.check(1, "whole", warn=False)
        Traceback (most recent call last):
            ...
        compvae_pyg.optim.TrainingDivergedError: training diverged: loss or gradient not finite ...
    """


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Return the norm of a gradient, a scalar; parameters without one are passed over.

    Example:
        >>> weight = torch.zeros(2)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> gradient_norm([weight])
        tensor(5.)
    """
    if hasattr(utils, "get_total_norm"):  # from torch 2.6 on
        return utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return utils.clip_grad_norm_(parameters, math.inf)


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return all parameters that an optimiser moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def skip_step(optimizer: Optimizer, skip: Tensor, *, scaled: bool = False) -> None:
    """Let the next step of an optimiser do nothing if a flag, ``skip``, is set.

    Fused kernels look at it on the device, unless a gradient scaler tells them (``scaled``). With
    others this waits for the device.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.ones(2)
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> skip_step(optimizer, torch.tensor(True))
        >>> optimizer.step()
        >>> weight.tolist()
        [0.0, 0.0]
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False) and not scaled:
        # The protocol of torch.amp.GradScaler: where it is 1, the kernel returns at once.
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
    elif skip:
        # Optimisers pass over parameters without a gradient.
        for parameter in parameters_of(optimizer):
            parameter.grad = None


class NonFiniteGuard:
    """Judges each step on the device, and tells the host now and then.

    No step waits for the device: :meth:`judge` returns a flag that stays there, and only
    :meth:`check` reads the counters. So that a check may come late, a run of ``patience`` bad steps
    latches: from then on every step is skipped, and the weights stay as they were.

    Args:
        patience: Length of the run of bad steps at which training is given up.

    Attributes:
        state: Steps skipped so far (``skipped``) and since the last good one (``run``), the first
            of them (``first``, or -1), and the loss of the last good step (``last_loss``).

    Raises:
        TypeError, ValueError: If ``patience`` is not a positive integer.
        TrainingDivergedError: By :meth:`check`, after a run of so many bad steps.

    Example:
        >>> guard = NonFiniteGuard(patience=3)
        >>> guard.judge(0, torch.tensor(math.nan), torch.tensor(math.nan))
        tensor(True)
        >>> int(guard.state["skipped"])
        1
    """

    def __init__(self, patience: int) -> None:
        check_count(patience, "patience")
        self.patience = patience
        start = {"skipped": 0, "run": 0, "first": -1, "last_loss": math.nan}
        self.state = {name: torch.tensor(value) for name, value in start.items()}
        self._reported = False

    def judge(self, step: int, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Return whether to skip a step, numbered from 0, as a boolean on the device.

        The norm of the gradient, equal on all ranks, decides: it must not be finite where the loss
        of any rank is not.
        """
        skipped, run, first, last_loss = self.state.values()
        skip = ~torch.isfinite(grad_norm) | (run >= self.patience)
        self.state = {
            "skipped": skipped + skip,
            "run": torch.where(skip, run + 1, 0),
            "first": torch.where(skip & (skipped == 0), step, first),
            "last_loss": torch.where(skip, last_loss, loss),
        }
        return skip

    def check(self, step: int, stage: str, *, warn: bool = True) -> None:
        """Warn of the first skipped step, and raise after too long a run of them.

        Waits for the device. So many steps were judged so far; the stage is for the message.
        """
        skipped, run, first, loss = (value.item() for value in self.state.values())
        bad = "loss or gradient not finite"
        if run >= self.patience:
            raise TrainingDivergedError(
                f"training diverged: {bad} for {self.patience} steps in a row from step "
                f"{step - run} on, in stage {stage!r} (last finite loss {loss:g})"
            )
        if skipped and warn and not self._reported:
            self._reported = True
            text = f"step {first} was skipped: {bad} ({skipped} of {step}; later ones are counted)"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
