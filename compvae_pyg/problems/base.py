"""What a problem is: a source of wholes with their parts, and networks for it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from compvae_pyg.models import CompVAE, build_architecture
from compvae_pyg.nn import pack
from compvae_pyg.nn.checks import (
    check_annotations,
    check_choice,
    check_field_names,
    check_fields,
    check_generator,
    check_type,
)

__all__ = ["Problem", "drawing_device", "packed_batch"]


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


class Problem(ABC):
    """A source of wholes with their parts, with networks for it.

    A problem of your own needs its name, the names of its parts' fields, the shape of a whole and
    :meth:`sample`; networks may come from elsewhere.

    Attributes:
        name: Name under which saved models refer to it.
        part_fields: Names of the fields of ``Data`` that describe a part.
        intrinsic_fields: Names of the fields that say what else there is to a part: its intrinsic
            variety, which the ground truth knows and no model is told.
        event_shape: Shape of one whole.
        networks: Names that :meth:`build` knows: presets that are registered for the problem, see
            :func:`~compvae_pyg.models.register_architecture`.
        max_parts: Largest number of parts in training.
        training: Numbers for its training: arguments of
            :meth:`Schedule.staged <compvae_pyg.training.Schedule.staged>`.
    """

    name: ClassVar[str]
    part_fields: ClassVar[tuple[str, ...]]
    intrinsic_fields: ClassVar[tuple[str, ...]] = ()
    event_shape: ClassVar[tuple[int, ...]]
    networks: ClassVar[tuple[str, ...]] = ()
    max_parts: ClassVar[int] = 8
    training: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw one whole for each number of parts in ``num_parts``, ``[S]``, as a PyG batch.

        The batch lies on the device of the generator, or else on that of ``num_parts``; giving
        ``num_parts`` on the CPU spares a synchronisation.
        """

    def build(self, networks: str, **options: Any) -> CompVAE:
        """Build networks by name, untrained, with options of theirs.

        They are saved with the problem's own parameters, as far as these are numbers and texts.

        Raises:
            ValueError: If there are none of that name, or they refuse an option.
        """
        check_choice(networks, "networks", self.networks)
        model = build_architecture(self.name, networks, **options)
        plain = {k: v for k, v in vars(self).items() if isinstance(v, (bool, int, float, str))}
        model.config = {**(model.config or {}), "parameters": plain}
        return model

    @check_annotations
    def parts(self, data: Data) -> dict[str, Tensor]:
        """Return the fields of a ``Data`` or ``Batch`` that describe its parts."""
        return {field: data[field] for field in self.part_fields}


@check_annotations
def packed_batch(parts: Mapping[str, Tensor], whole: Tensor, num_parts: Tensor) -> Batch:
    """Return the PyG batch that collating one ``Data`` per whole would give, without the loop.

    Args:
        parts: Fields of the parts, N rows each.
        whole: Wholes, ``[S, *event]``.
        num_parts: Number of parts of each whole, ``[S]``.

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
    data = Batch(_base_cls=Data)
    for name, value in parts.items():
        data[name] = value
    data.whole = whole
    data.num_nodes = batch.shape[0]
    data._store._num_nodes = num_parts.tolist()
    data.batch = batch
    data.ptr = ptr
    # What Batch.get_example() needs to take the batch apart again.
    data._num_graphs = whole.shape[0]
    data._slice_dict = {**dict.fromkeys(parts, ptr), "whole": one_each}
    data._inc_dict = dict.fromkeys(data._slice_dict)
    return data
