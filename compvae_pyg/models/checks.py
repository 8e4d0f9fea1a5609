"""Checks of types: what is another thing is refused in a line that names it."""

from types import NoneType
from typing import Any

from torch import nn

__all__ = ["check_model", "check_type"]


def check_type(value: Any, name: str, *kinds: type) -> None:
    """Refuse what is of none of these types.

    Raises:
        TypeError: If it is of another.

    Example:
        >>> check_type(3, "revision", str, NoneType)
        Traceback (most recent call last):
        ...
        TypeError: revision must be str or None (got int)
    """
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be {names} (got {type(value).__name__})")


def check_model(model: Any) -> None:
    """Refuse what is no :class:`~compvae_pyg.models.CompVAE`, and no module that does as one.

    Raises:
        TypeError: If it is something else.
    """
    does = any(hasattr(model, name) for name in ("elbo", "generate", "log_likelihood"))
    if not isinstance(model, nn.Module) or not does:
        raise TypeError(f"model must be a CompVAE (got {type(model).__name__})")
