"""Networks by name, so that saved weights find the networks they belong to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["build_architecture", "register_architecture"]

_BUILDERS: dict[str, Callable[..., CompVAE]] = {}


def register_architecture(
    name: str,
) -> Callable[[Callable[..., CompVAE]], Callable[..., CompVAE]]:
    """Register a function that builds a :class:`CompVAE`, so that its models can be saved.

    The function takes keyword arguments that JSON can hold. What it builds remembers them, and
    :meth:`CompVAE.from_pretrained` calls it with them again; import the module that registers it
    before.

    Args:
        name: Name that ``config.json`` will hold.

    Raises:
        ValueError: If another function has the name already.

    Example:
        >>> @register_architecture("my-dots")
        ... def build(hidden_channels: int = 64):
        ...     return build_architecture("dots-small")
        >>> build(hidden_channels=32).config
        {'architecture': 'my-dots', 'options': {'hidden_channels': 32}}
    """

    def register(builder: Callable[..., CompVAE]) -> Callable[..., CompVAE]:
        known = _BUILDERS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (
            builder.__module__,
            builder.__qualname__,
        ):
            raise ValueError(f"an architecture named {name!r} is registered already")

        @functools.wraps(builder)
        def build(**options: Any) -> CompVAE:
            model = builder(**options)
            model.config = {"architecture": name, "options": options}
            return model

        _BUILDERS[name] = build
        return build

    return register


def build_architecture(name: str, **options: Any) -> CompVAE:
    """Build the networks that were registered under ``name``, untrained.

    Raises:
        ValueError: If no function was registered under ``name``, or it refuses an option.
    """
    if name not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS)) or "none"
        raise ValueError(f"unknown architecture {name!r} (registered: {known})")
    try:
        return _BUILDERS[name](**options)
    except TypeError as error:
        raise ValueError(f"architecture {name!r} cannot be built: {error}") from error
