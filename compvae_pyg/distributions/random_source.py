"""Random numbers from an explicit source, where functions draw from the global one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DrawFrom"]

_GIVEN = {"default": "generator", "low": "low_generator"}  # overloads of ``torch.rand`` and others
_LIKE = {"rand_like": "uniform_", "randn_like": "normal_", "randint_like": "random_"}


class DrawFrom(TorchDispatchMode):
    """Within this context, what this thread draws with torch comes from one source.

    Neither the global source nor other threads are touched. What is given a source of its own draws
    from that. Functions that take no source, such as ``torch.native_dropout``, raise a
    ``ValueError``.

    Args:
        sources: The source, on the device where random numbers are drawn; or one for each of so
            many equal pieces of the first dimension of what is drawn, where it has them; or a
            function from a device to its source.

    Example:
        >>> state = torch.get_rng_state()
        >>> with DrawFrom([torch.Generator().manual_seed(0)]):
        ...     drawn = torch.distributions.Gamma(torch.ones(3), 1.0).sample()
        >>> drawn.shape, torch.equal(state, torch.get_rng_state())
        (torch.Size([3]), True)
    """

    def __init__(
        self,
        sources: Sequence[torch.Generator] | Callable[[torch.device], torch.Generator],
    ) -> None:
        super().__init__()
        self.sources = sources

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, with the source given to it if it is a random one."""
        options = dict(kwargs or {})
        seeded = torch.Tag.nondeterministic_seeded in func.tags
        if not seeded or any(isinstance(v, torch.Generator) for v in (*args, *options.values())):
            return func(*args, **options)
        if callable(self.sources):
            return _draw(func, args, options, self.sources(_device(args, options)))
        number = len(self.sources)
        shapes = [v.shape if isinstance(v, Tensor) else v for v in args if not _is_plain(v)]
        if number == 1 or any(shape[0] % number for shape in shapes):
            return _draw(func, args, options, self.sources[0])
        pieces = [_pieces(value, number) for value in args]
        drawn = [
            _draw(func, some, options, source)
            for source, *some in zip(self.sources, *pieces, strict=True)
        ]
        return args[0] if func._schema.is_mutable else torch.cat(drawn)


def _device(args: Sequence[Any], options: Mapping[str, Any]) -> torch.device:
    """Return where an operation puts what it draws."""
    devices = [value.device for value in args if isinstance(value, Tensor)]
    given = options.get("device") or next(iter(devices), None)
    device = torch.get_default_device() if given is None else torch.device(given)
    return device if device.index is not None else torch.empty(0, device=device).device


def _is_plain(value: Any) -> bool:
    """Return whether an argument is neither a tensor of rows nor a shape."""
    if isinstance(value, Tensor):
        return value.dim() == 0
    return not isinstance(value, (list, tuple)) or not value


def _pieces(value: Any, number: int) -> Sequence[Any]:
    """Return the equal pieces of a tensor, or of the shape of one; of all else, copies."""
    if _is_plain(value):
        return [value] * number
    if isinstance(value, Tensor):
        return value.unflatten(0, (number, -1)).unbind()
    return [[value[0] // number, *value[1:]]] * number


def _draw(func: Any, args: Sequence[Any], options: dict[str, Any], source: Any) -> Any:
    """Run a random operation with its numbers from a source."""
    names = [argument.name for argument in func._schema.arguments]
    packet, given = func.overloadpacket, {"generator": source}
    if "generator" in names:
        return func(*args[: names.index("generator")], **{**options, **given})
    if (overload := _GIVEN.get(func._overloadname, "")) in packet.overloads():
        return getattr(packet, overload)(*args, **given, **options)
    if (fill := _LIKE.get(packet.__name__)) is not None:
        like, *bounds = args
        low_high = bounds if len(bounds) == 2 else [0, *bounds] if bounds else []
        out: Tensor = getattr(torch.empty_like(like, **options), fill)(*low_high, **given)
        return out
    raise ValueError(f"generator must be left out: {packet.__name__} draws from none (got one)")
