"""Public entry points with one wrong argument: an error of one line that names it, from here."""

import itertools
import math
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_geometric
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import compvae_pyg
from compvae_pyg import (
    Composition,
    CompVAE,
    CompVAEEncoder,
    Dots,
    GraphBlock,
    NormalNetwork,
    Residual,
    Sines,
    SumControlledNormal,
)
from compvae_pyg.nn import (
    floor_log_variance,
    resolve_batch,
)
from compvae_pyg.problems import (
    Curriculum,
    LearningRate,
    Schedule,
    Stage,
)

PACKAGE = str(Path(compvae_pyg.__file__).parent)
PYG = str(Path(torch_geometric.__file__).parent)
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
    "double precision": lambda t: t.double(),
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


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4 + 2, 2 * 5)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        return self.lin(torch.cat([w_sum, z], dim=-1))


MODELS: dict[str, CompVAE] = {}


def model_of(problem: Any, **options: Any) -> CompVAE:
    if problem.name not in MODELS:
        MODELS[problem.name] = problem.build("small", **options).eval()
    return MODELS[problem.name]


def entries(sizes: list[int]) -> dict[str, Entry]:
    """All entry points, for sets of these sizes."""
    number, total = len(sizes), sum(sizes)
    batch = torch.arange(number).repeat_interleave(torch.tensor(sizes))
    packed = {"batch": batch, "batch_size": number}
    sets = {"batch": BATCH, "batch_size": SIZE}
    rng = torch.Generator().manual_seed(1)
    out: dict[str, Entry] = {}

    # Layers

    out["GraphBlock"] = Entry(
        GraphBlock,
        {"in_channels": 4, "out_channels": 3, "aggr": "sum"},
        {
            "in_channels": count(1),
            "out_channels": count(1),
            "aggr": {"text": always("nonsense"), "a number": always(3)},
        },
    )
    out["Residual"] = Entry(Residual, {"channels": 4}, {"channels": count(1)})
    x = torch.randn(total, 4)
    out["Residual()"] = Entry(
        Residual(4), {"x": x}, {"x": {**matrix(rows=False), "three dimensions": lambda t: t[:, :3]}}
    )
    del out["Residual()"].wrong["x"]["a vector"]
    out["GraphBlock()"] = Entry(
        GraphBlock(4, 3),
        {"x": x, **packed},
        {"x": {**matrix(), **MISSING}, **sets},
        also={"x": ("batch", "part")},
    )
    edges = torch.stack([torch.arange(total), torch.arange(total).flip(0)])
    edge_index: dict[str, Wrong] = {
        **NO_TENSOR,
        **ELSEWHERE,
        "a vector": lambda e: e[0],
        "transposed": lambda e: torch.cat([e, e], dim=1).T,
        "real numbers": lambda e: e.float(),
        "a part too many": at_random(total),
        "a negative part": at_random(-1),
    }
    out["GraphBlock() on edges"] = Entry(
        GraphBlock(4, 3), {"x": x, "edge_index": edges}, {"edge_index": edge_index}
    )
    out["resolve_batch"] = Entry(
        resolve_batch, {"num_parts": total, "device": torch.device("cpu"), **packed}, sets
    )
    out["floor_log_variance"] = Entry(
        floor_log_variance,
        {"log_variance": x, "min_scale": 0.1},
        {
            "log_variance": {**MISSING, "text": always("a"), "integers": lambda t: t.long()},
            "min_scale": {**NO_NUMBER, **MISSING, "zero": always(0.0), "negative": always(-1.0)},
        },
    )
    out["NormalNetwork"] = Entry(
        NormalNetwork,
        {"net": nn.Linear(3, 4), "min_scale": 0.1, "event_dims": 1},
        {
            "net": {**MISSING, "text": always("abc")},
            "min_scale": {**NO_NUMBER, **MISSING, "zero": always(0.0), "negative": always(-1.0)},
            "mean_channels": count(1) | {"None": always("none")},
            "event_dims": count(0),
        },
    )

    # The coupled Gaussian

    law = {"loc": x, "scale": x.exp(), "coupling_logits": x.sin(), **packed, "coupling": "scaled"}
    out["SumControlledNormal"] = Entry(
        SumControlledNormal,
        law,
        {
            "loc": {**matrix(typed=False), **MISSING, "NaN": at_random(math.nan)},
            "scale": {
                **matrix(values=True, typed=False),
                **MISSING,
                "zero": at_random(0.0),
                "negative": at_random(-1.0),
            },
            "coupling_logits": {**matrix(typed=False, values=True), **MISSING},
            **sets,
            "coupling": {**MISSING, "text": always("tight"), "a number": always(1)},
        },
        also={"loc": ("scale", "batch")},
    )
    q = SumControlledNormal(**law)
    out["log_prob"] = Entry(
        q.log_prob, {"value": x}, {"value": _values(matrix(values=True, typed=False))}
    )
    for name in ("transform", "inverse", "log_prob_from_noise"):
        argument = "value" if name == "inverse" else "noise"
        out[name] = Entry(getattr(q, name), {argument: x}, {argument: _values(matrix(typed=False))})
    out["rsample"] = Entry(
        q.rsample,
        {"sample_shape": (2,)},
        {
            "sample_shape": {
                "negative": always((-1,)),
                "text": always("abc"),
                "a fraction": always((2.5,)),
                "a number": always(1.5),
            }
        },
    )
    weight = torch.rand(total)
    out["weighted_sum"] = Entry(
        q.weighted_sum, {"weight": weight}, {"weight": {**WEIGHT, **MISSING}}
    )
    out["kl_divergence"] = Entry(
        lambda prior: kl_divergence(q, prior),
        {"prior": Normal(torch.zeros(total, 4), torch.ones(()))},
        {
            "prior": {
                "a row more": always(Normal(torch.zeros(total + 1, 4), torch.ones(()))),
                "a column less": always(Normal(torch.zeros(total, 3), torch.ones(()))),
                "another device": always(Normal(x.to("meta"), 1.0, validate_args=False)),
            }
        },
    )

    # The encoder

    sizes_of = {
        "whole_channels": 5,
        "part_channels": 4,
        "hidden_channels": 6,
        "w_channels": 3,
        "z_channels": 2,
        "num_blocks": 1,
    }
    out["CompVAEEncoder"] = Entry(
        CompVAEEncoder,
        {**sizes_of, "coupling": "paper"},
        {
            **{name: count(1) for name in sizes_of},
            "coupling": {**MISSING, "text": always("tight"), "a number": always(1)},
            "aggr": {"text": always("nonsense"), "a number": always(3)},
            "z_head": {"text": always("abc"), "a number": always(3)},
        },
    )
    prior = Normal(torch.zeros(total, 3), torch.ones(total, 3))
    out["CompVAEEncoder()"] = Entry(
        CompVAEEncoder(**sizes_of),
        {"whole": torch.randn(number, 5), "parts": x, **packed},
        {
            "whole": {**matrix(), **MISSING},
            "parts": {**matrix(), **MISSING},
            "batch": BATCH,
            "batch_size": SIZE_OF_WHOLES,
            "edge_index": {name: _given(edges, f) for name, f in edge_index.items()},
            "z": {name: _given(torch.randn(number, 2), f) for name, f in matrix().items()},
            "w_prior": {
                "text": always("abc"),
                "a tensor": always(prior.mean),
                "a row more": always(Normal(torch.zeros(total + 1, 3), 1.0)),
                "a column less": always(Normal(torch.zeros(total, 2), 1.0)),
            },
        },
        also={"parts": ("batch",), "batch_size": ("whole", "batch")},
    )

    # Models and compositions

    dots, sines = Dots(), Sines()
    drawn = dots.sample(torch.tensor(sizes), rng)
    model, parts = model_of(dots, channels=2, hidden_channels=8), dots.parts(drawn)
    whole = drawn.whole
    options: dict[str, Any] = {
        "weight": {name: _given(weight, f) for name, f in WEIGHT.items()},
        "generator": GENERATOR,
    }
    seen = {"whole": whole, "parts": parts, **packed}
    wrong_seen = {"whole": IMAGES, "parts": DOTS, "batch": BATCH, "batch_size": SIZE_OF_WHOLES}
    fields = ("batch", "color", "pos", "whole", "parts")
    also_seen = {"parts": fields, "batch_size": fields, "batch": fields, "whole": fields}
    for name, extra in {
        "elbo": {
            "weight": options["weight"],
            "inferred": {"text": always("some"), **MISSING, "a number": always(1)},
        },
        "log_likelihood": {"num_samples": count(1)},
        "infer": {"weight": options["weight"]},
        "reconstruct": {"weight": options["weight"]},
        "attribute": {},
    }.items():
        out[name] = Entry(getattr(model, name), seen, {**wrong_seen, **extra}, also_seen)
    made = {"parts": parts, **packed}
    wrong_made = {"parts": DOTS, **sets, **options}
    for name in ("generate", "compose"):
        out[name] = Entry(getattr(model, name), made, wrong_made, also_seen)
    out["w_sum_prior"] = Entry(
        model.generator.w_sum_prior,
        made,
        {name: wrong for name, wrong in wrong_made.items() if name != "generator"},
        also_seen,
    )
    chords = model_of(sines)
    kinds = {"category": torch.arange(total) % 10}
    amounts = torch.rand(number, total)
    of_amounts = {
        **matrix(typed=False),
        **MISSING,
        "NaN": at_random(math.nan),
        "infinity": at_random(math.inf),
        "negative": at_random(-1.0),
    }
    for name in ("integers", "a row more", "a row less"):
        del of_amounts[name]
    out["generate_amounts"] = Entry(
        chords.generate_amounts,
        {"amounts": amounts, "parts": kinds},
        {"amounts": of_amounts, "parts": SINES, **options},
        {"parts": ("amounts", "category")},
    )
    out["decode"] = Entry(
        chords.generator.decode,
        {"w_sum": torch.randn(number, chords.encoder.w_channels)},
        {"w_sum": OF_UNKNOWN_WIDTH, "generator": GENERATOR},
    )
    chord = chords.compose(kinds, **packed)
    one = {"category": torch.tensor([1])}
    index: dict[str, Wrong] = {
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
    of_one = {
        f"{name}": _given(chord.w[:1], f)
        for name, f in matrix(rows=True).items()
        if name != "a row less"
    }
    out["Composition"] = Entry(
        Composition,
        {
            "generator": chords.generator,
            "parts": kinds,
            **packed,
            "w": chord.w,
            "z_noise": chord.z_noise,
            "weight": None,
        },
        {
            # What a category may be only the networks know.
            "parts": {
                **{k: v for k, v in NO_PARTS.items() if k not in ("other fields", "a tensor")},
                **in_field("category", {**NO_TENSOR, "a scalar": lambda t: t.sum()}),
            },
            **sets,
            "w": {**OF_UNKNOWN_WIDTH, **ROWS},
            "z_noise": {**OF_UNKNOWN_WIDTH, **ROWS},
            "weight": options["weight"],
        },
        {"parts": ("category", "batch", "w")},
    )
    out["add"] = Entry(
        chord.add,
        {"parts": one, "batch": 0},
        {
            "parts": SINES,
            "batch": index,
            "w": of_one,
            "weight": {k: _given(weight[:1], WEIGHT[k]) for k in WEIGHT if k != "a member less"},
            "generator": GENERATOR,
        },
        {"parts": ("category",)},
    )
    out["remove"] = Entry(chord.remove, {"index": 0}, {"index": index})
    out["select"] = Entry(chord.select, {"sets": 0}, {"sets": index})
    out["replace"] = Entry(
        chord.replace,
        {"index": 0, "parts": one},
        {"index": index, "parts": SINES, "w": of_one, "generator": GENERATOR},
        {"parts": ("category",), "index": ("parts",)},
    )
    out["with_latents"] = Entry(
        chord.with_latents,
        {"w": chord.w, "z": chord.z_noise},
        {"w": matrix(), "z": matrix()},
    )
    out["resample_z"] = Entry(chord.resample_z, {}, {"generator": GENERATOR})
    out["sample"] = Entry(chord.sample, {}, {"generator": GENERATOR})
    other = {"text": always("abc"), **MISSING, "a tensor": always(chord.w)}
    out["merge"] = Entry(chord.merge, {"other": chord}, {"other": other})
    out["subtract"] = Entry(chord.subtract, {"other": chord}, {"other": other})

    # Problems and schedules

    numbers = {**NUMBERS, **MISSING, "negative": at_random(-1)}
    for problem in (dots, sines):
        out[f"{problem.name}.sample"] = Entry(
            problem.sample,
            {"num_parts": torch.tensor(sizes)},
            {"num_parts": numbers, "generator": GENERATOR},
        )
        out[f"{problem.name}.build"] = Entry(
            problem.build,
            {"networks": "small"},
            {"networks": {"text": always("huge"), **MISSING, "a number": always(1)}},
        )
        out[f"{problem.name}.schedule"] = Entry(
            problem.schedule,
            {"name": "roads", "num_steps": 100},
            {
                "name": {"text": always("fast"), **MISSING, "a number": always(1)},
                "num_steps": {k: v for k, v in count(1).items() if k != "None"},
            },
        )
    out["Sines"] = Entry(
        Sines,
        {},
        {
            "nonlinearity": {**NO_NUMBER, **MISSING, "zero": always(0.0)},
            "period": {**NO_NUMBER, **MISSING, "zero": always(0.0)},
            "num_categories": count(1),
            "amplitude_mean": {**NO_NUMBER, **MISSING},
            "amplitude_std": {**NO_NUMBER, **MISSING, "negative": always(-0.1)},
            "phase_std": {**NO_NUMBER, **MISSING, "negative": always(-0.1)},
        },
    )
    out["Schedule"] = Entry(
        Schedule,
        {"num_steps": 10, "batch_size": 2},
        {
            "num_steps": count(1),
            "batch_size": count(1),
            "stages": {
                "none": always(()),
                "shares short of 1": always((Stage("a", 0.5),)),
                "text": always("abc"),
                **MISSING,
            },
            "curriculum": {**MISSING, "a number": always(3)},
            "learning_rate": {**MISSING, "a number": always(1e-3)},
            "betas": {
                **MISSING,
                "one": always((0.9,)),
                "a number": always(0.9),
                "too large": always((0.9, 1.0)),
                "negative": always((-0.1, 0.9)),
            },
            "max_grad_norm": {**NO_NUMBER, "zero": always(0.0), "negative": always(-1.0)},
        },
    )
    betas = {
        **MISSING,
        "one": always((1.0,)),
        "a number": always(1.0),
        "zero": always((0.0, 1.0)),
        "text": always(("a", "b")),
        "NaN": always((1.0, math.nan)),
    }
    out["Stage"] = Entry(
        Stage,
        {"name": "a", "share": 1.0},
        {
            "share": {**NO_NUMBER, **MISSING, "zero": always(0.0), "too large": always(1.5)},
            "inferred": {**MISSING, "text": always("some")},
            "loss": {**MISSING, "text": always("absolute")},
            "beta_w": betas,
            "beta_z": betas,
        },
    )
    out["Curriculum"] = Entry(
        Curriculum,
        {"first": 2, "last": 5, "every": 10},
        {
            "first": {**count(1), "above the last": always(6)},
            "last": {**count(1), "below the first": always(1)},
            "every": count(0),
            "per": {**MISSING, "text": always("part")},
        },
    )
    out["LearningRate"] = Entry(
        LearningRate,
        {},
        {
            "initial": {**NO_NUMBER, **MISSING, "zero": always(0.0), "negative": always(-1.0)},
            "final": {**NO_NUMBER, **MISSING, "negative": always(-1.0)},
            "halving": count(1),
            "hold": count(0),
            "warmup": count(0),
        },
    )
    return out


def _given(value: Any, f: Wrong) -> Wrong:
    """Spoil what is not among the arguments: an optional one."""
    return lambda _: f(value)


def _values(wrong: dict[str, Wrong]) -> dict[str, Wrong]:
    """Leave out what is right for samples, which may have more dimensions."""
    return {**{k: v for k, v in wrong.items() if k != "three dimensions"}, **MISSING}


def cases(entry: Entry) -> Iterator[tuple[str, str]]:
    for argument, wrong in entry.wrong.items():
        yield from ((argument, label) for label in wrong)


def fault(entry: Entry, argument: str, label: str) -> str | None:
    """Call with one wrong argument; return what is wrong with what happens."""
    value = entry.wrong[argument][label](entry.arguments.get(argument))
    try:
        result = entry.call(**{**entry.arguments, argument: value})
    except (ValueError, TypeError, IndexError) as error:
        text = str(error)
        innermost = traceback.extract_tb(error.__traceback__)[-1].filename
        # What does not fit may be told of either of the two.
        fitted = {"batch_size": ("batch", "whole"), "name": ("schedule",)}.get(argument, ())
        names = (argument, *fitted, *entry.also.get(argument, ()))
        if "\n" in text:
            return f"an error of several lines: {text!r}"
        if not innermost.startswith((PACKAGE, PYG)):
            return f"an error from {innermost}: {text}"
        if not any(re.search(rf"\b{name}\b", text) for name in names):
            return f"an error that does not name it: {text}"
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"no error, but {type(result).__name__}"


SIZES = [3, 1, 2]
NAMES = sorted(entries(SIZES))


@pytest.mark.parametrize("name", NAMES)
def test_valid_arguments_are_taken(name):
    entry = entries(SIZES)[name]
    entry.call(**entry.arguments)


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_argument_is_named_in_one_line(name):
    entry = entries(SIZES)[name]
    faults = {case: fault(entry, *case) for case in cases(entry)}
    assert not {case: text for case, text in faults.items() if text}


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(lambda s: sum(s) >= 3),
    choice=st.sampled_from([(n, *case) for n, e in entries(SIZES).items() for case in cases(e)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_wrong_arguments_are_named_in_one_line_whatever_the_sizes(sizes, choice, seed):
    torch.manual_seed(seed)
    name, argument, label = choice
    assert fault(entries(sizes)[name], argument, label) is None


def test_the_cases_are_many():
    assert sum(1 for _ in itertools.chain(*map(cases, entries(SIZES).values()))) > 900
