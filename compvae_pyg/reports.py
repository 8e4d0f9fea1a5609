"""All that is measured and drawn of a model, in one folder (extra ``plots``)."""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from compvae_pyg import plots
from compvae_pyg.evaluation import (
    SampledRow,
    evaluate_dots,
    evaluate_sines,
    recompose_dots,
    recompose_sines,
    reconstruct_dots,
    sines_nonlinearity,
    sines_variety,
    write_evaluation,
)
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Dots, Problem, Sines

__all__ = ["Report", "problem_of", "write_report"]


class Report(NamedTuple):
    """What :func:`write_report` leaves.

    Attributes:
        rows: Rows of the evaluation.
        files: What was written: ``evaluation.json`` and the figures.
    """

    rows: Sequence[SampledRow]
    files: list[Path]


def problem_of(model: CompVAE) -> Problem:
    """Return the problem that a model's networks were made for, with its parameters.

    Raises:
        ValueError: If no report is known for this problem, or it refuses a parameter.

    Example:
        >>> problem_of(Sines(num_categories=9, period=80.0).build("small"))
        Sines(nonlinearity=3.0, period=80.0, num_categories=9, ...)
    """
    config = model.config or {"problem": "none"}
    kind = _KINDS.get(config["problem"])
    if kind is None:
        names = ", ".join(_KINDS)
        raise ValueError(
            f"no report is known for the problem {config['problem']!r} (known problems: {names})"
        )
    # Networks that were not built by the problem tell of it by their own options alone.
    known = inspect.signature(kind.problem).parameters
    told = {name: value for name, value in config["options"].items() if name in known}
    try:
        return kind.problem(**{**told, **config["parameters"]})
    except TypeError as error:
        raise ValueError(f"{config['problem']} has other parameters: {error}") from error


def write_report(
    model: CompVAE,
    problem: Problem,
    output: str | os.PathLike[str],
    *,
    num_parts: Sequence[int] | None = None,
    num_wholes: int = 1000,
    seed: int = 0,
    trained_to: int | None = None,
) -> Report:
    """Evaluate a model and draw all figures of its problem.

    The folder then holds ``evaluation.json`` and, as PNG, the paper's figures and two more:
    ``quality`` and ``energy_distances`` by the number of parts. The losses are drawn if the folder
    holds the ``metrics.csv`` of the training.

    Args:
        model: The model, on the device that is to be used.
        problem: The ground truth: dots or sines.
        output: The folder; made if there is none.
        num_parts: Numbers of parts; by default up to several times those of training.
        num_wholes: Number of wholes for each of them.
        seed: Seed of all that is drawn.
        trained_to: Largest number of parts in training; by default that of the problem's courses.

    Raises:
        ValueError: If the problem is another, or a number is not positive.
    """
    kind = _KINDS.get(problem.name)
    if kind is None:
        known = ", ".join(_KINDS)
        raise ValueError(f"problem must be one of {known} (got {problem.name!r})")
    if trained_to is None:
        trained_to = problem.schedule(problem.schedules[0]).curriculum.last
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    rows = kind.evaluate(
        model, problem, num_parts=num_parts or kind.num_parts, num_wholes=num_wholes, seed=seed
    )
    evaluation = folder / "evaluation.json"
    write_evaluation(evaluation, rows, seed=seed)
    figures = kind.figures(model, problem, seed)
    figures["quality"] = plots.plot_quality(rows, trained_to=trained_to)
    figures["energy_distances"] = plots.plot_energy_distances(rows, trained_to=trained_to)
    metrics = folder / "metrics.csv"
    if metrics.exists():
        figures["losses"] = plots.plot_losses(plots.read_metrics(metrics))
    files = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(files[name])
    return Report(rows, [evaluation, *files.values()])


def _dots_figures(model: CompVAE, problem: Dots, seed: int) -> dict[str, Figure]:
    sizes = torch.arange(1, 5).repeat_interleave(8)
    data = problem.sample(sizes, torch.Generator().manual_seed(seed))
    reconstructions = reconstruct_dots(model, problem, seed=seed)
    return {
        "data": plots.plot_data(data.whole, sizes, data.pos),
        "recomposition": plots.plot_recomposition(recompose_dots(model, problem, seed=seed)),
        "reconstructions": plots.plot_reconstructions(reconstructions),
    }


def _sines_figures(model: CompVAE, problem: Sines, seed: int) -> dict[str, Figure]:
    # Low frequencies, whose curves can be told apart by eye.
    four = recompose_sines(model, problem, category=(0, 1, 2, 4), seed=seed)
    six = recompose_sines(model, problem, seed=seed)
    return {
        "sum": plots.plot_sum(four),
        "variety": plots.plot_variety(sines_variety(model, problem, seed=seed)),
        "recomposition": plots.plot_sines_recomposition(six),
        "nonlinearity": plots.plot_nonlinearity(sines_nonlinearity(problem, seed=seed)),
    }


@dataclass(frozen=True)
class _Kind:
    """How the models of a problem are evaluated and drawn."""

    problem: Callable[..., Problem]
    num_parts: tuple[int, ...]
    evaluate: Callable[..., Sequence[SampledRow]]
    figures: Callable[..., dict[str, Figure]]


_KINDS = {
    "dots": _Kind(Dots, (1, 2, 4, 8, 12, 16, 32, 64), evaluate_dots, _dots_figures),
    "sines": _Kind(Sines, (1, 2, 4, 8, 16, 24, 30, 48, 64), evaluate_sines, _sines_figures),
}
