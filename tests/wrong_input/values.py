"""Valid arguments, and what makes them wrong."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Wrong = Callable[[Any], Any]
"""From a valid argument to a wrong one."""


@dataclass
class Entry:
    """A public function, valid arguments of it, and what is wrong for each of them."""

    call: Callable[..., Any]
    arguments: dict[str, Any]
    wrong: dict[str, dict[str, Wrong]]
    # Wrong arguments that show only beside another one, which may then be named instead.
    also: dict[str, tuple[str, ...]] = field(default_factory=dict)


def always(value: Any) -> Wrong:
    return lambda _: value


NO_TENSOR: dict[str, Wrong] = {
    "text": always("abc"),
    "a number": always(1.5),
    "a list": lambda t: t.tolist(),
    "an array": lambda t: t.numpy(),
}
ELSEWHERE: dict[str, Wrong] = {"another device": lambda t: t.to("meta")}
MISSING: dict[str, Wrong] = {"None": always(None)}
NO_INTEGER: dict[str, Wrong] = {
    "a fraction": always(2.5),
    "text": always("3"),
    "a truth value": always(True),
    "a list": always([2]),
}
NO_NUMBER: dict[str, Wrong] = {
    "text": always("0.5"),
    "NaN": always(math.nan),
    "a list": always([0.5]),
}


def at_random(value: float) -> Wrong:
    """Put a value somewhere."""

    def spoil(tensor: Tensor) -> Tensor:
        out = tensor.clone()
        out.view(-1)[int(torch.randint(out.numel(), ()))] = value
        return out

    return spoil


ROWS: dict[str, Wrong] = {
    "a row more": lambda t: torch.cat([t, t[:1]]),
    "a row less": lambda t: t[1:],
}


def matrix(*, rows: bool = True, values: bool = False, typed: bool = True) -> dict[str, Wrong]:
    """Wrong matrices of real numbers, ``[N, C]``."""
    wrong = {
        **NO_TENSOR,
        **ELSEWHERE,
        "a vector": lambda t: t[:, 0],
        "a scalar": lambda t: t.sum(),
        "three dimensions": lambda t: t.unsqueeze(0),
        "a column more": lambda t: torch.cat([t, t[:, :1]], dim=1),
        "a column less": lambda t: t[:, 1:],
        "integers": lambda t: t.long(),
        "truth values": lambda t: t > 0,
        "complex numbers": lambda t: t.to(torch.complex64),
    }
    if typed:
        wrong["double precision"] = lambda t: t.double()
        wrong["half precision"] = lambda t: t.half()
    if rows:
        wrong.update(ROWS)
    if values:
        wrong["NaN"] = at_random(math.nan)
        wrong["infinity"] = at_random(math.inf)
    return wrong


BATCH: dict[str, Wrong] = {
    **NO_TENSOR,
    **ELSEWHERE,
    "unsorted": lambda b: b.flip(0),
    "a negative set": lambda b: b - 1,
    "a set too many": lambda b: b + 1,
    "a member more": lambda b: torch.cat([b, b[-1:]]),
    "a member less": lambda b: b[1:],
    "two dimensions": lambda b: b.unsqueeze(1),
    "32 bits": lambda b: b.int(),
    "real numbers": lambda b: b.float(),
    "truth values": lambda b: b > 0,
}
SIZE: dict[str, Wrong] = {**NO_INTEGER, "negative": always(-1), "too few": lambda s: s - 1}
SIZE_OF_WHOLES: dict[str, Wrong] = {**SIZE, "too many": lambda s: s + 1}
WEIGHT: dict[str, Wrong] = {
    **NO_TENSOR,
    **ELSEWHERE,
    "a matrix": lambda a: a.unsqueeze(1),
    "a member more": lambda a: torch.cat([a, a[:1]]),
    "a member less": lambda a: a[1:],
    "truth values": lambda a: a > 0,
    "complex numbers": lambda a: a.to(torch.complex64),
    "NaN": at_random(math.nan),
    "infinity": at_random(math.inf),
}
COUNT: dict[str, Wrong] = {**WEIGHT, "negative": at_random(-1.0)}
INDEX: dict[str, Wrong] = {
    **MISSING,
    "text": always("abc"),
    "a fraction": always(0.5),
    "fractions": always([0.5, 1.5]),
    "real numbers": always(torch.zeros(1)),
    "a negative number": always(-1),
    "too large": always(10_000),
    "one too large": always([0, 10_000]),
    "a matrix": always(torch.zeros(1, 1, dtype=torch.long)),
    "a mask of another length": always(torch.ones(10_001, dtype=torch.bool)),
}
GENERATOR: dict[str, Wrong] = {"a seed": always(7), "text": always("abc")}


def count(low: int) -> dict[str, Wrong]:
    return {**NO_INTEGER, **MISSING, "too small": always(low - 1), "negative": always(-3)}


def in_field(name: str, wrong: dict[str, Wrong]) -> dict[str, Wrong]:
    return {f"{name}: {label}": _in_field(name, f) for label, f in wrong.items()}


def _in_field(name: str, f: Wrong) -> Wrong:
    return lambda parts: {**parts, name: f(parts[name])}


NO_PARTS: dict[str, Wrong] = {
    **MISSING,
    "text": always("abc"),
    "a number": always(3),
    "nothing": always({}),
    "a list of fields": lambda parts: list(parts.values()),
    "other fields": lambda parts: {f"not_{name}": value for name, value in parts.items()},
    "a tensor": lambda parts: next(iter(parts.values())),
}
NUMBERS: dict[str, Wrong] = {
    **NO_TENSOR,
    "a matrix": lambda t: t.unsqueeze(1),
    "a scalar": lambda t: t.sum(),
    "32 bits": lambda t: t.int(),
    "real numbers": lambda t: t.float(),
}
CATEGORY: dict[str, Wrong] = {**NUMBERS, "negative": at_random(-1), "too large": at_random(10)}
DOTS: dict[str, Wrong] = {
    **NO_PARTS,
    **in_field("color", {**CATEGORY, **ELSEWHERE}),
    **in_field("pos", matrix(values=True, typed=False)),
}
SINES: dict[str, Wrong] = {**NO_PARTS, **in_field("category", CATEGORY)}
IMAGES: dict[str, Wrong] = {
    **NO_TENSOR,
    **ELSEWHERE,
    **MISSING,
    "a scalar": lambda t: t.sum(),
    "one image": lambda t: t[0],
    "grey": lambda t: t[:, :1],
    "cropped": lambda t: t[..., 1:],
    "channels last": lambda t: t.movedim(1, -1),
    "bytes": lambda t: (255 * t).byte(),
    "an image more": lambda t: torch.cat([t, t[:1]]),
    "an image less": lambda t: t[1:],
    "none": lambda t: t[:0],
    "NaN": at_random(math.nan),
    "infinity": at_random(-math.inf),
}


# How wide the latents are only the networks know.
OF_UNKNOWN_WIDTH = {
    **{k: v for k, v in matrix(rows=False, typed=False).items() if "column" not in k},
    **MISSING,
}
del OF_UNKNOWN_WIDTH["another device"]


def given(value: Any, f: Wrong) -> Wrong:
    """Spoil what is not among the arguments: an optional one."""
    return lambda _: f(value)


def samples(wrong: dict[str, Wrong]) -> dict[str, Wrong]:
    """Leave out what is right for samples, which may have more dimensions."""
    return {**{k: v for k, v in wrong.items() if k != "three dimensions"}, **MISSING}


def cases(entry: Entry) -> Iterator[tuple[str, str]]:
    for argument, wrong in entry.wrong.items():
        yield from ((argument, label) for label in wrong)
