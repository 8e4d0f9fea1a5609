"""Train CompVAE on homes that share their day, and ask it for the peaks of many.

A part is a home, a whole the load of all homes of a street on one day. Homes on one day are not
independent: they share its weather. The model is given the day, or has to learn it (--day hidden).
Afterwards this program measures generated days beside true ones that training has not seen, and
beside sums of homes that are taken for independent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from compvae_pyg.command_line import RunOptions, is_first_process, one_line_errors


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    output: Path = Path("outputs/households")
    """Folder for the model, its metrics, its evaluation and its figures."""

    data: tuple[str, ...] = ("simulated",)
    """simulated; citylearn, or where its wheel is, if not in this folder (pip download --no-deps
    CityLearn==2.0.0); or files of readings, Parquet or CSV, of meters of your own."""

    homes: Path | None = None
    """Of your own meters: a table of what is known of the homes."""

    days: Path | None = None
    """Of your own meters: a table of weather or other conditions of the days."""

    unit: Literal["kWh", "kW"] = "kWh"
    """Of your own meters: energy in a step, or mean power."""

    step_minutes: int = 30
    """Of your own meters: length of a step."""

    zone: str = "UTC"
    """Of your own meters: time zone of the homes, such as Europe/London."""

    clock: Literal["local", "utc"] = "local"
    """Of your own meters: of time stamps without an offset, that of the zone or UTC."""

    num_wholes: int = 2000
    """Number of wholes that each row of the evaluation comes from."""

    day: Literal["given", "hidden"] = "given"
    """Whether the model is given the conditions of the day, or has to learn what homes share."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg.evaluation import (
        evaluate_ensembles,
        format_legend,
        format_table,
        write_evaluation,
    )
    from compvae_pyg.networks import fit_normalization
    from compvae_pyg.plots import plot_losses, read_metrics
    from compvae_pyg.problems.households import Households, SimulatedPool
    from compvae_pyg.problems.households.figures import plot_diversity
    from compvae_pyg.progress import progress
    from compvae_pyg.training import Schedule, train

    homes = source(options)
    held_out = homes.held_out()
    torch.manual_seed(options.seed)
    model = homes.build("small")
    some = torch.full((2000,), min(4, homes.max_parts))
    fit_normalization(model, homes.sample(some, torch.Generator().manual_seed(0)))
    schedule = Schedule.of(homes, "staged", options.steps)
    train(homes, model, schedule, options)
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    simulated = options.data == ("simulated",)
    asked = options.num_parts or ((1, 4, 16, 50) if simulated else (1, 2, 4, 8, 16, 50))
    how = {"num_wholes": options.num_wholes, "seed": options.seed, "training": homes}
    sizes = [k for k in asked if k <= held_out.pool.most_parts]
    rows = evaluate_ensembles(model, held_out, num_parts=sizes, **how)
    if simulated and not options.num_parts:  # of days with many homes
        many = Households(SimulatedPool("many"), options.day)
        rows += evaluate_ensembles(model, many, num_parts=(200,), **how)
    print(format_table(rows), format_legend(rows), sep="\n\n")
    write_evaluation(options.output / "evaluation.json", rows, seed=options.seed)
    with progress(None, "figures", "files", delay=0.0) as bar:
        figures = dict(homes.figures(model, seed=options.seed))
        figures["diversity"] = plot_diversity(rows)
        figures["losses"] = plot_losses(read_metrics(options.output / "metrics.csv"))
        for name, figure in figures.items():
            figure.savefig(options.output / f"{name}.png")
            bar.update()
    print(
        f"\nIn {options.output}: the model (config.json, model.safetensors), metrics.csv, "
        f"evaluation.json, {', '.join(f'{name}.png' for name in figures)}"
    )


def source(options: Options):
    """Return the homes to train with; their ``held_out`` are days that training does not see."""
    from compvae_pyg.problems.households import Households, Pool, read_citylearn, read_meters

    if options.data == ("simulated",):
        return Households(day=options.day)
    pool: Pool
    first = "".join(options.data[:1])
    if first == "citylearn":
        first = "CityLearn-2.0.0-py3-none-any.whl"
    if first.endswith(".whl"):
        pool = read_citylearn(first)
    else:
        names = ("unit", "step_minutes", "zone", "clock")
        where = {name: getattr(options, name) for name in names}
        pool = read_meters(options.data, options.homes, options.days, **where)
        print(pool, *pool.notes, sep="\n")
    return Households(pool, options.day).split()


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
