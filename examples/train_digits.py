"""Train CompVAE on images of several handwritten digits, and look at what it composes.

A part is a digit's class and its position; which of scikit-learn's scanned digits it is, is not
given to the model. A whole is the canvas, on which the darkest ink at each pixel counts. A
classifier trained on single real digits then reads the canvases that the model draws, at the given
positions: its accuracy stands beside that on true canvases, made of digits unseen in training.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from compvae_pyg.command_line import RunOptions, is_first_process, one_line_errors


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    output: Path = Path("outputs/digits")
    """Folder for the model, its metrics, its evaluation and its figures."""

    steps: int | None = None
    """Steps, by default 10800; with --resume, more than before go on."""

    num_parts: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    """Numbers of parts in the evaluation, a row each."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg.evaluation import format_legend, format_table
    from compvae_pyg.problems.digits import Digits
    from compvae_pyg.reports import write_report
    from compvae_pyg.training import Schedule, train

    digits = Digits()
    torch.manual_seed(options.seed)
    model = digits.build("small")
    train(digits, model, Schedule.of(digits, num_steps=options.steps), options)
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    # On scans that training has not seen.
    model.to(options.device)
    report = write_report(model, digits.held_out(), **options.report_arguments())
    print(format_table(report.rows), format_legend(report.rows), sep="\n\n")
    print(
        f"\nIn {options.output}: the model (config.json, model.safetensors), metrics.csv, "
        f"{', '.join(file.name for file in report.files)}"
    )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
