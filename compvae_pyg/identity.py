"""What makes a run that run and no other: its options, its networks, and the machine it is on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.data.data import BaseData

__all__ = ["compare", "differences", "flat", "machine", "networks"]

# Compared by their texts; subclasses of strings are no plain ones.
_TOLD = (str, torch.dtype, torch.device, np.dtype, PurePath, Enum, complex)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers and strings in a value, each with its path.

    Tensors and arrays are compared by a digest, other things by the name of their type.

    Example:
        >>> dict(flat({"period": 100.0, "curves": [torch.zeros(2)]}))
        {'period': 100.0, 'curves.0': 'torch.float32 [2] af5570f5a181'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    elif isinstance(value, (set, frozenset)):
        value = sorted(map(repr, value))
    elif isinstance(value, BaseData):
        value = value.to_dict()
    elif isinstance(value, nn.Module):
        value = {**networks(value), "weights": value.state_dict()}
    elif isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        value = value.astype(str).tolist()
    if isinstance(value, (Mapping, list, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from flat(item, f"{name}.{key}" if name else str(key))
        return
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):  # which may be a view, of another machine's bytes
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        value = f"{value.dtype} {list(value.shape)} {digest}"
    elif isinstance(value, _TOLD) or (isinstance(value, float) and value != value):
        value = str(value)  # NaN is not equal to itself
    elif value is not None and not isinstance(value, (bool, int, float)):
        value = getattr(value, "__qualname__", type(value).__qualname__)
    yield name, value


def networks(model: nn.Module) -> dict[str, Any]:
    """Return what a model is but for its weights, as a value for :func:`flat`.

    These are the classes of its modules and their public attributes; of parameters and buffers the
    shapes, types, which of them share memory and which are not trained; and the values of buffers
    that are not saved.

    Example:
        >>> networks(nn.Linear(2, 1))["weight"]
        '[1, 2] torch.float32'
    """
    found: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        found[path or "class"] = type(module).__qualname__
        for name, value in vars(module).items():
            if not name.startswith("_") and name != "training":
                found[f"{path}.{name}".removeprefix(".")] = value
    state, owners = model.state_dict(), dict[int, str]()
    tensors = chain(model.named_parameters("", True, False), model.named_buffers("", True, False))
    for name, tensor in tensors:
        owner = owners.setdefault(id(tensor), name)
        text = f"{list(tensor.shape)} {tensor.dtype}" + ("" if owner == name else f" of {owner}")
        if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
            text += ", not trained"
        found[name] = text if name in state else tensor
    return found


def machine() -> dict[str, Any]:
    """Return versions and settings on which the last bits of results depend.

    Example:
        >>> machine()["threads"] == torch.get_num_threads()
        True
    """
    from compvae_pyg import __version__

    return {
        "compvae_pyg": __version__,
        **{module.__name__: module.__version__ for module in (torch, torch_geometric, np)},
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, str]:
    """Return in words where two identities, as :func:`flat` returns them, differ.

    Example:
        >>> differences({"seed": 1, "step": 2}, {"seed": 3, "step": 2})
        {'seed': 'seed is 1 there and 3 here'}
    """
    return {
        name: f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    }


def compare(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, str]:
    """Return in a line what makes a run another one, and what may change its last bits.

    Example:
        >>> compare({"seed": 1, "machine.threads": 2}, {"seed": 3, "machine.threads": 2})
        ('seed is 1 there and 3 here', '')
    """
    found = differences(there, here)
    bits = [found.pop(name) for name in list(found) if name.startswith("machine.")]
    others, more = list(found.values()), len(found) - 4
    return "; ".join(others[:4] + [f"and {more} more"] * (more > 0)), "; ".join(bits)
