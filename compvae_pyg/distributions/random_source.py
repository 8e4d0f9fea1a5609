"""Random numbers from an explicit source, where functions draw from the global one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DrawFrom"]

_GIVEN = {"default": "generator", "low": "low_generator"}  # overloads of ``torch.rand`` and others
_LIKE = {"rand_like": "uniform_", "randn_like": "normal_", "randint_like": "random_"}


class DrawFrom(TorchDispatchMode):
    """Within this context, what this thread draws with torch comes from one source.

    Neither the global source nor other threads are touched. Functions that take no source, such as
    ``torch.native_dropout``, raise a ``ValueError``.

    Args:
        generator: The source, on the device where random numbers are drawn.

    Example:
        >>> state = torch.get_rng_state()
        >>> with DrawFrom(torch.Generator().manual_seed(0)):
        ...     drawn = torch.distributions.Gamma(torch.ones(3), 1.0).sample()
        >>> drawn.shape, torch.equal(state, torch.get_rng_state())
        (torch.Size([3]), True)
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, with the source given to it if it is a random one."""
        options = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **options)
        names = [argument.name for argument in func._schema.arguments]
        packet, given = func.overloadpacket, {"generator": self.generator}
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
