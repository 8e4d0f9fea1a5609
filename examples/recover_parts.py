"""Infer which parts wholes are made of, by the likelihood of all candidates.

Of the dots, the positions of the sites are known and their colours are hidden; of the sines, only
the number of waves is known. The model estimates the likelihood of the whole given each candidate,
and the candidate of the highest posterior is compared to the ground truth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from compvae_pyg.command_line import one_line_errors


@dataclass(kw_only=True)
class Options:
    problem: Literal["dots", "sines"] = "dots"
    """What is hidden: the colours of sites, or the frequencies of waves."""

    output: Path | None = None
    """Folder for the numbers; by default outputs/recover-PROBLEM."""

    model: str | None = None
    """A shipped model, or the folder of one of your own; by default PROBLEM-small."""

    num_parts: tuple[int, ...] = (1, 2, 3)
    """Numbers of parts."""

    num_wholes: int = 100
    """Number of wholes for each of them."""

    num_samples: int = 4
    """Number of importance samples of each candidate."""

    seed: int = 0
    """Seed of the wholes and of the importance samples."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    from compvae_pyg import CompVAE, Dots, Sines
    from compvae_pyg.evaluation import (
        evaluate_recovery,
        format_legend,
        format_table,
        write_evaluation,
    )
    from compvae_pyg.problems import COLORS

    output = options.output or Path("outputs") / f"recover-{options.problem}"
    model = CompVAE.from_pretrained(options.model or f"{options.problem}-small")
    sines = Sines()
    problem, field, num_values = {
        "dots": (Dots(), "color", len(COLORS)),
        "sines": (sines, "category", sines.num_categories),
    }[options.problem]
    rows = evaluate_recovery(
        model,
        problem,
        field,
        num_values,
        num_parts=options.num_parts,
        num_wholes=options.num_wholes,
        num_samples=options.num_samples,
        seed=options.seed,
    )
    output.mkdir(parents=True, exist_ok=True)
    write_evaluation(output / "evaluation.json", rows, seed=options.seed)
    print(format_table(rows), format_legend(rows), sep="\n\n")
    print(f"\nIn {output}: evaluation.json")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
