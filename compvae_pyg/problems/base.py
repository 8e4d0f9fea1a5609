"""What a problem is: a source of wholes with their parts; networks, measures and figures."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from compvae_pyg.models import CompVAE, build_architecture, register_architecture
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import (
    check_annotations,
    check_choice,
    check_field_names,
    check_fields,
    check_generator,
    check_methods,
    check_sample,
    check_type,
)
from compvae_pyg.problems.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Problem",
    "Quantity",
    "Removal",
    "Value",
    "drawing_device",
    "packed_batch",
    "problem_of",
]

# One number per whole, whose mean is estimated, or another call like
# `partial(Estimate.ratio, values, reference)`, made with those of all batches.
Value: TypeAlias = Tensor | partial[Estimate]

_KNOWN: dict[str, type[Problem]] = {}


@dataclass(frozen=True)
class Quantity:
    """How a quantity that a problem measures is shown.

    Attributes:
        heading: That of its column in tables; without one, it is only in the files.
        spec: Format of its values, as for :class:`Estimate`.
        title: That of its panel among the figures; without one, it has none.
        meaning: What it is, for the legend of a table; by default the title.
        ratio: Title of a panel with the ratio of generated to true wholes, which is then estimated.
        chance: Value by chance, to be marked.
        reconstructed: Whether it is measured of reconstructions as well.

    Example:
        >>> Quantity("peak (ground truth)", ".2f", title="largest value of a whole").spec
        '.2f'
    """

    heading: str = ""
    spec: str = ".3f"
    title: str = ""
    ratio: str = ""
    chance: float | None = None
    reconstructed: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Removal:
    """Observed wholes from each of which a part was removed, ``[S, *event]`` each.

    Attributes:
        whole: What the model observed.
        truth: The ground truth without the part.
        kept: The reconstruction, nothing removed.
        removed: What the model makes of the parts that stay.
        parts: All parts, with their intrinsic features.
        rest: Those that stay.

    Example:
        >>> one, parts = torch.zeros(1, 4), PackedParts(torch.zeros(2, 1))
        >>> Removal(one, one, one, one, parts, parts.without(0)).rest.num_parts
        1
    """

    whole: Tensor
    truth: Tensor
    kept: Tensor
    removed: Tensor
    parts: PackedParts
    rest: PackedParts


@check_methods
class Problem(ABC):
    """A source of wholes with their parts, and what else belongs to it.

    A problem of your own needs its name, the names of its parts' fields, the shape of a whole and
    :meth:`sample`. All else is optional, and used where it is there: networks by name
    (``presets``), the ground truth of given parts (:meth:`draw`, :meth:`render`), measures
    (:meth:`measure`, :meth:`compare`, :meth:`measure_removal`) and figures (:meth:`figures`).
    Training, evaluation, reports and figures use this interface alone.

    Attributes:
        name: Name under which saved models refer to it; that of no other problem.
        part_fields: Names of the fields of ``Data`` that describe a part.
        intrinsic_fields: Names of the fields that say what else there is to a part: its intrinsic
            variety, which the ground truth has and no model is given.
        event_shape: Shape of one whole.
        presets: Sets of networks by name, as functions that build them untrained, of keyword
            arguments that JSON can hold; see
            :func:`~compvae_pyg.models.register_architecture`, which is called with them.
        max_parts: Largest number of parts in training.
        training: Numbers for its training: arguments of
            :meth:`Schedule.staged <compvae_pyg.training.Schedule.staged>`.
        training_of_presets: The same for presets whose networks need other numbers, by name.
        quantities: How what :meth:`measure` and :meth:`compare` return is shown, by its name.
        value_range: Smallest and largest value of a whole; generated ones are clamped to it before
            a classifier compares them with true ones.
        evaluated_parts: Numbers of parts in an evaluation.
        num_draws: Wholes of each set of parts in an evaluation.

    Raises:
        ValueError: Where a class is defined whose name another one has.

    Example:
        >>> class Bumps(Problem):
        ...     name, part_fields, event_shape = "bumps", ("place",), (8,)
        ...     def sample(self, num_parts, generator=None):
        ...         batch, _ = pack(num_parts)
        ...         place = torch.randint(8, batch.shape, generator=generator)
        ...         whole = torch.zeros(len(num_parts), 8)
        ...         whole.index_put_((batch, place), torch.tensor(1.0), accumulate=True)
        ...         return packed_batch({"place": place}, whole, num_parts)
        >>> Bumps().sample(torch.tensor([2, 3])).whole.sum(dim=1)
        tensor([2., 3.])
    """

    name: ClassVar[str]
    part_fields: tuple[str, ...]
    intrinsic_fields: ClassVar[tuple[str, ...]] = ()
    event_shape: tuple[int, ...]
    presets: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    max_parts: int = 8
    training: ClassVar[Mapping[str, Any]] = {}
    training_of_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    quantities: ClassVar[Mapping[str, Quantity]] = {}
    value_range: ClassVar[tuple[float, float] | None] = None
    evaluated_parts: tuple[int, ...] = (1, 2, 4, 8, 16)
    num_draws: ClassVar[int] = 64
    # Sets the stream of the sets of parts apart from that of the wholes.
    _purpose_of_sets: ClassVar[str] = "samples"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            return
        known = _KNOWN.get(cls.name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"name must be a new one (got {cls.name!r}, of {known.__qualname__})")
        for preset, builder in cls.presets.items():
            register_architecture(cls.name, preset, builder)
        _KNOWN[cls.name] = cls

    # Data

    @abstractmethod
    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw one whole for each number of parts in ``num_parts``, ``[S]``, as a PyG batch.

        The batch lies on the device of the generator, or else on that of ``num_parts``; giving
        ``num_parts`` on the CPU spares a synchronisation.
        """

    def held_out(self) -> Problem:
        """Return the source of wholes to evaluate with, if training has others: by default, this.

        What is generated on the fly is new each time; of what is stored, some is kept for this.
        """
        return self

    def sample_parts(self, num_parts: Tensor, generator: torch.Generator) -> PackedParts:
        """Draw parts alone, one set for each number in ``num_parts``, ``[S]``."""
        return self.pack(sample_of(self, num_parts, generator))

    def batches(
        self, num_parts: int, num_wholes: int, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield different wholes of so many parts in batches: all those asked for, or there are."""
        for start in range(0, num_wholes, batch_size):
            sizes = torch.full((min(batch_size, num_wholes - start),), num_parts)
            yield sample_of(self, sizes, generator)

    def ensembles(self, *args: Any, **kwargs: Any) -> Batch:
        """Draw wholes of one composition, each under conditions of its own.

        Arguments are ``num_parts``, ``num_wholes`` and ``own_days``: with it, so many times as many
        wholes of one part each are drawn, whose sums are of parts that share nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} has no ensembles")

    def parts(self, data: Data) -> Any:
        """Return the fields of a ``Data`` or ``Batch`` that describe its parts."""
        return {field: data[field] for field in self.part_fields}

    def pack(self, data: Batch) -> PackedParts:
        """Return the parts of a batch as a model takes them."""
        options: Any = {"context": data.get("context"), "validate": False}
        return PackedParts(self.parts(data), data.batch, data.num_graphs, **options)

    def draw(self, *args: Any, **kwargs: Any) -> Tensor:
        """Draw wholes of given parts, with intrinsic features of their own, ``[S, *event]``.

        Arguments are the ``part_fields``, ``batch``, ``batch_size`` and a ``torch.Generator``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot draw wholes of given parts")

    def render(self, *args: Any, **kwargs: Any) -> Tensor:
        """Draw wholes of given parts and intrinsic features, ``[S, *event]``.

        Arguments are the ``part_fields``, the ``intrinsic_fields``, ``batch`` and ``batch_size``.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot render given parts")

    def has(self, method: str) -> bool:
        """Tell whether an optional method is there.

        Example:
            >>> from compvae_pyg import Dots, Sines
            >>> Dots().has("compare"), Sines().has("compare")
            (True, False)
        """
        return getattr(type(self), method) is not getattr(Problem, method)

    # Networks

    def build(self, preset: str, **options: Any) -> CompVAE:
        """Build the networks of a preset, untrained, with options of theirs.

        They are saved with the problem's own parameters, as far as these are numbers and strings.

        Raises:
            ValueError: If there is no such preset, or it refuses an option.
        """
        check_choice(preset, "preset", tuple(self.presets))
        model = build_architecture(self.name, preset, **options)
        plain = {k: v for k, v in vars(self).items() if isinstance(v, (bool, int, float, str))}
        model.config = {**(model.config or {}), "parameters": plain}
        return model

    # Measures

    def measure(self, whole: Tensor, parts: PackedParts) -> Mapping[str, Value]:
        """Measure wholes, ``[S, *event]``, that are to be made of given parts.

        True wholes are measured, and wholes that a model generates of the same parts.

        Returns:
            By the names of quantities, one number per whole, ``[S]``, whose mean is estimated; or
            other estimates, like ``partial(Estimate.ratio, values, reference)``.
        """
        return {}

    def compare(self, whole: Tensor, truth: Tensor, parts: PackedParts) -> Mapping[str, Value]:
        """Compare wholes with true ones of the same parts, ``[S, *event]`` both.

        Generated wholes are compared, and others that :meth:`draw` returns. Results are those of
        :meth:`measure`.
        """
        return {}

    def measure_removal(self, removal: Removal) -> Mapping[str, Value]:
        """Measure wholes that parts were removed from; results are those of :meth:`measure`."""
        return {}

    # Figures

    def figures(self, model: CompVAE, *, seed: int = 0) -> Mapping[str, Figure]:
        """Return figures of a model by the names of their files, without an ending."""
        return {}

    def add_demo(self, gr: Any, app: Any, model: CompVAE) -> None:
        """Add what a model does to a page ``app`` of Gradio, the module ``gr``, in a tab."""
        raise NotImplementedError(f"{type(self).__name__} has no demo")


def sample_of(
    problem: Problem, num_parts: Tensor, generator: torch.Generator | None = None
) -> Batch:
    """Return what a problem's :meth:`~Problem.sample` does, checked.

    Raises:
        TypeError, ValueError: If it is no batch of wholes and parts as the problem describes them.

    Example:
        >>> from compvae_pyg import Dots
        >>> sample_of(Dots(), torch.tensor([2, 3])).num_graphs
        2
    """
    data = problem.sample(num_parts, generator)
    check_sample(data, problem.name, problem.part_fields, problem.event_shape, len(num_parts))
    return data


@check_annotations
def problem_of(model: CompVAE) -> Problem:
    """Return the problem of a model's networks, with its parameters.

    Raises:
        ValueError: If no class of that name is defined, or it takes other parameters.

    Example:
        >>> from compvae_pyg import Sines
        >>> problem_of(Sines(num_categories=9, period=80.0).build("small"))
        Sines(nonlinearity=3.0, period=80.0, num_categories=9, ...)
    """
    config = model.config or {"problem": "none"}
    name = config["problem"]
    if name not in _KNOWN:
        raise ValueError(f"problem must be one of {', '.join(_KNOWN)} (got {name!r})")
    # Networks that the problem did not build have its parameters in their own options alone.
    known = inspect.signature(_KNOWN[name]).parameters
    options = {name: value for name, value in config["options"].items() if name in known}
    try:
        return _KNOWN[name](**{**options, **config["parameters"]})
    except TypeError as error:
        raise ValueError(f"{name} has other parameters: {error}") from error


def drawing_device(num_parts: Tensor, generator: torch.Generator | None) -> torch.device:
    """Return where wholes of given numbers of parts are drawn: where their generator is, if any.

    Raises:
        TypeError: If an argument is of another type.

    Example:
        >>> drawing_device(torch.tensor([2, 3]), torch.Generator())
        device(type='cpu')
    """
    check_type(num_parts, "num_parts", Tensor)
    check_generator(generator)
    return num_parts.device if generator is None else generator.device


@check_annotations
def packed_batch(
    parts: Mapping[str, Tensor],
    whole: Tensor,
    num_parts: Tensor,
    context: Tensor | None = None,
) -> Batch:
    """Return the PyG batch that collating one ``Data`` per whole would give, without the loop.

    Args:
        parts: Fields of the parts, N rows each.
        whole: Wholes, ``[S, *event]``.
        num_parts: Number of parts of each whole, ``[S]``.
        context: Conditions of the wholes, ``[S, F]``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a field has a name that PyG treats specially, or numbers of rows differ.

    Example:
        >>> data = packed_batch({"color": torch.arange(3)}, torch.zeros(2, 5), torch.tensor([1, 2]))
        >>> data[1].color
        tensor([1, 2])
    """
    rows, _ = check_fields(parts)
    check_field_names(parts)
    check_type(whole, "whole", Tensor)
    batch, ptr = pack(num_parts, whole.device)
    if rows != batch.shape[0]:
        raise ValueError(
            f"parts must have as many rows as num_parts sums to (got {rows}, expected "
            f"{batch.shape[0]})"
        )
    if whole.dim() == 0 or whole.shape[0] != num_parts.shape[0]:
        raise ValueError(
            f"whole must have a row for each of {num_parts.shape[0]} num_parts (got "
            f"{list(whole.shape)})"
        )
    one_each = torch.arange(whole.shape[0] + 1)
    of_sets = {"whole": whole} if context is None else {"whole": whole, "context": context}
    data = Batch(_base_cls=Data)
    for name, value in parts.items():
        data[name] = value
    for name, value in of_sets.items():
        data[name] = value
    data.num_nodes = batch.shape[0]
    data._store._num_nodes = num_parts.tolist()
    data.batch = batch
    data.ptr = ptr
    # What Batch.get_example() needs to take the batch apart again.
    data._num_graphs = whole.shape[0]
    data._slice_dict = {**dict.fromkeys(parts, ptr), **dict.fromkeys(of_sets, one_each)}
    data._inc_dict = dict.fromkeys(data._slice_dict)
    return data
