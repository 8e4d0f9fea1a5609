"""How training is doing: the rows of a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L

from compvae_pyg.files import Lines, csv_line

__all__ = ["MetricsFile"]

_TERMS = ("kl_w", "kl_z", "reconstruction", "elbo")
# Of each column, the name that it has in logs.
_COLUMNS = {n: n for n in ("step", "stage", "max_parts", "learning_rate", "beta_w", "beta_z")}
_COLUMNS |= {f"{n}{unit or '_nats'}": n + unit for n in _TERMS for unit in ("", "_bits")}
_COLUMNS |= {n: n for n in ("rmse", "code_variance", "code_distance", "skipped_steps", "seconds")}


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

    Raises:
        ValueError: On resumption, if the file is there and the checkpoint has no rows of it.

    Example:
        >>> MetricsFile("outputs/mine/metrics.csv").lines.path.name
        'metrics.csv'
    """

    def __init__(self, path: str | Path) -> None:
        self.lines = Lines(Path(path).absolute(), csv_line(_COLUMNS))
        self._row: dict[str, Any] = {}
        self._begun = False
        self._seconds = self._since = 0.0

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
        row = pl_module.row
        if row is self._row or not trainer.is_global_zero:
            return
        self._row, row = row, {**row, "rmse": row["mse"] ** 0.5, "seconds": self._time()}
        values = (row[name] for name in _COLUMNS.values())
        # Nine digits tell all 32-bit floats apart.
        self.lines.append(csv_line(f"{v:.9g}" if isinstance(v, float) else v for v in values))

    def state_dict(self) -> dict[str, Any]:
        """Bring the rows to the disk, and keep them and the time spent."""
        self.lines.sync()
        return {"seconds": self._time(), "rows": self.lines.text}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows and the time spent."""
        self._seconds, self.lines.text = state_dict["seconds"], state_dict["rows"]
        self._begun = True

    def _time(self) -> float:
        return self._seconds + time.monotonic() - self._since
