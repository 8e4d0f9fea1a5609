"""Figures that are drawn while a model is trained (extras ``train`` and ``plots``)."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L

from compvae_pyg.nn.checks import check_number, check_type
from compvae_pyg.problems import Problem
from compvae_pyg.problems.repeatable import isolated

__all__ = ["Pictures"]


class Pictures(L.Callback):
    """Draws a problem's own figures during training, each time over those before.

    They are drawn once early on, and whenever a stage ends; a line says where they are. What is
    trained does not depend on it.

    Args:
        problem: Whose figures.
        output: Folder of the files, ``NAME.png``.
        after: When they are drawn first, in seconds of training.
        seed: Seed of what they show.

    Example:
        >>> from compvae_pyg import Dots
        >>> Pictures(Dots(), "outputs/dots").after
        30.0
    """

    def __init__(
        self, problem: Problem, output: str | os.PathLike[str], after: float = 30.0, seed: int = 0
    ) -> None:
        check_type(problem, "problem", Problem)
        check_number(after, "after")
        self.problem, self.output, self.after, self.seed = problem, Path(output), after, seed
        self._since, self._step = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Look at the clock."""
        self._since, self._step = time.monotonic(), pl_module.step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        """Draw if it is time to, but not at the end of training."""
        step, schedule = pl_module.step, pl_module.schedule
        if step in (self._step, schedule.num_steps) or not trainer.is_global_zero:
            return
        self._step, seconds = step, time.monotonic() - self._since
        first = seconds >= self.after
        if not first and schedule.at(step).stage == schedule.at(step - 1).stage:
            return
        self.after = math.inf if first else self.after
        files = []
        with isolated(pl_module.model, self.seed):
            figures = self.problem.figures(pl_module.model, seed=self.seed)
        for name, figure in figures.items():
            files.append(self.output / f"{name}.png")
            figure.savefig(files[-1])
        bar: Any = trainer.progress_bar_callback
        line = f"step {step}, {seconds:.0f} s: {', '.join(map(str, files))}"
        if files:
            print(line, file=sys.stderr, flush=True) if bar is None else bar.print(line)
