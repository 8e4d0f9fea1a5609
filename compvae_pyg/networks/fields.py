"""What describes a part: categories, continuous numbers or both, and a network that reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from compvae_pyg.networks.normalization import Normalization
from compvae_pyg.nn import Fields, Residual
from compvae_pyg.nn.checks import check_categories, check_continuous, check_count, check_type

__all__ = ["Categorical", "Continuous", "FieldEmbedding"]


class Categorical(dict[str, int]):
    """A field that holds the category of each part, 64-bit integers ``[N]``.

    It is a dict, so that a configuration can hold it as JSON.

    Args:
        num_categories: Number of categories; they are 0, 1, ….

    Raises:
        TypeError, ValueError: If the number is not a positive integer.

    Example:
        >>> Categorical(5)
        {'num_categories': 5}
    """

    def __init__(self, num_categories: int) -> None:
        check_count(num_categories, "num_categories")
        super().__init__(num_categories=num_categories)


class Continuous(dict[str, int]):
    """A field that holds real numbers of each part, ``[N, channels]``, or ``[N]`` for one.

    Networks normalise them, see :class:`Normalization`. It is a dict, so that a configuration can
    hold it as JSON.

    Args:
        channels: How many numbers a part has.

    Raises:
        TypeError, ValueError: If the number is not a positive integer.

    Example:
        >>> Continuous(2)
        {'channels': 2}
    """

    def __init__(self, channels: int = 1) -> None:
        check_count(channels, "channels")
        super().__init__(channels=channels)


def read_fields(fields: Any) -> dict[str, Categorical | Continuous]:
    """Return what fields were declared as, also where that comes from JSON; raise for the rest."""
    check_type(fields, "fields", Mapping)
    if not fields:
        raise ValueError("fields must name at least one field of the parts (got none)")
    kinds = {"num_categories": Categorical, "channels": Continuous}
    out = {}
    for name, kind in fields.items():
        check_type(name, "a name in fields", str)
        if not isinstance(kind, Mapping) or len(kind) != 1 or not kinds.keys() & kind.keys():
            got = f"got {kind!r}"[:80]
            raise TypeError(f"fields[{name!r}] must be Categorical(…) or Continuous(…) ({got})")
        ((key, number),) = kind.items()
        check_count(number, f"fields[{name!r}], its {key},")
        out[name] = kinds[key](number)
    return out


class FieldEmbedding(nn.Module):
    r"""A network of what describes a part.

    .. math::
        e(\ell_i) = \mathrm{table}[k_i] \qquad \text{or} \qquad
        e(\ell_i) = \mathrm{MLP}\bigl(\mathrm{table}_1[k_{i1}], \ldots, c_{i1}, \ldots\bigr)

    A single categorical field has a table of what is returned. Otherwise a network reads the
    rows of all tables and the normalised continuous fields, concatenated.

    Args:
        fields: The fields by name, each :class:`Categorical` or :class:`Continuous`. A single one
            may also come as a tensor without a name.
        out_channels: Size of what is returned.
        hidden_channels: Width of the network, and size of the rows of its tables.

    Shapes:
        - **input:** categories :math:`(N)`, numbers :math:`(N, C)`
        - **output:** :math:`(N, C_{out})`, about standard normal at first

    Raises:
        TypeError, ValueError: If a field is missing, of another type or shape, or out of range.

    Example:
        >>> lamp = FieldEmbedding({"kind": Categorical(5), "power": Continuous()}, out_channels=8)
        >>> lamp({"kind": torch.tensor([0, 4]), "power": torch.tensor([40.0, 60.0])}).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        fields: Mapping[str, Mapping[str, int]],
        out_channels: int,
        hidden_channels: int = 64,
    ) -> None:
        super().__init__()
        known = read_fields(fields)
        check_count(out_channels, "out_channels")
        check_count(hidden_channels, "hidden_channels")
        self.out_channels = out_channels
        categories = {n: k["num_categories"] for n, k in known.items() if "num_categories" in k}
        channels = {n: k["channels"] for n, k in known.items() if "channels" in k}
        alone = not channels and len(categories) == 1
        size = out_channels if alone else hidden_channels
        # Lists, since the names of modules in a dict may not be those of a dict's methods.
        self.names = (*categories, *channels)
        self.tables = nn.ModuleList(nn.Embedding(k, size) for k in categories.values())
        self.scalings = nn.ModuleList(Normalization(n, (c,)) for n, c in channels.items())
        width = size * len(categories) + sum(channels.values())
        self.net: nn.Sequential | None = None
        if not alone:
            self.net = nn.Sequential(
                nn.Linear(width, hidden_channels),
                nn.ELU(),
                Residual(hidden_channels),
                nn.ELU(),
                nn.Linear(hidden_channels, out_channels),
            )
        self._init_last()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        reset(self.tables)
        reset(self.net)
        self._init_last()

    @torch.no_grad()
    def _init_last(self) -> None:
        if self.net is not None:
            last = cast(nn.Linear, self.net[-1])
            last.weight.normal_(std=math.sqrt(2.0 / last.in_features))
            last.bias.normal_(std=0.5)

    @torch.no_grad()
    def scale_outputs(self, first: int, stop: int, gain: float, bias: float) -> None:
        """Initialise some of the outputs as a multiple of what they are, and a number."""
        if self.net is None:
            table = cast(nn.Embedding, self.tables[0])
            table.weight[:, first:stop].mul_(gain).add_(bias)
        else:
            last = cast(nn.Linear, self.net[-1])
            last.weight[first:stop].mul_(gain)
            last.bias[first:stop].mul_(gain).add_(bias)

    def forward(self, parts: Fields) -> Tensor:
        """Return one row for each part, ``[N, out_channels]``."""
        if isinstance(parts, Tensor) and len(self.names) == 1:
            parts = {self.names[0]: parts}
        rows = []
        for name, table in zip(self.names, self.tables, strict=False):
            rows.append(table(check_categories(parts, cast(int, table.num_embeddings), name)))
        for module in self.scalings:
            scaling = cast(Normalization, module)
            rows.append(scaling(check_continuous(parts, scaling.shape[0], scaling.name)))
        return rows[0] if self.net is None else self.net(torch.cat(rows, dim=1))
