"""The metrics of training as rows of a CSV file."""

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from compvae_pyg.training.module import CompVAEModule

__all__ = ["COLUMNS", "MetricsFile"]

COLUMNS = (
    "step",
    "stage",
    "max_parts",
    "learning_rate",
    "beta_w",
    "beta_z",
    "kl_w_nats",
    "kl_w_bits",
    "kl_z_nats",
    "kl_z_bits",
    "reconstruction_nats",
    "reconstruction_bits",
    "elbo_nats",
    "elbo_bits",
    "rmse",
    "skipped_steps",
    "seconds",
)


class MetricsFile(L.Callback):
    r"""Writes a row every few steps: averages over the wholes seen since the row before.

    =========================  ===================================================================
    column                     meaning
    =========================  ===================================================================
    ``step``                   batches seen so far
    ``stage``                  name of the stage of the last of them, as are the next four values
    ``max_parts``              bound of the curriculum on the number of parts
    ``learning_rate``          Adam's
    ``beta_w``, ``beta_z``     weights of the divergences in the loss
    ``kl_w_*``, ``kl_z_*``     divergences, unweighted
    ``reconstruction_*``       :math:`-\log p(x \mid z, \tilde w)`
    ``elbo_*``                 the bound; in a stage that holds latents at their prior's mean, the
                               same sum, but no bound
    ``rmse``                   root of the mean squared error of the likelihood's mean
    ``skipped_steps``          steps skipped so far for want of a finite loss or gradient
    ``seconds``                time spent training so far, interruptions left out
    =========================  ===================================================================

    Averages leave out skipped steps and are NaN where there was no other. A row is in the file as
    soon as it is written; on resumption, rows beyond the checkpoint are dropped and come anew. The
    trainer's loggers, if it has any, get the same numbers.

    Args:
        path: The file.
        every: Steps from one row to the next; the last step has one in any case.

    Attributes:
        row: The last row, empty before the first.
    """

    def __init__(self, path: str | Path, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 (got {every})")
        self.path = Path(path)
        self.every = every
        self.row: dict[str, float | str] = {}
        self._seconds = 0.0
        self._since = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the file, or cut it at the checkpoint."""
        self._since = time.monotonic()
        if trainer.is_global_zero:
            rows = self._rows_until(_step(pl_module)) if _step(pl_module) else []
            # Replaced as a whole: an interruption leaves the old file or the new one.
            partial = self.path.with_name(self.path.name + ".partial")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text("".join([_line(COLUMNS), *rows]), newline="")
            os.replace(partial, self.path)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a row if it is time to."""
        assert isinstance(pl_module, CompVAEModule)
        step, schedule = pl_module.step, pl_module.schedule
        if step % self.every and step != schedule.num_steps:
            return
        weights = schedule.weights(step - 1)
        averages = pl_module.metrics.read(pl_module.sum_over_ranks)
        self.row = {
            "step": step,
            "stage": weights.stage.name,
            "max_parts": schedule.curriculum.max_parts(step - 1),
            "learning_rate": schedule.learning_rate.at(step - 1),
            "beta_w": weights.beta_w,
            "beta_z": weights.beta_z,
            **averages,
            "skipped_steps": int(pl_module.guard.skipped),
            "seconds": self._elapsed(),
        }
        if trainer.is_global_zero:
            with self.path.open("a", newline="") as file:
                file.write(_line([_text(self.row[name]) for name in COLUMNS]))
            numbers = {name: x for name, x in self.row.items() if not isinstance(x, str)}
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step)

    def state_dict(self) -> dict[str, Any]:
        """Keep the time spent."""
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the time spent."""
        self._seconds = state_dict["seconds"]

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _rows_until(self, step: int) -> list[str]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            header, *rows = file.read().splitlines(keepends=True) or [""]
        if header != _line(COLUMNS):
            raise ValueError(
                f"{self.path} must have the columns of this version "
                f"(got {header.strip()!r}, expected {','.join(COLUMNS)!r})"
            )
        # A line without its end was being written when the process died.
        return [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]


def _step(module: L.LightningModule) -> int:
    assert isinstance(module, CompVAEModule)
    return module.step


def _line(values: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _text(value: float | str) -> str:
    # Nine digits tell all 32-bit floats apart.
    return f"{value:.9g}" if isinstance(value, float) else str(value)
