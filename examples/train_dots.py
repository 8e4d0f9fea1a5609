"""Train CompVAE on images of coloured sites, and look at what it composes.

A part is a site: a colour and a position. A whole is the image of all its sites, whose intensities
are not given to the model. After training, the model draws images of given sites: this program
counts how many of them show, and leaves the paper's figures in its output folder, where they can
be looked at from the first half minute of training on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from compvae_pyg.command_line import RunOptions, is_first_process, one_line_errors


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    output: Path = Path("outputs/dots")
    """Folder for the model, its metrics, its evaluation and its figures."""

    steps: int | None = None
    """Steps, by default 1200, or 500000 if as published; 20000 of wide layers in stages. With
    --resume, more than before go on."""

    num_parts: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Numbers of parts in the evaluation, a row each."""

    preset: Literal["small", "narrow", "paper"] = "small"
    """Networks: a CPU trains small ones and narrow ones, the paper's at 1/8 width."""

    schedule: Literal["staged", "paper"] = "staged"
    """Training schedule: labels, parts and whole one after the other, or as published."""

    aggr: Literal["sum", "mean"] = "sum"
    """Aggregation of messages in the inference network; the paper takes the sum."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import Dots
    from compvae_pyg.evaluation import format_legend, format_table
    from compvae_pyg.pictures import Pictures
    from compvae_pyg.reports import write_report
    from compvae_pyg.training import Schedule, train

    # The problem has the ground truth, the networks and the numbers of its training schedule.
    dots = Dots()
    torch.manual_seed(options.seed)
    model = dots.build(options.preset, aggr=options.aggr)
    schedule = Schedule.of(dots, options.schedule, options.steps, preset=options.preset)
    pictures = Pictures(dots, options.output, seed=options.seed)
    train(dots, model, schedule, options, callbacks=[pictures])
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    # Does an image show the given sites, also where there are more than in training? What else is
    # measured and drawn: compvae_pyg/reports.py. To do it again later: evaluate.py.
    model.to(options.device)
    trained_to = schedule.curriculum.last
    report = write_report(model, dots, trained_to=trained_to, **options.report_arguments())
    print(format_table(report.rows), format_legend(report.rows), sep="\n\n")
    print(
        f"\nIn {options.output}: the model (config.json, model.safetensors), metrics.csv, "
        f"{', '.join(file.name for file in report.files)}"
    )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
