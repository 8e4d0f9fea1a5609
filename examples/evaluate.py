"""Evaluate a model on any problem: its table, and all figures.

    python examples/evaluate.py dots-small
    python examples/evaluate.py outputs/sines
    python examples/evaluate.py outputs/homes --problem homes.py:Homes
    python examples/evaluate.py outputs/homes/model --data homes

A folder is one that a training left; a name is that of a model that the package ships, or of one on
the Hugging Face hub, owner/name. A problem of your own is a class in a file, with its name behind a
colon. Stored wholes are a folder of Parquet tables, of which the test split is used.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from compvae_pyg.command_line import one_line_errors


@dataclass
class Options:
    model: tyro.conf.Positional[str] = "dots-small"
    """Folder of the model, or name of a shipped one."""

    problem: str | None = None
    """FILE.py:CLASS of a problem of your own; by default the model's problem."""

    data: Path | None = None
    """Folder of stored wholes, wholes.parquet and parts.parquet, in place of a problem."""

    output: Path | None = None
    """Folder for the evaluation; by default MODEL/evaluation, or outputs/NAME of a shipped one."""

    num_parts: tuple[int, ...] = ()
    """Numbers of parts, a row each; by default those of the problem."""

    num_wholes: int = 1000
    """Number of wholes that each row comes from."""

    num_classified: int = 0
    """Wholes of each of two samples that a classifier is to distinguish (C2ST), such as 4000."""

    seed: int = 0
    """Seed of all that is drawn."""

    device: str = "auto"
    """Where the model is evaluated: cpu, cuda, …; auto takes a GPU if there is one."""


def class_of(problem: str) -> type:
    """Return the class that FILE.py:CLASS names; its networks are registered with it."""
    from compvae_pyg import Problem

    file, _, name = problem.rpartition(":")
    if not Path(file).is_file():
        raise FileNotFoundError(f"problem must be FILE.py:CLASS (got {problem})")
    sys.path.insert(0, str(Path(file).resolve().parent))
    found = getattr(importlib.import_module(Path(file).stem), name, None)
    if not (isinstance(found, type) and issubclass(found, Problem)):
        raise ValueError(f"{name} must be a Problem in {file} (got {found})")
    return found


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import CompVAE
    from compvae_pyg.evaluation import format_legend, format_table
    from compvae_pyg.problems import problem_of
    from compvae_pyg.reports import write_report

    own, device = Path(options.model), options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    output = options.output or (own / "evaluation" if own.is_dir() else Path("outputs") / own)
    own_class = class_of(options.problem) if options.problem else None
    model = CompVAE.from_pretrained(options.model).to(device)
    if options.data is not None:
        from compvae_pyg.training import StoredData

        problem = StoredData(options.data).problem("test")
    elif own_class is not None and model.config["problem"] != own_class.name:
        problem = own_class()
    else:
        problem = problem_of(model).held_out()
    report = write_report(
        model,
        problem,
        output,
        num_parts=options.num_parts,
        num_wholes=options.num_wholes,
        num_classified=options.num_classified,
        seed=options.seed,
    )
    print(format_table(report.rows), format_legend(report.rows), sep="\n\n")
    print(f"\nIn {output}: {', '.join(file.name for file in report.files)}")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
