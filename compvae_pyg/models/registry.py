"""Networks by the problem they are for, so that saved weights find those they belong to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["build_architecture", "register_architecture"]

_BUILDERS: dict[str, dict[str, Callable[..., CompVAE]]] = {}


def register_architecture(
    problem: str, preset: str
) -> Callable[[Callable[..., CompVAE]], Callable[..., CompVAE]]:
    """Register a function that builds a :class:`CompVAE`, so that its models can be saved.

    The function takes keyword arguments that JSON can hold. What it builds remembers them, and
    :meth:`SharedModel.from_pretrained` calls it with them again; import the module that registers
    it before.

    Args:
        problem: Name of the problem that the networks are for, as ``config.json`` will hold it.
        preset: Name of these among the networks for it.

    Raises:
        TypeError: If a name is not a text.
        ValueError: If another function has the names already.

    Example:
        >>> @register_architecture("my-dots", "tiny")
        ... def build(hidden_channels: int = 64):
        ...     return build_architecture("dots", "small", channels=2)
        >>> config = build(hidden_channels=32).config
        >>> config["problem"], config["preset"], config["options"]
        ('my-dots', 'tiny', {'hidden_channels': 32})
    """
    for name, value in (("problem", problem), ("preset", preset)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a text (got {value!r})")

    def register(builder: Callable[..., CompVAE]) -> Callable[..., CompVAE]:
        presets = _BUILDERS.setdefault(problem, {})
        known = presets.get(preset)
        if known is not None and (known.__module__, known.__qualname__) != (
            builder.__module__,
            builder.__qualname__,
        ):
            raise ValueError(f"a preset {preset!r} of {problem!r} is registered already")

        @functools.wraps(builder)
        def build(**options: Any) -> CompVAE:
            model = builder(**options)
            model.config = {
                "problem": problem,
                "parameters": {},
                "preset": preset,
                "options": options,
            }
            return model

        presets[preset] = build
        return build

    return register


def build_architecture(problem: str, preset: str, **options: Any) -> CompVAE:
    """Build the networks that were registered for a problem under a name, untrained.

    Raises:
        ValueError: If there are none of these names, or they refuse an option.
    """
    presets = _known(_BUILDERS, "problem", problem)
    builder = _known(presets, f"preset of {problem!r}", preset)
    try:
        return builder(**options)
    except TypeError as error:
        raise ValueError(f"preset {preset!r} of {problem!r} cannot be built: {error}") from error


def _known(registered: dict[str, Any], what: str, name: str) -> Any:
    if not isinstance(name, str) or name not in registered:
        names = ", ".join(sorted(registered))
        raise ValueError(f"unknown {what} {name!r} (registered: {names})")
    return registered[name]
