"""What keeps a loss that is not finite away from the weights."""

import math

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

__all__ = ["NonFiniteGuard", "TrainingDivergedError"]


class TrainingDivergedError(RuntimeError):
    """The loss, or its gradient, was not finite for too many steps in a row."""


class NonFiniteGuard:
    """Judges each step on the device, and tells the host now and then.

    No step waits for the device: :meth:`judge` returns a flag that stays there, and only
    :meth:`check` reads the counters. So that a check may come late, a run of ``patience`` bad steps
    latches: from then on every step is skipped, and the weights stay as they were.

    Args:
        patience: Length of the run of bad steps at which training is given up.

    Example:
        >>> guard = NonFiniteGuard(patience=25)
        >>> guard.judge(0, torch.tensor(2.5), torch.tensor(1.0))
        tensor(False)
        >>> guard.judge(1, torch.tensor(float("nan")), torch.tensor(float("nan")))
        tensor(True)
        >>> guard.skipped
        tensor(1)
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 (got {patience})")
        self.patience = patience
        self.skipped = torch.tensor(0)
        """Steps skipped so far."""
        self.run = torch.tensor(0)
        """Steps skipped since the last good one."""
        self.first = torch.tensor(-1)
        """The first step that was skipped, or -1."""
        self.last_loss = torch.tensor(math.nan)
        """Loss of the last good step."""
        self._reported = False

    def judge(self, step: int, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Return whether to skip a step, as a boolean on the device.

        Args:
            step: Number of the step, from 0.
            loss: Its loss, a scalar.
            grad_norm: Norm of its gradient, a scalar, equal on all ranks. It alone decides, so that
                ranks agree: see that it is not finite where the loss of any rank is not.
        """
        skip = ~torch.isfinite(grad_norm) | (self.run >= self.patience)
        self.first = torch.where(skip & (self.skipped == 0), step, self.first)
        self.skipped = self.skipped + skip
        self.run = torch.where(skip, self.run + 1, 0)
        self.last_loss = torch.where(skip, self.last_loss, loss)
        return skip

    def check(self, step: int, stage: str) -> None:
        """Warn of the first skipped step, and give up after too long a run of them.

        Waits for the device.

        Args:
            step: Number of steps judged so far.
            stage: Name of the stage of training, for the message.

        Raises:
            TrainingDivergedError: After ``patience`` skipped steps in a row.
        """
        run, skipped, first = torch.stack([self.run, self.skipped, self.first]).tolist()
        if run >= self.patience:
            raise TrainingDivergedError(
                "training diverged: loss or gradient not finite for "
                f"{self.patience} steps in a row from step {step - run} on, in stage {stage!r} "
                f"(last finite loss {float(self.last_loss):g})"
            )
        if skipped and not self._reported:
            self._reported = True
            rank_zero_warn(
                f"step {first} was skipped: its loss or gradient is not finite "
                f"({skipped} skipped of {step} so far; later ones are only counted)",
                category=RuntimeWarning,
            )

    def to(self, device: torch.device) -> None:
        """Move the counters."""
        self.load_state_dict({name: value.to(device) for name, value in self.state_dict().items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counters."""
        return {
            "skipped": self.skipped,
            "run": self.run,
            "first": self.first,
            "last_loss": self.last_loss,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the counters from :meth:`state_dict`."""
        self.skipped, self.run = state["skipped"], state["run"]
        self.first, self.last_loss = state["first"], state["last_loss"]
