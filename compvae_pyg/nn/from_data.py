"""Parts from PyG's ``Data`` and ``Batch``."""

from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from compvae_pyg.nn.checks import check_fields_of, check_left_out

__all__ = ["from_data"]

_NO_FIELDS = ("batch", "ptr", "whole", "context")


def from_data(
    data: Data, batch: Any, batch_size: Any, context: Any = None, **options: Any
) -> dict[str, Any]:
    """Return the arguments of ``PackedParts``: those of a ``Data``, and those given beside it.

    Its node-level attributes are the fields. It has its own ``batch``, and may have its own
    ``context``, which are not given beside it.
    """
    check_left_out(data, batch=batch, batch_size=batch_size)
    if (own := data.get("context")) is not None:
        check_left_out(data, context=context)
        context = own
    batch = data.get("batch")
    options |= {"batch": batch, "batch_size": 1 if batch is None else data.num_graphs}
    fields = {
        name: value
        for name, value in data.to_dict().items()
        if isinstance(value, Tensor) and data.is_node_attr(name) and name not in _NO_FIELDS
    }
    check_fields_of(fields, data)
    return {"fields": fields, "context": context, **options}
