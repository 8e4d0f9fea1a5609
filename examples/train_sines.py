"""Train CompVAE on curves made of sine waves, and look at what it composes.

A part is a frequency, one of ten; its amplitude and its phase are random, and not given to the
model. A whole is the curve of all its parts, which saturates: it is not the sum of its parts. After
training, the model draws curves of given frequencies: this program measures their spectra beside
those of true curves, also of many more parts than in training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from compvae_pyg.command_line import RunOptions, is_first_process, one_line_errors


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    output: Path = Path("outputs/sines")
    """Folder for the model, its metrics, its evaluation and its figures."""

    steps: int | None = None
    """Steps, by default 6000, or 500000 if as published; 20000 of wide layers in stages. With
    --resume, more than before go on."""

    num_parts: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 30, 48, 64)
    """Numbers of parts in the evaluation, a row each."""

    preset: Literal["small", "narrow", "paper"] = "small"
    """Networks: a CPU trains small ones and narrow ones, the paper's at 1/8 width."""

    schedule: Literal["staged", "paper"] = "staged"
    """Training schedule: parts and whole one after the other, or as published."""

    aggr: Literal["sum", "mean"] = "sum"
    """Aggregation of messages in the inference network; the paper takes the sum."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import Sines
    from compvae_pyg.evaluation import format_legend, format_table
    from compvae_pyg.reports import write_report
    from compvae_pyg.training import Schedule, train

    sines = Sines()
    torch.manual_seed(options.seed)
    model = sines.build(options.preset, aggr=options.aggr)
    schedule = Schedule.of(sines, options.schedule, options.steps, preset=options.preset)
    train(sines, model, schedule, options)
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    # What is measured and drawn: compvae_pyg/reports.py. To do it again later: evaluate.py.
    model.to(options.device)
    trained_to = schedule.curriculum.last
    report = write_report(model, sines, trained_to=trained_to, **options.report_arguments())
    print(format_table(report.rows), format_legend(report.rows), sep="\n\n")
    print(
        f"\nIn {options.output}: the model (config.json, model.safetensors), metrics.csv, "
        f"{', '.join(file.name for file in report.files)}"
    )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
