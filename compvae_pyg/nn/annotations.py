"""Arguments of public functions, checked by the types that their signatures name."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from compvae_pyg.nn.checks import check_type

__all__ = ["check_annotations", "check_methods"]

Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)

_NUMBERS: dict[Any, tuple[type, ...]] = {
    int: (int, np.integer, torch.SymInt),
    float: (float, int, np.floating, np.integer, torch.SymInt, torch.SymFloat),
    collections.abc.Sequence: (collections.abc.Sequence, Tensor),
}


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


def _kinds(function: Callable[..., Any]) -> dict[str, tuple[type, ...]]:
    """Return the types of each argument that has any which can be checked."""
    module = inspect.getmodule(function)
    out = {}
    for name, hint in inspect.get_annotations(function).items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, vars(module))  # of the signature itself
            except NameError:  # imported for checks of types alone
                continue
        found = _classes(hint)
        if name != "return" and found:
            out[name] = found
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
