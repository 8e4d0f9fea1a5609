"""All that is measured and drawn of a model, on any problem, in one folder (extra ``plots``)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from compvae_pyg import evaluation, plots
from compvae_pyg.evaluation import ResultRow
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_type
from compvae_pyg.problems import Problem
from compvae_pyg.progress import progress

__all__ = ["Report", "write_report"]


class Report(NamedTuple):
    """The rows of an evaluation, and the files written: ``evaluation.json`` and the figures.

    Example:
        >>> Report([], [Path("outputs/dots/evaluation.json")]).files[0].name
        'evaluation.json'
    """

    rows: Sequence[ResultRow]
    files: list[Path]


def write_report(
    model: CompVAE,
    problem: Problem,
    output: str | os.PathLike[str],
    *,
    num_parts: Sequence[int] | None = None,
    num_wholes: int = 1000,
    num_classified: int = 0,
    seed: int = 0,
    trained_to: int | None = None,
) -> Report:
    """Evaluate a model on a problem, and draw all figures.

    The folder then holds ``evaluation.json``, by :func:`~compvae_pyg.evaluation.evaluate`, whose
    arguments these are, and as PNG the problem's own figures and: ``quality``, by the number of
    parts; ``energy_distances``, if the problem can draw wholes of given parts; and ``losses``, if
    the folder holds the ``metrics.csv`` of the training. They mark ``trained_to``, the largest
    number of parts in training, by default the problem's ``max_parts``.

    Raises:
        TypeError, ValueError: As :func:`~compvae_pyg.evaluation.evaluate`.
        OSError: If a file cannot be written.

    Example:
        >>> import tempfile
        >>> from compvae_pyg import Sines
        >>> few = {"num_parts": [2], "num_wholes": 4}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = write_report(Sines().build("small"), Sines(), folder, **few)
        >>> sorted(file.name for file in report.files)[:2]
        ['energy_distances.png', 'evaluation.json']
    """
    check_type(problem, "problem", Problem)
    trained_to = problem.max_parts if trained_to is None else trained_to
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    how = {"num_wholes": num_wholes, "num_classified": num_classified, "seed": seed}
    rows = evaluation.evaluate(model, problem, num_parts=num_parts or None, **how)
    evaluation.write_evaluation(folder / "evaluation.json", rows, seed=seed)
    with progress(None, "figures", "files", delay=0.0) as bar:
        figures = dict(problem.figures(model, seed=seed))
        figures["quality"] = plots.plot_quality(rows, trained_to=trained_to)
        if problem.has("draw"):
            figures["energy_distances"] = plots.plot_energy_distances(rows, trained_to=trained_to)
        if (folder / "metrics.csv").exists():
            figures["losses"] = plots.plot_losses(plots.read_metrics(folder / "metrics.csv"))
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png")
            bar.update()
    return Report(rows, [folder / "evaluation.json", *(folder / f"{name}.png" for name in figures)])
