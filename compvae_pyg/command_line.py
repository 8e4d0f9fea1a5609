"""What the programs share: options of a run, and errors in a line; imports nothing slow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compvae_pyg.config import TrainConfig

__all__ = ["RunOptions", "is_first_process", "one_line_errors"]


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainConfig):
    """Options of a run, whatever its problem, with the explanations that ``--help`` shows.

    Example:
        >>> RunOptions(output=Path("outputs/mine"), seed=3).report_arguments()["num_wholes"]
        1000
    """

    output: Path
    """Folder for the model, its metrics, its evaluation and its figures."""
    steps: int | None = None
    """Steps of training; by default the schedule's. With --resume, a run of fewer goes on."""
    num_parts: tuple[int, ...] = ()
    """Numbers of parts in the evaluation; by default up to several times those of training."""
    num_wholes: int = 1000
    """Number of wholes that each row of the evaluation comes from."""

    num_classified: int = 0
    """Wholes of each of two samples that a classifier is to distinguish (C2ST), such as 4000."""

    def report_arguments(self) -> dict[str, Any]:
        """Return those of :func:`~compvae_pyg.reports.write_report`, by name."""
        names = ("output", "num_parts", "num_wholes", "num_classified", "seed")
        return {name: getattr(self, name) for name in names}


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with a line, not a traceback, for what its user can mend.

    That is an argument out of its range, a folder that holds another run or cannot be written to, a
    package that is missing, a training that diverged, and Ctrl-C wherever the program is.

    Raises:
        SystemExit: For any of these.

    Example:
        >>> with one_line_errors():
        ...     raise ValueError("seed must not be negative (got -1)")
        Traceback (most recent call last):
            ...
        SystemExit: error: seed must not be negative (got -1)
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        text = f"{stop} (on the command line: --resume)" if str(stop) else "stopped"
        print(text, file=sys.stderr)
        raise SystemExit(130) from None
    except (FileExistsError, FileNotFoundError) as error:
        hint = " (on the command line: --resume, or --output FOLDER)"
        hint = hint if "checkpoint" in str(error) else ""
        raise SystemExit(f"error: {error}{hint}") from None
    except ModuleNotFoundError as error:
        hint = "pip install 'compvae-pyg[examples]' installs what the examples need"
        raise SystemExit(f"error: {error} ({hint})") from None
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"error: {error}") from None
    except RuntimeError as error:
        if type(error).__name__ != "TrainingDivergedError":  # its module imports torch
            raise
        raise SystemExit(f"error: {error}") from None


def is_first_process() -> bool:
    """Tell whether this is the one of the processes that train together which writes files.

    Lightning starts a program anew for each device, so that after training all of them go on.

    Example:
        >>> is_first_process()
        True
    """
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0)) == 0
