"""How training is doing: the rows of a file, some of which are printed."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L

from compvae_pyg.files import Lines, csv_line

__all__ = ["MetricsFile"]

_NAMES = ("step", "stage", "max_parts", "learning_rate", "beta_w", "beta_z")
_TERMS = [
    name + unit for name in ("kl_w", "kl_z", "reconstruction", "elbo") for unit in ("", "_bits")
]
_COLUMNS = [*_NAMES, *(name if name.endswith("_bits") else f"{name}_nats" for name in _TERMS)]
_COLUMNS += ["rmse", "code_variance", "code_distance", "skipped_steps", "seconds"]


class MetricsFile(L.Callback):
    """Writes what a :class:`CompVAEModule` logs into a CSV file, row by row.

    Its columns are ``step``; ``stage`` (by name), ``max_parts``, ``learning_rate``, ``beta_w`` and
    ``beta_z`` at that step; averages over the wholes since the row before, without those of skipped
    steps (NaN where there was none), of ``kl_w``, ``kl_z``, ``reconstruction`` and ``elbo``, in
    ``_nats`` and ``_bits``, and ``rmse``, the root of the mean squared error; how well the codes of
    the last batch fill their prior, ``code_variance`` (1) and ``code_distance`` (0);
    ``skipped_steps`` so far; and the ``seconds`` spent training. In a stage that holds latents at
    their prior's mean, ``elbo`` is the same sum, but no bound.

    A row is on the disk with the next checkpoint, which holds all rows as well: on resumption the
    file is made anew from them, with a warning if it was damaged or removed.

    Args:
        path: The file, in UTF-8.
        lines_every: Least time, in seconds, from one row that is also printed to the next.

    Raises:
        ValueError: On resumption, if the file is there and the checkpoint has no rows of it.

    Example:
        >>> MetricsFile("outputs/mine/metrics.csv").lines.path.name
        'metrics.csv'
    """

    def __init__(self, path: str | Path, lines_every: float = math.inf) -> None:
        self.lines, self.lines_every = Lines(Path(path).absolute(), csv_line(_COLUMNS)), lines_every
        self._row: dict[str, Any] = {}
        self._begun = False
        self._seconds = self._since = 0.0
        self._last_line = -1e9

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Begin the file, or make it as it was at the checkpoint."""
        self._since, self._row = time.monotonic(), pl_module.row
        if trainer.is_global_zero:
            if pl_module.step and not self._begun and self.lines.path.exists():
                raise ValueError(f"{self.lines.path} must be new where no checkpoint has its rows")
            self.lines.restore(warn=self._begun)
            self._begun = True

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Write a row if there is a new one."""
        row, seconds = pl_module.row, self._seconds + time.monotonic() - self._since
        if row is self._row or not trainer.is_global_zero:
            return
        self._row = row
        values = [*(row[name] for name in _NAMES), *(row[name] for name in _TERMS)]
        values += [
            row["mse"] ** 0.5,
            *(float(row[name]) for name in ("code_variance", "code_distance")),
        ]
        values += [row["skipped_steps"], seconds]
        # Nine digits tell all 32-bit floats apart.
        self.lines.append(csv_line(f"{v:.9g}" if isinstance(v, float) else v for v in values))
        ends = row["step"] == pl_module.schedule.num_steps and self.lines_every < math.inf
        if ends or seconds - self._last_line >= self.lines_every:
            self._last_line = seconds
            step = f"step {row['step']}/{pl_module.schedule.num_steps}  {row['stage']}"
            terms = ", ".join(f"{n} {row[n]:.1f} nats" for n in ("elbo", "kl_w", "kl_z"))
            skipped = f"{row['skipped_steps']} skipped"
            with suppress(OSError):  # the terminal may be gone
                text = f"{step}: {terms}, rmse {row['mse'] ** 0.5:.4f}, {skipped}"
                print(text, file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        """Bring the rows to the disk, and keep them and the time spent."""
        self.lines.sync()
        seconds = self._seconds + time.monotonic() - self._since
        return {"seconds": seconds, "rows": self.lines.text}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows and the time spent."""
        self._seconds, self.lines.text = state_dict["seconds"], state_dict["rows"]
        self._begun = True
