"""All that is measured and drawn of a model, in one folder (extra ``plots``)."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from compvae_pyg import evaluation, plots
from compvae_pyg.evaluation import SampledRow
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Dots, Problem, Sines

__all__ = ["Report", "problem_of", "write_report"]


class Report(NamedTuple):
    """The rows of an evaluation, and the files written: ``evaluation.json`` and the figures."""

    rows: Sequence[SampledRow]
    files: list[Path]


def problem_of(model: CompVAE) -> Problem:
    """Return the problem of a model's networks, dots or sines, with its parameters.

    Example:
        >>> problem_of(Sines(num_categories=9, period=80.0).build("small"))
        Sines(nonlinearity=3.0, period=80.0, num_categories=9, ...)
    """
    config = model.config or {"problem": "none"}
    kind = _kind_of(config["problem"]).problem
    # Networks that the problem did not build have its parameters in their own options alone.
    known = inspect.signature(kind).parameters
    options = {name: value for name, value in config["options"].items() if name in known}
    try:
        return kind(**{**options, **config["parameters"]})
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
    """Evaluate a model of the dots or the sines, and draw all figures of its problem.

    The folder then holds ``evaluation.json``, on ``num_wholes`` wholes for each of ``num_parts``,
    by default up to several times those of training, and as PNG the paper's figures and two more:
    ``quality`` and ``energy_distances`` by the number of parts. They mark ``trained_to``, the
    largest number of parts in training, by default the problem's ``max_parts``. The losses are
    drawn if the folder holds the ``metrics.csv`` of the training.
    """
    kind = _kind_of(problem.name)
    trained_to = problem.max_parts if trained_to is None else trained_to
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = num_parts or kind.num_parts
    rows = kind.evaluate(model, problem, num_parts=sizes, num_wholes=num_wholes, seed=seed)
    evaluation.write_evaluation(folder / "evaluation.json", rows, seed=seed)
    figures = kind.figures(model, problem, seed)
    figures["quality"] = plots.plot_quality(rows, trained_to=trained_to)
    figures["energy_distances"] = plots.plot_energy_distances(rows, trained_to=trained_to)
    if (folder / "metrics.csv").exists():
        figures["losses"] = plots.plot_losses(plots.read_metrics(folder / "metrics.csv"))
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    return Report(rows, [folder / "evaluation.json", *(folder / f"{name}.png" for name in figures)])


def _dots_figures(model: CompVAE, problem: Dots, seed: int) -> dict[str, Figure]:
    sizes = torch.arange(1, 5).repeat_interleave(8)
    data = problem.sample(sizes, torch.Generator().manual_seed(seed))
    series = evaluation.recompose_dots(model, problem, seed=seed)
    pairs = evaluation.reconstruct_dots(model, problem, seed=seed)
    return {
        "data": plots.plot_data(data.whole, sizes, data.pos),
        "recomposition": plots.plot_recomposition(series),
        "reconstructions": plots.plot_reconstructions(pairs),
    }


def _sines_figures(model: CompVAE, problem: Sines, seed: int) -> dict[str, Figure]:
    # Low frequencies, whose curves can be distinguished by eye.
    four = evaluation.recompose_sines(model, problem, category=(0, 1, 2, 4), seed=seed)
    six = evaluation.recompose_sines(model, problem, seed=seed)
    variety = evaluation.sines_variety(model, problem, seed=seed)
    return {
        "sum": plots.plot_sum(four),
        "variety": plots.plot_variety(variety),
        "recomposition": plots.plot_sines_recomposition(six),
        "nonlinearity": plots.plot_nonlinearity(evaluation.sines_nonlinearity(problem, seed=seed)),
    }


class _Kind(NamedTuple):
    """How the models of a problem are evaluated and drawn."""

    problem: Callable[..., Problem]
    num_parts: tuple[int, ...]
    evaluate: Callable[..., Sequence[SampledRow]]
    figures: Callable[..., dict[str, Figure]]


_DOTS, _SINES = (1, 2, 4, 8, 12, 16, 32, 64), (1, 2, 4, 8, 16, 24, 30, 48, 64)
_KINDS = {
    "dots": _Kind(Dots, _DOTS, evaluation.evaluate_dots, _dots_figures),
    "sines": _Kind(Sines, _SINES, evaluation.evaluate_sines, _sines_figures),
}


def _kind_of(name: str) -> _Kind:
    if name not in _KINDS:
        raise ValueError(f"problem must be one of {', '.join(_KINDS)} (got {name!r})")
    return _KINDS[name]
