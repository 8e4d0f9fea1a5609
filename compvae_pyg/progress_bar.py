"""How far a training is: a bar in a terminal, or else lines."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

__all__ = ["Progress", "ProgressLines", "shown"]


class Progress(TQDMProgressBar):
    """Lightning's bar, with the stage by its name.

    Example:
        >>> options = {"logger": False, "accelerator": "cpu", "max_steps": 1}
        >>> trainer = L.Trainer(callbacks=[Progress()], **options)
        >>> type(trainer.progress_bar_callback).__name__
        'Progress'
    """

    @property
    def total_train_batches(self) -> float:
        """The batches of an epoch, which may be more than the steps that are left."""
        return self.trainer.num_training_batches

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Count on in the middle of an epoch, and time the steps from here on."""
        super().on_train_start(trainer, *args)
        self.on_train_epoch_start(trainer)
        ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self.train_progress_bar.initial = self.train_progress_bar.n = ready

    def get_metrics(self, trainer: L.Trainer, pl_module: Any) -> dict[str, Any]:
        """Return the stage and what the module logs for the bar."""
        return {"stage": pl_module.row.get("stage"), **super().get_metrics(trainer, pl_module)}


class ProgressLines(L.Callback):
    """Prints what a :class:`CompVAEModule` logs, now and then and at the end.

    Args:
        every: Least time, in seconds, from one line to the next.

    Example:
        >>> ProgressLines(every=60.0).every
        60.0
    """

    def __init__(self, every: float = 30.0) -> None:
        self.every, self._time = every, -1e9
        self._row: dict[str, Any] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Print a line if it is time to."""
        row, now, num_steps = pl_module.row, time.monotonic(), pl_module.schedule.num_steps
        if not row or row is self._row or not trainer.is_global_zero:
            return
        self._row = row
        if row["step"] == num_steps or now - self._time >= self.every:
            self._time = now
            terms = ", ".join(f"{n} {row[n]:.1f} nats" for n in ("elbo", "kl_w", "kl_z"))
            text = f"step {row['step']}/{num_steps}  {row['stage']}: {terms}, rmse "
            text += f"{row['mse'] ** 0.5:.4f}, {row['skipped_steps']} skipped"
            with suppress(OSError):  # the terminal may be gone
                print(text, file=sys.stderr, flush=True)


def shown(progress: bool, callbacks: Sequence[L.Callback]) -> list[L.Callback]:
    """Return callbacks, after one that shows the progress if it is to be and none of them does.

    Example:
        >>> shown(False, [])
        []
    """
    if not progress or any(isinstance(callback, ProgressBar) for callback in callbacks):
        return list(callbacks)
    return [Progress() if sys.stdout.isatty() else ProgressLines(), *callbacks]
