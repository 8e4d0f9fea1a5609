"""What the command lines of trainings share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from compvae_pyg.training.guard import TrainingDivergedError
from compvae_pyg.training.train import Precision

__all__ = ["RunOptions", "is_first_process", "one_line_errors"]


@dataclass(kw_only=True)
class RunOptions:
    """Options of a run, whatever its problem, with the explanations that ``--help`` shows.

    Example:
        >>> RunOptions(output=Path("outputs/mine"), seed=3).train_arguments()["seed"]
        3
    """

    output: Path
    """Folder for the model, its metrics, its evaluation and its figures."""

    steps: int | None = None
    """Number of training steps; by default the schedule's own."""

    seed: int = 0
    """Seed of weights, data and noise."""

    resume: bool = False
    """Continue the run in the output folder; a finished one is only evaluated and drawn again."""

    devices: int = 1
    """Number of GPUs (or of processes, on the CPU) on each node."""

    num_nodes: int = 1
    """Number of nodes."""

    accelerator: str = "auto"
    """Kind of device: cpu, cuda, or whatever else Lightning knows; auto takes a GPU if it can."""

    strategy: str = "auto"
    """Lightning's name of how several devices work together."""

    precision: Precision = "32-true"
    """Precision of the networks while training."""

    compile: bool = False
    """Train under torch.compile: shorter steps, after minutes of compiling."""

    checkpoint_every: int = 1000
    """Steps from one checkpoint to the next."""

    log_every: int = 50
    """Steps from one row of metrics.csv to the next."""

    num_parts: tuple[int, ...] = ()
    """Numbers of parts in the evaluation; by default up to several times those of training."""

    num_wholes: int = 1000
    """Number of wholes that each row of the evaluation comes from."""

    def train_arguments(self) -> dict[str, Any]:
        """Return those of :func:`~compvae_pyg.training.train`, by name."""
        names = (
            "output",
            "seed",
            "resume",
            "devices",
            "num_nodes",
            "accelerator",
            "strategy",
            "precision",
            "compile",
            "checkpoint_every",
            "log_every",
        )
        return {name: getattr(self, name) for name in names}

    def report_arguments(self) -> dict[str, Any]:
        """Return those of :func:`~compvae_pyg.reports.write_report`, by name.

        Example:
            >>> RunOptions(output=Path("outputs/mine"), seed=3).report_arguments()["num_wholes"]
            1000
        """
        names = ("output", "num_parts", "num_wholes", "seed")
        return {name: getattr(self, name) for name in names}

    def evaluation_device(self) -> torch.device:
        """Return where a trained model is to be evaluated: a GPU if it was trained on one.

        Example:
            >>> RunOptions(output=Path("outputs/mine"), accelerator="cpu").evaluation_device()
            device(type='cpu')
        """
        on_gpu = self.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
        return torch.device("cuda" if on_gpu else "cpu")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with a line, not a traceback, for what its user can mend.

    That is an argument out of its range, a folder that holds another run or cannot be written to, a
    training that diverged and one that was stopped by Ctrl-C.

    Raises:
        SystemExit: For any of these.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        print(
            f"{stop} (on the command line: --resume)" if str(stop) else "stopped", file=sys.stderr
        )
        raise SystemExit(130) from None
    except (FileExistsError, FileNotFoundError) as error:
        hint = "on the command line: --resume, or --output FOLDER"
        raise SystemExit(f"error: {error} ({hint})") from None
    except (TrainingDivergedError, ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


def is_first_process() -> bool:
    """Tell whether this is the one of the processes that train together which writes files.

    Lightning starts a program anew for each device, so that after training all of them go on.

    Example:
        >>> is_first_process()
        True
    """
    return int(getattr(rank_zero_only, "rank", 0)) == 0
