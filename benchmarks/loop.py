"""Compare a step of ``train``, with loggers and without, to one of a bare loop in PyTorch.

    python -m benchmarks.loop

The bare loop draws the same batches, and evaluates the same loss by the same optimiser; what is
left is the overhead of Lightning, of the guard, of the rows of metrics and of loggers. A step lasts
from one batch to the next. Contenders take turns; the first steps of a turn are not counted.
"""

import json
import shlex
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tyro


@dataclass(kw_only=True)
class Options:
    steps: int = 40
    """Steps of a turn."""

    left_out: int = 10
    """Steps at its beginning that are not counted."""

    rounds: int = 5
    """Turns of each contender."""

    threads: int | None = None
    """Threads of torch; by default all cores."""

    output: Path = Path("outputs/loop.json")
    """File for the result."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.nn.utils import clip_grad_norm_

from benchmarks.origin import origin
from compvae_pyg import Dots, Sines
from compvae_pyg.data.generated import GeneratedDataset
from compvae_pyg.runtime import keep_freed_memory, without_validation
from compvae_pyg.training import Schedule, TrainConfig, objective, staged_elbo, train

LOGGERS = {
    "train": lambda folder: False,
    "train, CSV logger": lambda folder: CSVLogger(folder, name="csv"),
    "train, TensorBoard": lambda folder: TensorBoardLogger(folder, name="tensorboard"),
}


def in_a_bare_loop(problem: Any, model: Any, schedule: Schedule) -> None:
    data, rate = GeneratedDataset(problem, schedule, 0), schedule.learning_rate.initial
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=schedule.betas, fused=True)
    with without_validation(False):
        for step in range(schedule.num_steps):
            batch, c = data[step], schedule.at(step)
            terms = staged_elbo(
                model,
                batch.whole,
                problem.parts(batch),
                batch.batch,
                batch.num_graphs,
                inferred=c.stage.inferred,
            )
            optimizer.zero_grad(set_to_none=True)
            objective(terms, batch.whole, c).mean().backward()
            if schedule.max_grad_norm is not None:
                clip_grad_norm_(model.parameters(), schedule.max_grad_norm)
            optimizer.step()


def turn(contender: str, problem: Any, options: Options) -> list[float]:
    """Return the milliseconds of each step that counts."""
    torch.manual_seed(0)
    model, marks, sample = problem.build("small").train(), [], type(problem).sample
    schedule = Schedule.of(problem, num_steps=options.steps)

    def timed(*args: Any, **kwargs: Any) -> Any:
        marks.append(time.perf_counter())
        return sample(*args, **kwargs)

    with patch.object(type(problem), "sample", timed), tempfile.TemporaryDirectory() as folder:
        if contender == "bare loop":
            in_a_bare_loop(problem, model, schedule)
        else:
            config = TrainConfig(
                output=folder, accelerator="cpu", progress=False, checkpoint_every=10**6
            )
            train(problem, model, schedule, config, logger=LOGGERS[contender](folder))
    return [1000.0 * (after - before) for before, after in pairwise(marks[options.left_out :])]


def main(options: Options) -> None:
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    rows = []
    for problem in (Dots(), Sines()):
        times: dict[str, list[float]] = {name: [] for name in ("bare loop", *LOGGERS)}
        for number in range(options.rounds):
            for name, steps in times.items():
                steps.append(statistics.median(turn(name, problem, options)))
                print(f"{problem.name}, round {number + 1}, {name}: {steps[-1]:.1f} ms", flush=True)
        medians = {name: round(statistics.median(steps), 2) for name, steps in times.items()}
        bare = times["bare loop"]
        ratios = {
            name: round(statistics.median(a / b for a, b in zip(steps, bare, strict=True)), 4)
            for name, steps in times.items()
        }
        rows.append({"problem": problem.name, "milliseconds": medians, "over_bare_loop": ratios})
    command = shlex.join(["python", "-m", "benchmarks.loop", *sys.argv[1:]])
    result = {"origin": origin(command, torch.device("cpu")), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main(OPTIONS)
