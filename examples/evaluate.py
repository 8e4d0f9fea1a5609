"""Evaluate a model of the dots or the sines: its table, and all figures.

    python examples/evaluate.py dots-small
    python examples/evaluate.py outputs/sines

A folder is one that a training left; a name is that of a model that the package ships, or of one on
the Hugging Face hub, owner/name.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from compvae_pyg import CompVAE
from compvae_pyg.evaluation import format_table
from compvae_pyg.reports import problem_of, write_report


@dataclass
class Options:
    model: tyro.conf.Positional[str] = "dots-small"
    """Folder of the model, or name of a shipped one."""

    output: Path | None = None
    """Folder for the evaluation; by default the model's own, or outputs/NAME of a shipped one."""

    num_parts: tuple[int, ...] = ()
    """Numbers of parts, a row each; by default up to several times those of training."""

    num_wholes: int = 1000
    """Number of wholes that each row comes from."""

    seed: int = 0
    """Seed of all that is drawn."""

    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the model is evaluated."""


def main(options: Options) -> None:
    own = Path(options.model)
    output = options.output or (own if own.is_dir() else Path("outputs") / own)
    try:
        model = CompVAE.from_pretrained(options.model).to(options.device)
        report = write_report(
            model,
            problem_of(model),
            output,
            num_parts=options.num_parts,
            num_wholes=options.num_wholes,
            seed=options.seed,
        )
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    print(format_table(report.rows))
    print(f"\nIn {output}: {', '.join(file.name for file in report.files)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
