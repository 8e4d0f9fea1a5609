"""Checks of arguments: what does not fit raises an error of one line that names it."""

import collections.abc
import contextlib
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation
from torch_geometric.utils import is_sparse

Built = TypeVar("Built")
Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)

_NUMBERS: dict[Any, tuple[type, ...]] = {
    int: (int, np.integer, torch.SymInt),
    float: (float, int, np.floating, np.integer, torch.SymInt, torch.SymFloat),
    collections.abc.Sequence: (collections.abc.Sequence, Tensor, np.ndarray),
}


def check_type(value: Any, name: str, *kinds: type) -> None:
    """Raise a TypeError unless the value is of one of these types."""
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be {names} (got {type(value).__name__})")
    if isinstance(value, Tensor) and Tensor in kinds:
        if value.layout not in (torch.strided, torch.jagged) or value.is_quantized:
            raise TypeError(f"{name} must be a dense tensor (got {value.layout}, {value.dtype})")
        if value.is_floating_point() and value.dtype.itemsize == 1:
            raise TypeError(f"{name} must hold numbers of 16 bits or more (got {value.dtype})")


def check_count(value: Any, name: str, at_least: int = 1) -> None:
    """Raise a TypeError unless the value is an integer, and a ValueError if it is too small."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer, torch.SymInt)):
        raise TypeError(f"{name} must be an integer (got {_short(value)})")
    if value < at_least:
        demand = "not be negative" if at_least == 0 else f"be at least {at_least}"
        raise ValueError(f"{name} must {demand} (got {value})")


def check_sizes(**sizes: Any) -> None:
    """Raise unless all values are positive integers, see :func:`check_count`."""
    for name, value in sizes.items():
        check_count(value, name)


def check_number(
    value: Any, name: str, *, positive: bool = False, at_most: float = math.inf
) -> None:
    """Raise a TypeError unless the value is a real number, and a ValueError unless in range."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number (got {_short(value)})")
    if not -math.inf < value < math.inf:  # in terms that compile
        raise ValueError(f"{name} must be finite (got {value})")
    if positive and not value > 0:
        raise ValueError(f"{name} must be positive (got {value})")
    if value > at_most:
        raise ValueError(f"{name} must not exceed {at_most} (got {value})")


def check_pair(values: Any, name: str, *, positive: bool = False) -> None:
    """Raise unless the value is a tuple of two numbers, see :func:`check_number`."""
    check_type(values, name, tuple)
    if len(values) != 2:
        raise ValueError(f"{name} must be two numbers (got {len(values)})")
    for number in values:
        check_number(number, name, positive=positive)


def check_line(value: Any, name: str) -> None:
    """Raise a TypeError unless the value is a string, and a ValueError unless it is a line."""
    check_type(value, name, str)
    if not value or not value.isprintable():
        raise ValueError(f"{name} must be a line of text (got {value!r:.80})")


def check_probability(value: Any, name: str) -> None:
    """Raise a TypeError unless the value is a number, and a ValueError unless it is in (0, 1)."""
    check_number(value, name)
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie in (0, 1) (got {value})")


def check_counts(values: Any, name: str, at_least: int = 1) -> None:
    """Raise unless the value is a sequence of integers, see :func:`check_count`."""
    if isinstance(values, str) or not isinstance(values, (Sequence, range, Tensor)):
        raise TypeError(f"{name} must be a sequence of integers (got {type(values).__name__})")
    if isinstance(values, Tensor):
        check_shape(values, name, ("n",))
    for number in values.tolist() if isinstance(values, Tensor) else values:
        check_count(number, name, at_least)


def check_numbers(values: Any, name: str) -> None:
    """Raise unless the value is a sequence of positive numbers, see :func:`check_number`."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a sequence of numbers (got {type(values).__name__})")
    for number in values:
        check_number(number, name, positive=True)


def check_field_names(names: Any) -> None:
    """Raise unless these are names of parts' fields that PyG treats as it does any other."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"fields must be names (got {_short(names)})")
    names = list(names)
    if not names:
        raise ValueError("fields must hold at least one name (got none)")
    for name in names:
        check_type(name, "fields", str)
        apart = name in ("whole", "ptr", "face", "num_nodes")
        if apart or any(part in name for part in ("index", "batch", "edge")):
            raise ValueError(
                f"fields must not be whole, num_nodes, or what PyG treats specially: ptr, face, "
                f"names with index, batch or edge in them (got {name!r})"
            )


def check_choice(value: Any, name: str, choices: Sequence[str]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {tuple(choices)} (got {_short(value)})")


def check_real(value: Any, name: str) -> None:
    """Raise a TypeError unless the value is a tensor of floating-point numbers."""
    check_type(value, name, Tensor)
    if not value.is_floating_point():
        raise TypeError(f"{name} must hold floating-point numbers (got {value.dtype})")


def check_shape(value: Tensor, name: str, shape: Sequence[int | str]) -> None:
    """Raise a ValueError unless a tensor has this shape; a letter stands for any size."""
    fits = value.dim() == len(shape) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(value.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be [{expected}] (got {list(value.shape)})")


def check_rows(value: Tensor, name: str, rows: int, dim: int = 0) -> None:
    """Raise a ValueError unless a tensor has so many rows along a dimension."""
    if not -value.dim() <= dim < value.dim() or value.shape[dim] != rows:
        raise ValueError(
            f"{name} must have {rows} rows in dimension {dim} (got {list(value.shape)})"
        )


def check_broadcasts(value: Tensor, name: str, like: Tensor) -> None:
    """Raise a ValueError unless a tensor is of a shape that broadcasts with that of another."""
    pairs = zip(reversed(value.shape), reversed(like.shape), strict=False)
    if not torch.compiler.is_compiling() and any(a != b and 1 not in (a, b) for a, b in pairs):
        raise ValueError(
            f"{name} must be of a shape that broadcasts with {list(like.shape)} "
            f"(got {list(value.shape)})"
        )


def check_device(value: Tensor, name: str, device: torch.device, of: str) -> None:
    """Raise a ValueError unless a tensor is on the device of something else, ``of``."""
    if value.device != device:
        raise ValueError(
            f"{name} must be on the device of {of} (got {value.device}, expected {device})"
        )


def check_fits(value: Tensor, name: str, module: nn.Module) -> None:
    """Raise unless a tensor has the type (a TypeError) and device (a ValueError) of weights.

    Under autocast the types may differ. What compiles is left to the compiler, and modules without
    floating-point weights on a real device, as quantised and offloaded ones are, take anything.
    """
    if torch.compiler.is_compiling():
        return
    like = next(module.parameters(), None)
    if like is None or like.is_meta or not like.is_floating_point():
        return
    check_device(value, name, like.device, "the layer's weights")
    if value.dtype != like.dtype and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(
            f"{name} must be of the type of the layer's weights, {like.dtype} (got {value.dtype})"
        )


def check_features(value: Any, name: str, shape: Sequence[int | str], module: nn.Module) -> None:
    """Raise unless the value is a tensor of this shape that fits the weights of a module."""
    check_real(value, name)
    check_shape(value, name, shape)
    check_fits(value, name, module)


def check_complete(block: MessagePassing, message: Callable[..., Tensor]) -> None:
    """Raise a ValueError if messages pass in another way than sums and means of ``message`` do."""
    if type(block.aggr_module) not in (SumAggregation, MeanAggregation):  # or a subclass
        raise ValueError(
            f"edge_index must be given with aggr={block.aggr!r} (got None, which only 'sum' and "
            "'mean' can do without)"
        )
    own, base = type(block), MessagePassing
    plain = {"message": message, "aggregate": base.aggregate, "update": base.update}
    plain["message_and_aggregate"] = base.message_and_aggregate
    changed = [
        step for step, f in plain.items() if getattr(own, step) is not f or step in block.__dict__
    ]
    # PyG writes a propagate into each class but for those that have one of their own.
    if own._orig_propagate is own._jinja_propagate is not base.propagate:
        changed.append("propagate")
    for step in ("propagate", "message", "aggregate"):
        hooks = (f"_{step}_forward_hooks", f"_{step}_forward_pre_hooks")
        changed += [name for name in hooks if getattr(block, name)]
    if block.explain:
        changed.append("explain")
    if changed:
        raise ValueError(
            "edge_index must be given where message passing is changed (got None, with "
            f"{', '.join(changed)})"
        )


def check_edges(edge_index: Any, x: Tensor) -> None:
    """Raise unless these are edges between parts; sparse adjacency matrices are left to PyG."""
    if is_sparse(edge_index):
        return
    check_type(edge_index, "edge_index", Tensor)
    if edge_index.dtype not in (torch.long, torch.int):
        raise TypeError(f"edge_index must hold integers (got {edge_index.dtype})")
    check_shape(edge_index, "edge_index", (2, "E"))
    check_device(edge_index, "edge_index", x.device, "the parts")
    if can_look(edge_index):
        outside = (edge_index < 0) | (edge_index >= x.shape[0])
        if bool(outside.any()):
            got = int(edge_index[outside][0])
            raise IndexError(f"edge_index must lie in [0, {x.shape[0]}) (got {got})")


def check_generator(generator: Any, device: torch.device | None = None) -> None:
    """Raise unless the value is a source of randomness for a device, or None, the global one."""
    check_type(generator, "generator", torch.Generator, NoneType)
    if generator is not None and device is not None and generator.device.type != device.type:
        raise ValueError(
            f"generator must be on the device of what is drawn (got {generator.device}, expected "
            f"{device})"
        )


def check_normal(
    value: Any,
    name: str,
    rows: int,
    channels: int | None = None,
    device: torch.device | None = None,
) -> None:
    """Raise unless the value is a Normal over ``[rows, D]``.

    With ``channels``, for :math:`D`, it may also broadcast to that shape.
    """
    check_type(value, name, Normal)
    got = tuple(value.loc.shape)
    padded = (1,) * (2 - len(got)) + got
    if channels is None:
        fits = len(got) == 2 and got[0] == rows
    else:
        fits = len(padded) == 2 and padded[0] in (1, rows) and padded[1] in (1, channels)
    if not fits:
        raise ValueError(
            f"{name} must be over [{rows}, {'D' if channels is None else channels}] "
            f"(got {list(got)})"
        )
    if device is not None:
        check_device(value.loc, name, device, "the parts")


def check_values(value: Tensor, good: Tensor, demand: str) -> None:
    """Raise a ValueError that shows the first value that is not good.

    Values are looked at on the CPU alone, where that costs no synchronisation, and not while
    compiling.
    """
    if not can_look(value) or bool(good.all()):
        return
    at = (~good).nonzero()[0].tolist()
    raise ValueError(f"{demand} (got {value[tuple(at)].item()} at {at})")


def check_finite(value: Tensor, name: str) -> None:
    """Raise a ValueError if a number is not finite; on the CPU alone, as :func:`check_values`."""
    if not can_look(value):
        return
    # The sum is not finite if a number is not, and several times as fast as to look at each. It may
    # also overflow, so that then each is looked at.
    if not math.isfinite(float(value.detach().sum())):
        check_values(value, torch.isfinite(value), f"{name} must be finite")


def check_positive(value: Tensor, name: str) -> None:
    """Raise a ValueError unless all numbers are positive and finite, as :func:`check_values`."""
    check_finite(value, name)
    check_values(value, value > 0, f"{name} must be positive")


def check_same_shape(shape: Sequence[int | str], **values: Tensor) -> None:
    """Raise unless all values are tensors of real numbers of one shape, on one device."""
    (first, like), *others = values.items()
    check_real(like, first)
    check_shape(like, first, shape)
    for name, value in others:
        check_real(value, name)
        check_shape(value, name, like.shape)
        check_device(value, name, like.device, first)


def check_packed(value: Tensor, name: str, like: Tensor) -> None:
    """Raise unless these are samples of packed sets, ``[*, N, D]``, as ``like``, ``[N, D]``, is."""
    check_real(value, name)
    if value.dim() < 2 or value.shape[-2:] != like.shape:
        raise ValueError(
            f"{name} must be [*, N, D] = {['*', *like.shape]} (got {list(value.shape)})"
        )
    check_device(value, name, like.device, "loc")


def check_sample_shape(shape: Any) -> torch.Size:
    """Return the shape in which samples are asked for, a sequence of integers, not negative."""
    try:
        size = torch.Size(shape)
    except TypeError as error:
        raise TypeError(
            f"sample_shape must be a tuple of integers (got {_short(shape)})"
        ) from error
    if any(length < 0 for length in size):
        raise ValueError(f"sample_shape must not be negative (got {shape})")
    return size


def check_set_rows(value: Tensor, name: str, batch_size: int, device: torch.device) -> None:
    """Raise a ValueError unless a tensor has one row for each set, on the parts' device."""
    check_device(value, name, device, "the parts")
    if value.shape[0] != batch_size:
        raise ValueError(
            f"{name} must have one row per set (got {value.shape[0]} rows for {batch_size} sets); "
            "give batch_size if the last sets are empty"
        )


def check_given(
    value: Tensor | None, name: str, shape: Sequence[int], device: torch.device
) -> None:
    """Raise unless the value is None or a tensor of floating-point numbers of this shape."""
    if value is not None:
        check_real(value, name)
        check_shape(value, name, shape)
        check_device(value, name, device, "the parts")


def takes_context(network: nn.Module) -> bool:
    """Return whether a network takes a context: an argument of its ``forward`` has this name.

    A network that hands on what it is called with says so itself, as an attribute of this name.

    Example:
        >>> takes_context(nn.Linear(2, 3))
        False
    """
    known = getattr(network, "takes_context", None)
    if known is None:
        return "context" in inspect.signature(network.forward).parameters
    return bool(known)


def context_for(network: nn.Module, context: Any) -> dict[str, Any]:
    """Return what of a context a network is called with: all, or nothing if it takes none."""
    return {} if context is None or not takes_context(network) else {"context": context}


def check_reads(model: Any, *networks: nn.Module) -> None:
    """Raise a ValueError unless one of a model's networks reads the context that was given."""
    if not any(map(takes_context, networks)):
        raise ValueError(f"context must be left out: no network of {type(model).__name__} takes it")


def check_encoder_input(
    encoder: Any,
    whole: Any,
    parts: Any,
    batch_size: int,
    w_prior: Normal | None,
    z: Tensor | None,
    z_eps: Tensor | None,
    part_eps: Tensor | None,
) -> None:
    """Raise unless these are features of wholes and parts, and what the latents are drawn with."""
    check_features(parts, "parts", ("N", encoder.part_channels), encoder)
    check_features(whole, "whole", ("S", encoder.whole_channels), encoder)
    check_set_rows(whole, "whole", batch_size, parts.device)
    if w_prior is not None:
        check_normal(w_prior, "w_prior", parts.shape[0], encoder.w_channels, parts.device)
    check_given(z, "z", (batch_size, encoder.z_channels), parts.device)
    check_given(z_eps, "z_eps", (batch_size, encoder.z_channels), parts.device)
    check_given(part_eps, "part_eps", parts.shape, parts.device)


def check_wholes(whole: Any, parts: Any, event_shape: Sequence[int]) -> None:
    """Raise unless these are finite wholes, ``[S, *event]``, one for each set of packed parts."""
    check_real(whole, "whole")
    check_shape(whole, "whole", ("S", *event_shape))
    check_set_rows(whole, "whole", parts.batch_size, parts.device)
    if whole.shape[0] == 0:
        raise ValueError(f"whole must hold at least one whole (got {list(whole.shape)})")
    check_finite(whole, "whole")
    if parts.count is not None:
        check_values(parts.count, parts.count > 0, "count must be positive in what is observed")


def call_network(network: nn.Module, name: str, context: Any = None, **inputs: Any) -> Any:
    """Call a network with these inputs; an error in it is raised as one that names the network.

    It is given the ``context`` if it takes one. What this package raises names its culprit already.

    Raises:
        ValueError: If torch or Python raised an error, with the shapes of the inputs.

    Example:
        >>> call_network(nn.Linear(3, 2), "decoder", w_sum=torch.zeros(1, 4))
        Traceback (most recent call last):
            ...
        ValueError: decoder must take w_sum [1, 4] (got ... cannot be multiplied (1x4 and 3x2))
    """
    given = context_for(network, context)
    if torch.compiler.is_compiling():
        return network(*inputs.values(), **given)
    try:
        return network(*inputs.values(), **given)
    except Exception as error:
        if str(error).startswith("net must "):  # of a NormalNetwork
            raise type(error)(f"{name}'s {error}") from error
        # Subclasses, such as the one of a full memory, mean other things.
        common = (RuntimeError, TypeError, IndexError, KeyError, AttributeError)
        if type(error) not in common or _is_own(error) or "memory" in str(error):
            raise
        shown = ", ".join(f"{label} {_sizes(v)}" for label, v in {**inputs, **given}.items())
        line = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} must take {shown} (got {type(error).__name__}: {line})"
        ) from error


def check_features_of(
    features: Any, encoder: nn.Module, batch_size: int, num_parts: int
) -> tuple[Tensor, Tensor]:
    """Return what an embedding did: features of wholes and of parts, as an encoder takes them."""
    if not isinstance(features, tuple) or [isinstance(f, Tensor) for f in features] != [True] * 2:
        got = type(features).__name__
        raise TypeError(f"embedding must return features of wholes and of parts (got {got})")
    for value, name, rows in zip(features, ("whole", "part"), (batch_size, num_parts), strict=True):
        label = f"embedding's features of the {name if name == 'whole' else 'parts'}"
        check_shape(value, label, (rows, getattr(encoder, f"{name}_channels", "C")))
    return features


def check_has_wholes(data: Any) -> None:
    """Raise unless these are PyG graphs with wholes."""
    if not isinstance(data, Data):
        raise TypeError(f"batch must be a PyG Batch, of Data (got {type(data).__name__})")
    if not isinstance(data.get("whole"), Tensor):
        raise ValueError(f"whole must be an attribute of Data (got {sorted(data.keys())})")


def check_sample(
    data: Any, name: str, fields: Sequence[str], event_shape: Sequence[int], batch_size: int
) -> None:
    """Raise unless a problem's ``sample`` returns a PyG batch of its wholes and their parts."""
    if not isinstance(data, Batch):
        raise TypeError(f"sample of {name} must return a PyG Batch (got {type(data).__name__})")
    missing = sorted({"whole", "batch", *fields} - set(data.keys()))
    if missing:
        text = f"sample of {name} must return a Batch with {', '.join(missing)}"
        raise ValueError(f"{text} (got {sorted(data.keys())})")
    check_type(data.whole, f"whole of {name}'s sample", Tensor)
    check_shape(data.whole, f"whole of {name}'s sample", (batch_size, *event_shape))


def check_fields_of(fields: Mapping[str, Tensor], data: Any) -> None:
    """Raise unless a PyG graph has fields of parts."""
    if not fields:
        raise ValueError(
            "parts must be node-level attributes of Data: num_nodes, the number of parts, must be "
            f"given (got {sorted(data.keys())})"
        )


def check_likelihood(likelihood: Any, batch_size: int) -> Distribution:
    """Return what a decoder did: a distribution of one batch dimension, that of the wholes."""
    check_type(likelihood, "decoder's result", Distribution)
    if likelihood.batch_shape != (batch_size,):
        raise ValueError(
            f"decoder must return a distribution of batch shape {[batch_size]} (got "
            f"{list(likelihood.batch_shape)}, event shape {list(likelihood.event_shape)}): "
            "see event_dims of NormalNetwork"
        )
    return likelihood


def check_counts_matrix(counts: Any, num_kinds: int, device: torch.device) -> None:
    """Raise unless these are counts of kinds, ``[S, num_kinds]``, finite and not negative."""
    check_type(counts, "counts", Tensor)
    if counts.dtype == torch.bool or counts.is_complex():
        raise TypeError(f"counts must hold integers or real numbers (got {counts.dtype})")
    check_shape(counts, "counts", ("S", num_kinds))
    check_device(counts, "counts", device, "the parts")
    check_values(counts, torch.isfinite(counts), "counts must be finite")
    check_values(counts, counts >= 0, "counts must not be negative")


def check_event(likelihood: Distribution, event_shape: Sequence[int]) -> None:
    """Raise a ValueError unless a decoder's distribution is over wholes of this shape."""
    if tuple(likelihood.event_shape) != tuple(event_shape):
        raise ValueError(
            f"decoder must return a distribution of event shape {list(event_shape)} (got "
            f"{list(likelihood.event_shape)})"
        )


def check_index(
    index: Tensor | Sequence[int] | int, count: int, device: torch.device, name: str = "index"
) -> Tensor:
    """Return a choice among ``count`` things, a mask or numbers, as a vector of their numbers."""
    if isinstance(index, Tensor) and index.is_meta and device.type != "meta":
        raise ValueError(f"{name} must be on the device of the parts (got meta)")
    if not isinstance(index, Tensor):
        try:
            given = torch.as_tensor(index)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{name} must hold integers or be a Boolean mask (got {type(index).__name__})"
            ) from error
        index = given if given.numel() else given.long()  # an empty list is one of integers
    index = index.to(device)
    if index.dtype == torch.bool:
        check_shape(index, name, (count,))
        return index.nonzero().squeeze(1)
    if index.dtype not in (torch.long, torch.int):
        raise TypeError(f"{name} must hold integers or be a Boolean mask (got {index.dtype})")
    if index.dim() > 1:
        raise ValueError(f"{name} must be a number or a vector (got {list(index.shape)})")
    index = index.long().view(-1)
    outside = (index < 0) | (index >= count)
    if bool(outside.any()):
        raise ValueError(f"{name} must lie in [0, {count}) (got {int(index[outside][0])})")
    return index


def check_model(model: Any) -> None:
    """Raise a TypeError unless the value is a CompVAE, or a module with a method of one."""
    does = any(hasattr(model, name) for name in ("elbo", "generate", "log_likelihood"))
    if not isinstance(model, nn.Module) or not does:
        raise TypeError(f"model must be a CompVAE (got {type(model).__name__})")


def check_evaluation(model: Any, problem: Any, kind: type, *, seed: int, **counts: int) -> None:
    """Raise unless these are a model, a problem of a kind, a seed, and positive integers."""
    check_model(model)
    check_type(problem, "problem", kind)
    check_count(seed, "seed", at_least=0)
    for name, count in counts.items():
        check_count(count, name)


def check_like(value: Any, name: str, default: Any) -> None:
    """Raise unless the value is of the type of a default: an integer at least 1, if not 0 is.

    Other numbers must be positive; all else is left to others.
    """
    match default:
        case bool():
            check_type(value, name, bool)
        case int():
            check_count(value, name, min(default, 1))
        case float():
            check_number(value, name, positive=True)


def check_options(builder: Callable[..., Built]) -> Callable[..., Built]:
    """Let a function that builds networks check its options by the types of their defaults.

    Integers must be at least 1 and other numbers positive; strings are left to the layers.
    """
    defaults = {name: p.default for name, p in inspect.signature(builder).parameters.items()}

    @functools.wraps(builder)
    def build(**options: Any) -> Built:
        for name, value in options.items():
            check_like(value, name, defaults.get(name))
        return builder(**options)

    return build


def check_categories(
    parts: Tensor | Mapping[str, Tensor], num_categories: int, name: str = "category"
) -> Tensor:
    """Return the category of each part, ``[N]``, from the field that holds them."""
    (category,) = _fields(parts, name)
    if category.dtype != torch.long:
        raise TypeError(f"{name} must hold 64-bit integers (got {category.dtype})")
    check_shape(category, name, ("N",))
    if category.device.type == "cpu" and not torch.compiler.is_compiling():
        outside = (category < 0) | (category >= num_categories)
        if bool(outside.any()):
            at = int(outside.nonzero()[0])
            raise ValueError(
                f"{name} must lie in [0, {num_categories}) (got {int(category[at])} at part {at})"
            )
    return category


def check_places(
    parts: Tensor | Mapping[str, Tensor], num_categories: int, name: str = "category"
) -> tuple[Tensor, Tensor]:
    """Return category ``[N]`` and position, the field ``pos``, ``[N, 2]``, of parts."""
    _, pos = _fields(parts, name, "pos")
    category = check_categories(parts, num_categories, name)
    check_continuous(parts, 2, "pos")
    check_shape(pos, "pos", (category.shape[0], 2))
    check_device(pos, "pos", category.device, name)
    return category, pos


def check_continuous(parts: Tensor | Mapping[str, Tensor], channels: int, name: str) -> Tensor:
    """Return the real numbers of each part, ``[N, channels]``, from the field that holds them.

    One number for each part may also be ``[N]``.
    """
    (value,) = _fields(parts, name)
    check_real(value, name)
    if channels == 1 and value.dim() == 1:
        value = value.unsqueeze(1)
    check_shape(value, name, ("N", channels))
    check_finite(value, name)
    return value


def check_feature(value: Tensor, name: str, category: Tensor) -> None:
    """Raise unless the value is one real number for each part, beside its category."""
    check_real(value, name)
    check_shape(value, name, category.shape)
    check_device(value, name, category.device, "the categories")


def check_batch(
    num_parts: int,
    batch: Tensor | None,
    batch_size: int | None,
    device: torch.device | None = None,
) -> tuple[Tensor, int]:
    """Return ``batch`` and ``batch_size``, checked and completed.

    Values are checked wherever that costs no device synchronisation: always on the CPU, and on
    other devices when ``batch_size`` is not given (finding it needs a synchronisation anyway).
    Under ``torch.compile``, ``batch_size`` is taken on trust.
    """
    if batch_size is not None:
        check_count(batch_size, "batch_size", at_least=0)
    if batch is None:
        if batch_size is None:
            batch_size = 1
        elif batch_size != 1 and num_parts > 0:
            raise ValueError(
                f"batch must tell {batch_size} sets apart (got batch=None, "
                f"batch_size={batch_size}, {num_parts} parts)"
            )
        return torch.zeros(num_parts, dtype=torch.long, device=device), batch_size
    check_type(batch, "batch", Tensor)
    if batch.dtype != torch.long:
        raise TypeError(f"batch must hold 64-bit integers (got {batch.dtype})")
    check_shape(batch, "batch", (num_parts,))
    if device is not None:
        check_device(batch, "batch", device, "the parts")
    if torch.compiler.is_compiling():
        if batch_size is None:
            raise ValueError("batch_size must be given under torch.compile (got None)")
        return batch, batch_size
    if batch_size is not None and batch.device.type != "cpu":
        return batch, batch_size
    if num_parts == 0:
        return batch, 0 if batch_size is None else batch_size
    step = batch[1:] - batch[:-1]
    if bool((step < 0).any()):
        at = int((step < 0).nonzero()[0]) + 1
        raise ValueError(
            f"batch must be sorted (got set {int(batch[at])} after set {int(batch[at - 1])} "
            f"at part {at})"
        )
    first, last = int(batch[0]), int(batch[-1])
    if first < 0:
        raise ValueError(f"batch must not be negative (got set {first} at part 0)")
    if batch_size is None:
        if first > 0 or bool((step > 1).any()):
            missing = 0 if first > 0 else int(batch[int((step > 1).nonzero()[0])]) + 1
            raise ValueError(
                f"batch must not skip a set unless batch_size says that empty sets are meant "
                f"(got no part of set {missing})"
            )
        return batch, last + 1
    if last >= batch_size:
        raise ValueError(f"batch must lie in [0, {batch_size}) (got set {last})")
    return batch, batch_size


def check_fields(fields: Tensor | Mapping[str, Tensor]) -> tuple[int, torch.device]:
    """Return the number of rows and their device, of a tensor or of named ones."""
    if isinstance(fields, Tensor):
        fields = {"parts": fields}
    if not isinstance(fields, Mapping) or not fields:
        raise TypeError(
            f"parts must be a tensor or a dict of tensors, not empty (got {type(fields).__name__})"
        )
    first = ""
    for name, value in fields.items():
        check_type(value, name, Tensor)
        if value.dim() == 0:
            raise ValueError(f"{name} must have one row per part (got a scalar)")
        first = first or name
        like = fields[first]
        if value.shape[0] != like.shape[0]:
            raise ValueError(
                f"{name} must have as many rows as {first} (got {value.shape[0]}, "
                f"expected {like.shape[0]})"
            )
        check_device(value, name, like.device, first)
    return like.shape[0], like.device


def check_row_numbers(value: Tensor | None, name: str, batch: Tensor) -> None:
    """Raise unless the value is None or one real number for each part."""
    if value is None:
        return
    check_type(value, name, Tensor)
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"{name} must hold integers or real numbers (got {value.dtype})")
    check_shape(value, name, batch.shape)
    check_device(value, name, batch.device, "the parts")
    check_values(value, torch.isfinite(value), f"{name} must be finite")


def check_parts(
    fields: Tensor | Mapping[str, Tensor],
    batch: Tensor | None,
    batch_size: int | None,
    count: Tensor | None,
    weight: Tensor | None,
    context: Any,
) -> tuple[Tensor, int]:
    """Return ``batch`` and ``batch_size`` of parts, completed, after checks of all they have."""
    num_parts, device = check_fields(fields)
    batch, batch_size = check_batch(num_parts, batch, batch_size, device)
    for name, value in (("count", count), ("weight", weight)):
        check_row_numbers(value, name, batch)
    if count is not None:
        check_values(count, count >= 0, "count must not be negative")
    if context is not None:
        check_context(context, batch_size, device)
    return batch, batch_size


def check_context(context: Any, batch_size: int, device: torch.device) -> None:
    """Raise unless these are finite conditions of sets, a tensor or named ones, a row for each."""
    if not isinstance(context, Mapping):
        context = {"": context}
    if not context:
        raise ValueError("context must have at least one field (got none)")
    for name, value in context.items():
        name = f"context[{name!r}]" if name else "context"
        check_type(value, name, Tensor)
        if value.dim() == 0 or value.shape[0] != batch_size:
            raise ValueError(
                f"{name} must have a row for each of {batch_size} sets (got {list(value.shape)})"
            )
        check_device(value, name, device, "the parts")
        if value.is_floating_point():
            check_finite(value, name)


def check_left_out(parts: Any, **given: Any) -> None:
    """Raise a ValueError if something is given beside parts that have their own."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must be left out beside a {type(parts).__name__} (got both)")


def check_padding(num_parts: Any, num_sets: Any, own_parts: int, own_sets: int) -> None:
    """Raise unless parts can be padded to a number of parts and sets."""
    check_count(num_parts, "num_parts")
    check_count(num_sets, "num_sets")
    if not 0 < own_parts <= num_parts:
        raise ValueError(
            "num_parts must be at least that of the batch, which must not be empty "
            f"(got {num_parts} for {own_parts})"
        )
    if own_sets >= num_sets:
        raise ValueError(f"num_sets must exceed that of the batch (got {num_sets} for {own_sets})")


def check_set_sizes(sizes: Any, name: str) -> None:
    """Raise unless these are sizes of sets: 64-bit integers, ``[S]``, not negative."""
    check_type(sizes, name, Tensor)
    if sizes.is_meta:
        raise ValueError(f"{name} must hold numbers (got a tensor on the meta device)")
    if sizes.dim() != 1 or sizes.dtype != torch.long:
        raise ValueError(
            f"{name} must be a vector of 64-bit integers "
            f"(got {sizes.dtype}, shape {list(sizes.shape)})"
        )
    if sizes.numel() > 0 and int(sizes.min()) < 0:
        raise ValueError(f"{name} must not be negative (got {int(sizes.min())})")


def check_alike(fields: Tensor | Mapping[str, Tensor], like: Tensor | Mapping[str, Tensor]) -> None:
    """Raise unless parts have fields of the same names, types, shapes and device as others."""
    theirs, mine = ({"parts": f} if isinstance(f, Tensor) else f for f in (fields, like))
    if set(mine) != set(theirs):
        raise ValueError(f"parts must have the fields {sorted(mine)} (got {sorted(theirs)})")
    for name, value in theirs.items():
        if value.dtype != mine[name].dtype:
            raise TypeError(f"{name} must hold {mine[name].dtype} (got {value.dtype})")
        check_shape(value, name, ("N", *mine[name].shape[1:]))
        check_device(value, name, mine[name].device, "the parts")


def check_union(other: Any, parts: Any, name: str) -> None:
    """Raise unless packed parts have as many sets, and fields of the same kind, as others."""
    check_type(other, name, type(parts))
    if other.batch_size != parts.batch_size:
        raise ValueError(f"{name} must have {parts.batch_size} sets (got {other.batch_size})")
    check_alike(other.fields, parts.fields)
    theirs, mine = (
        {"": value} if isinstance(value, Tensor) else value or {}
        for value in (other.context, parts.context)
    )
    if theirs and other.context is not parts.context:
        same = theirs.keys() == mine.keys()
        if not same or not all(torch.equal(value, mine[key]) for key, value in theirs.items()):
            raise ValueError(f"{name} must be of wholes of the same context (got another)")


def check_annotations(function: Function) -> Function:
    """Raise a TypeError that names an argument of another type than the function's signature does.

    What is inside of containers is left to the function, and everything while compiling.

    Example:
        >>> @check_annotations
        ... def half(value: Tensor) -> Tensor:
        ...     return value / 2
        >>> half("2")
        Traceback (most recent call last):
            ...
        TypeError: value must be Tensor (got str)
    """
    names = list(inspect.signature(function).parameters)
    known: dict[str, tuple[type, ...]] = {}

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **options)
        if not known:  # not before all that is named has been imported
            known.update(_kinds(function) or {"": ()})
        for name, value in (*zip(names, args, strict=False), *options.items()):
            kinds = known.get(name)
            if kinds:
                check_type(value, name, *kinds)
                if isinstance(value, bool) and bool not in kinds and int in kinds:
                    raise TypeError(f"{name} must be a number (got {value})")
        return function(*args, **options)

    return checked  # type: ignore[return-value]


def check_arguments(**at_least: int) -> Callable[[Function], Function]:
    """Raise unless arguments are what a function's annotations say, see :func:`check_annotations`.

    Integers must be at least 1, or what is given here, and literals be among their choices.

    Example:
        >>> @check_arguments(rest=0)
        ... def build(width: int, rest: int, kind: typing.Literal["a", "b"] = "a") -> int:
        ...     return width + rest
        >>> build(1, rest=0)
        1
        >>> build(0, rest=0)
        Traceback (most recent call last):
            ...
        ValueError: width must be at least 1 (got 0)
    """

    def decorate(function: Function) -> Function:
        names = list(inspect.signature(function).parameters)
        known: dict[str, Any] = {}

        @functools.wraps(function)
        def checked(*args: Any, **options: Any) -> Any:
            if not known:
                known.update(_hints(function) or {"": None})
            for name, value in (*zip(names, args, strict=False), *options.items()):
                hint = known.get(name)
                if hint is int:
                    check_count(value, name, at_least.get(name, 1))
                elif typing.get_origin(hint) is typing.Literal:
                    check_choice(value, name, typing.get_args(hint))
                elif hint is not None and (kinds := _classes(hint)):
                    check_type(value, name, *kinds)
            return function(*args, **options)

        return checked  # type: ignore[return-value]

    return decorate


def check_methods(kind: Class) -> Class:
    """Let the public methods of a class check their arguments, see :func:`check_annotations`."""
    for name, method in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if inspect.isfunction(method):
            setattr(kind, name, check_annotations(method))
        elif isinstance(method, classmethod):
            setattr(kind, name, classmethod(check_annotations(method.__func__)))
    return kind


def _fields(parts: Tensor | Mapping[str, Tensor], *names: str) -> list[Tensor]:
    if isinstance(parts, Tensor) or not set(names) <= set(parts):
        got = "a tensor" if isinstance(parts, Tensor) else sorted(parts)
        expected = " and ".join(map(repr, names))
        raise TypeError(f"parts must be a dict with {expected} (got {got})")
    for name in names:
        check_type(parts[name], name, Tensor)
    return [parts[name] for name in names]


def _kinds(function: Callable[..., Any]) -> dict[str, tuple[type, ...]]:
    """Return the types of each argument that has any which can be checked."""
    each = {name: _classes(hint) for name, hint in _hints(function).items()}
    return {name: kinds for name, kinds in each.items() if kinds}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments, but for those imported for checks of types alone."""
    module, out = inspect.getmodule(function), {}
    for name, hint in inspect.get_annotations(function).items():
        with contextlib.suppress(NameError):
            # Of the signature itself.
            out[name] = eval(hint, vars(module)) if isinstance(hint, str) else hint
    out.pop("return", None)
    return out


def _classes(hint: Any) -> tuple[type, ...]:
    """Return the classes of an annotation, none where it is not one of classes alone."""
    if hint is None:
        return (type(None),)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        each = [_classes(one) for one in typing.get_args(hint)]
        return tuple(dict.fromkeys(sum(each, ()))) if all(each) else ()
    hint = typing.get_origin(hint) or hint
    if hint is Any or not isinstance(hint, type):
        return ()
    if typing.is_typeddict(hint) or getattr(hint, "_is_protocol", False):
        return ()
    return _NUMBERS.get(hint, (hint,))


def can_look(value: Tensor) -> bool:
    """Return whether values can be looked at for free: on the CPU, and not while tracing."""
    if torch.compiler.is_compiling() or value.device.type != "cpu":
        return False
    return torch._C._functorch.peek_interpreter_stack() is None  # as under vmap


def _is_own(error: BaseException) -> bool:
    """Return whether an error was raised in this package, and not in what it calls."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
        __name__.partition(".")[0] + "."
    )


def _sizes(value: Any) -> str:
    """Return the shapes of what a network is given."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    if isinstance(value, Mapping):
        each = (f"{name} {_sizes(field)}" for name, field in value.items())
        return f"{{{', '.join(each)}}}"
    return type(value).__name__


def _short(value: Any) -> str:
    """Return a value in a few words, its type if it has no short ones."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)[:80]
    return type(value).__name__
