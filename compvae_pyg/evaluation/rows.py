"""Evaluation results: rows, the table that shows them, and the file that keeps them."""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch_geometric

from compvae_pyg.nn.checks import check_annotations, check_type
from compvae_pyg.problems.base import Quantity
from compvae_pyg.problems.estimate import Estimate

__all__ = [
    "EvaluationRow",
    "ResultRow",
    "format_legend",
    "format_table",
    "read_evaluation",
    "write_evaluation",
]

R = TypeVar("R", bound="EvaluationRow")
_HEADINGS = {"num_parts": "K", "num_wholes": "wholes"}
_KINDS = ("true", "generated", "reconstructed")
NATS_TO_BITS = 1.0 / math.log(2.0)
# What is measured on any problem; the first of these has a figure of its own.
GENERAL = {
    "energy_distance": Quantity(
        "energy distance (oracle)",
        meaning="energy distance of generated wholes to true ones of the same parts",
    ),
    "sum_energy_distance": Quantity(),
    "spread": Quantity(),
    "marginal_energy_distance": Quantity(
        "marginal distance (oracle)",
        title="energy distance to wholes of any parts",
    ),
    "mmd": Quantity("MMD (oracle)", ".4f", title="maximum mean discrepancy (MMD)"),
    "classifier_accuracy": Quantity(
        "C2ST (oracle)", title="accuracy of a classifier (C2ST)", chance=0.5
    ),
    "code_variance": Quantity(
        "codes' variance (1)",
        ".2f",
        meaning="mean square of parts' latents in units of their prior; 1 if they fill it",
    ),
    "code_distance": Quantity(
        "codes' distance (oracle)",
        meaning="energy distance of parts' latents to draws from their prior",
    ),
}
_ELBO = {
    "rec. rmse": "{0.reconstruction_rmse:.3f}",
    "log-lik.": "{0.log_likelihood:.0f}",
    "KL_w (bits)": "{0.kl_w:.1f} ({0.kl_w_bits:.1f})",
    "KL_z (bits)": "{0.kl_z:.1f} ({0.kl_z_bits:.1f})",
    "ELBO": "{0.elbo:.0f}",
    "log p(x)": "{0.log_evidence:.0f±.1f}",
}
_MEANINGS = {
    "K": "number of parts of a whole",
    "wholes": "number of wholes that a row comes from",
    "rec. rmse": "root mean squared error of reconstructions",
    "log-lik.": "log-likelihood of a whole given its latents, in nats",
    "KL_w (bits)": "information in the latents of the parts, in nats (in bits)",
    "KL_z (bits)": "information in the latent of the whole, in nats (in bits)",
    "ELBO": "lower bound of the log-likelihood, log-lik. - KL_w - KL_z, in nats",
    "log p(x)": "importance-weighted estimate of the log-likelihood, in nats",
    "ratio": "generated divided by true",
    "reconstructed": "the same, of reconstructions",
    "removal rmse": "root mean squared difference to the truth, after a part was removed",
    "settled rmse": "the same, with latents inferred once more from the result",
    "generated rmse": "the same, of a whole generated anew from the parts that stay",
    "kept rmse": "the same, with nothing removed",
    "reconstruction rmse": "that of reconstructions to the observed whole",
    "true accuracy": "share of sites that stay whose pixel has their colour, in the truth",
    "removal accuracy": "the same, after the removal",
    "accuracy ratio": "the second divided by the first",
}
_BRACKETS = {
    "(ground truth)": "in brackets, the same of true wholes",
    "(oracle)": "in brackets, between two true samples: what a perfect model would have",
    "±": "one standard error",
}
_OF_ELBO = ("log_likelihood", "kl_w", "kl_z", "elbo", "log_evidence", "reconstruction_rmse")


@dataclass(frozen=True)
class EvaluationRow:
    """A row of an evaluation result, on wholes of one number of parts.

    ``columns`` are headings of a table and format strings of cells, whose argument 0 is the row; by
    default, all fields are shown. ``legend`` says what headings mean.

    Example:
        >>> @dataclass(frozen=True)
        ... class Peaks(EvaluationRow):
        ...     num_parts: int
        ...     peak: Estimate
        >>> Peaks(3, Estimate(2.0, 0.1)).formatted()
        {'K': '3', 'peak': '2.000 ± 0.100'}
    """

    columns: ClassVar[Mapping[str, str]] = {}
    legend: ClassVar[Mapping[str, str]] = {}

    def meanings(self) -> Mapping[str, str]:
        """Return what is behind a heading, by heading."""
        return {**_MEANINGS, **self.legend}

    def formatted(self) -> dict[str, str]:
        """Return what :func:`format_table` shows, by heading."""
        shown = dict(self.columns)
        for name, value in () if shown else vars(self).items():
            spec = ":.3f±.3f" if isinstance(value, Estimate) else ""
            shown[_HEADINGS.get(name, name.replace("_", " "))] = f"{{0.{name}{spec}}}"
        return {heading: text.format(self) for heading, text in shown.items()}

    def plain(self) -> dict[str, Any]:
        """Return what :func:`write_evaluation` writes."""
        return asdict(self)

    @classmethod
    def of_plain(cls: type[R], values: Mapping[str, Any]) -> R:
        """Return the row that was written.

        Raises:
            ValueError: If the values are not those of such a row.
        """
        wrong = sorted(values.keys() ^ {field.name for field in fields(cls)})
        if wrong:
            raise ValueError(f"rows must be of {cls.__name__} (differ in {wrong})")
        return cls(**values)


@dataclass(frozen=True)
class ResultRow(EvaluationRow):
    """What was measured on wholes of one number of parts; counts and estimates are attributes.

    Attributes:
        counts: ``num_parts``, ``num_wholes``, and other counts by name.
        estimates: Means over wholes by name, see :func:`evaluate` and :func:`evaluate_removal`.
        quantities: How quantities are shown, of a problem; not written to files.

    Raises:
        AttributeError: If there is neither a count nor an estimate of a name.

    Example:
        >>> row = ResultRow({"num_parts": 4, "num_wholes": 9}, {"peak": Estimate(0.5, 0.1)})
        >>> row.num_parts, row.peak
        (4, Estimate(mean=0.5, standard_error=0.1))
    """

    counts: dict[str, int]
    estimates: dict[str, Estimate]
    quantities: Mapping[str, Quantity] = field(default_factory=dict, compare=False, repr=False)

    def __getattr__(self, name: str) -> Any:
        for found in ("counts", "estimates"):
            if name in vars(self).get(found, ()):
                return vars(self)[found][name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def meanings(self) -> Mapping[str, str]:
        """Return what is behind a heading, by heading."""
        shown = {**GENERAL, **self.quantities}.values()
        return {**_MEANINGS, **{q.heading: q.meaning or q.title for q in shown if q.heading}}

    @property
    def kl_w_bits(self) -> Estimate:
        """Information in the latents of the parts, in bits."""
        return self.estimates["kl_w"].scaled(NATS_TO_BITS)

    @property
    def kl_z_bits(self) -> Estimate:
        """Information in the latent of the whole, in bits."""
        return self.estimates["kl_z"].scaled(NATS_TO_BITS)

    def formatted(self) -> dict[str, str]:
        """Return what :func:`format_table` shows, by heading: the problem's own, then the rest."""
        out = {"K": str(self.num_parts)}
        if "elbo" not in self.estimates:
            out["wholes"] = str(self.num_wholes)
        for name, quantity in self.own().items():
            out |= self._cells(name, quantity)
        for name, quantity in GENERAL.items():
            if name not in self.quantities:
                out |= self._cells(name, quantity)
        elbo = _ELBO if "elbo" in self.estimates else {}
        return out | {heading: text.format(self) for heading, text in elbo.items()}

    def own(self) -> dict[str, Quantity]:
        """Return the problem's quantities, and plain ones for whatever else was measured."""
        out, known = dict(self.quantities), {*GENERAL, *self.quantities}
        if "elbo" in self.estimates:
            known |= {*_OF_ELBO}
        for name in self.estimates:
            kind, _, base = name.partition("_")
            if name.removesuffix("_ratio") in known or (base in known and kind in _KINDS):
                continue
            paired = {f"true_{base}", f"generated_{base}"} <= self.estimates.keys()
            name, also = (base, " (ground truth)") if paired else (name, "")
            out[name] = Quantity(name.replace("_", " ") + also, ".3f" if paired else ".3f±.3f")
        return out

    def _cells(self, name: str, quantity: Quantity) -> dict[str, str]:
        spec, out = quantity.spec, dict[str, str]()
        if quantity.heading and name in self.estimates:
            out[quantity.heading] = f"{self.estimates[name]:{spec}}"
        if quantity.heading and f"generated_{name}" in self.estimates:
            own, true = (self.estimates[f"{kind}_{name}"] for kind in ("generated", "true"))
            out[quantity.heading] = f"{own:{spec}} ({true:{spec}})"
        for column, other in (
            ("ratio", f"{name}_ratio"),
            ("reconstructed", f"reconstructed_{name}"),
        ):
            if other in self.estimates:
                out[column] = f"{self.estimates[other]:.3f±.3f}"
        return out

    def plain(self) -> dict[str, Any]:
        """Return what :func:`write_evaluation` writes: counts and estimates side by side."""
        return {**self.counts, **{name: asdict(value) for name, value in self.estimates.items()}}

    @classmethod
    def of_plain(cls: type[R], values: Mapping[str, Any]) -> R:
        """Return the row that was written.

        Raises:
            ValueError: If there is anything but counts and estimates, or no count of parts.
        """
        counts = {name: value for name, value in values.items() if isinstance(value, int)}
        found = {name: value for name, value in values.items() if isinstance(value, Estimate)}
        wrong = sorted(values.keys() - counts.keys() - found.keys())
        if wrong or not {"num_parts", "num_wholes"} <= counts.keys():
            raise ValueError(f"rows must be of counts and estimates (got {wrong or list(values)})")
        return cls(counts, found)  # type: ignore[call-arg]


def format_table(rows: Sequence[EvaluationRow]) -> str:
    """Return rows of an evaluation result, at least one, as an aligned Markdown table.

    Divergences and ELBOs are in nats per whole, and in bits where it says so. What some rows do not
    have is a dash there.

    Raises:
        TypeError, ValueError: If these are not rows of an evaluation result, or none.

    Example:
        >>> counts = {"num_parts": 4, "num_wholes": 100}
        >>> print(format_table([ResultRow(counts, {"peak": Estimate(1.0, 0.1)})]))
        | K | wholes |          peak |
        |--:|-------:|--------------:|
        | 4 |    100 | 1.000 ± 0.100 |
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise TypeError(f"rows must be rows of an evaluation result (got {type(rows).__name__})")
    if not rows:
        raise ValueError("rows must not be empty (got none)")
    for row in rows:
        check_type(row, "rows", EvaluationRow)
    cells = [row.formatted() for row in rows]
    heads = _headings(cells)
    lines = [heads, *([line.get(heading, "–") for heading in heads] for line in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = ("| " + " | ".join(map(str.rjust, line, widths)) + " |" for line in lines)
    rule = "|".join("-" * (width + 1) + ":" for width in widths)
    return "\n".join([head, f"|{rule}|", *body])


def _headings(cells: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the headings of all rows, in the order of the row that has most."""
    by_length = sorted(cells, key=len, reverse=True)
    return list(dict.fromkeys(heading for line in by_length for heading in line))


def format_legend(rows: Sequence[EvaluationRow]) -> str:
    """Return what the columns of :func:`format_table` mean, a line each.

    Raises:
        TypeError, ValueError: As :func:`format_table`.

    Example:
        >>> counts = {"num_parts": 4, "num_wholes": 100}
        >>> print(format_legend([ResultRow(counts, {"peak": Estimate(1.0, 0.1)})]))
        K: number of parts of a whole
        wholes: number of wholes that a row comes from
        ±: one standard error
    """
    table, meanings = format_table(rows), rows[0].meanings()
    lines = {name: meanings.get(name, "") for name in _headings(row.formatted() for row in rows)}
    lines |= {mark: text for mark, text in _BRACKETS.items() if mark in table}
    return "\n".join(f"{name}: {text}" for name, text in lines.items() if text)


@check_annotations
def write_evaluation(path: str | os.PathLike[str], rows: Sequence[Any], *, seed: int) -> None:
    """Write rows, or other dataclasses, as JSON, with their seed, the versions and the machine.

    Each estimate is an object of ``mean`` and ``standard_error``; what is not a number is ``null``.

    Raises:
        TypeError: If an argument is of another type.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> rows = [ResultRow({"num_parts": 4, "num_wholes": 100}, {"peak": Estimate(1.0, 0.1)})]
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     write_evaluation(file.name, rows, seed=3)
        ...     json.load(file)["rows"][0]["peak"]
        {'mean': 1.0, 'standard_error': 0.1}
    """
    from compvae_pyg import __version__

    if not all(is_dataclass(row) and not isinstance(row, type) for row in rows):
        raise TypeError("rows must be dataclasses (got others)")
    report = {
        "seed": seed,
        "versions": {
            "compvae_pyg": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, torch_geometric)},
        },
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "rows": [row.plain() if isinstance(row, EvaluationRow) else asdict(row) for row in rows],
    }
    report = json.loads(json.dumps(report), parse_constant=lambda _: None)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")


@check_annotations
def read_evaluation(
    path: str | os.PathLike[str],
    kind: type[R] = ResultRow,  # type: ignore[assignment]
    quantities: Mapping[str, Quantity] | None = None,
) -> list[R]:
    """Read rows of a kind that :func:`write_evaluation` wrote.

    ``quantities``, those of a problem, say how measured rows are shown.

    Raises:
        TypeError: If an argument is of another type.
        OSError: If the file cannot be read.
        ValueError: If it holds anything but rows of this kind.

    Example:
        >>> import tempfile
        >>> counts = {"num_parts": 4, "num_wholes": 100}
        >>> rows = [ResultRow(counts, {"peak": Estimate(1.0, 0.1)})]
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     write_evaluation(file.name, rows, seed=0)
        ...     read_evaluation(file.name) == rows
        True
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        rows = [
            kind.of_plain(row) for row in json.loads(text, object_hook=_estimate_or_dict)["rows"]
        ]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [replace(row, quantities=quantities) if quantities else row for row in rows]  # type: ignore[call-arg]


def _estimate_or_dict(read: dict[str, Any]) -> Any:
    if read.keys() != {"mean", "standard_error"}:
        return read
    return Estimate(**{name: math.nan if x is None else x for name, x in read.items()})
