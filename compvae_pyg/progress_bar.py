"""The progress bar of a training in a terminal."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

__all__ = ["Progress"]


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
