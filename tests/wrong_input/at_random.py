"""Wrong calls drawn at random from the public names, and what becomes of them."""

import contextlib
import importlib
import inspect
import io
import math
import os
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from torch.distributions import Normal

import compvae_pyg
from compvae_pyg import Dots, PackedParts, SumControlledNormal
from compvae_pyg.distributions import LogVarianceNormal
from compvae_pyg.evaluation import Estimate
from compvae_pyg.nn import GraphBlock, Residual, ZeroLinear
from compvae_pyg.simulation import WholeFromNoise, subset_simulation

PACKAGE = str(Path(compvae_pyg.__file__).parent)
MODULES = ("", ".nn", ".distributions", ".models", ".simulation", ".evaluation", ".problems")
MODULES += (".problems.base", ".data")
# They train, open files of another's choice, or are called by wrappers alone.
LEFT_OUT = {"push_to_hub", "register_architecture", "reset_parameters", "extra_repr", "add_demo"}
LEFT_OUT |= {"collect", "propagate", "message", "expand"}  # PyG's and torch's own
CLEAR = (ValueError, TypeError, IndexError, FileNotFoundError, RuntimeError, NotImplementedError)


def valid() -> dict[str, Any]:
    """Valid arguments by their names, and instances by the names of their classes."""
    dots, rng = Dots(), torch.Generator().manual_seed(0)
    data = dots.sample(torch.tensor([2, 1, 3]), rng)
    parts, batch = dots.parts(data), data.batch
    model = dots.build("small", hidden_channels=8).eval()
    images = model.compose(parts, batch, 3)
    x, wide = torch.randn(6, 4, generator=rng), torch.randn(3, 64, generator=rng)
    encoder, sets = model.encoder, {"batch": batch, "batch_size": 3}
    features = {
        "whole": wide,
        "parts": torch.randn(6, 64, generator=rng),
        **sets,
        "edge_index": None,
    }
    event = subset_simulation(lambda n: n[:, 0], 2, level=0.0, num_samples=20, progress=False)
    from_noise = WholeFromNoise(model, {k: v[:2] for k, v in parts.items()})
    by_name = {
        **sets,
        "whole": data.whole,
        "parts": parts,
        "model": model,
        "problem": dots,
        "generator": rng,
        "num_parts": torch.tensor([2, 1, 3]),
        "fields": parts,
        "loc": x,
        "scale": x.exp(),
        "log_variance": x,
        "coupling_logits": x,
        "values": torch.rand(6, generator=rng),
        "reference": torch.rand(6, generator=rng) + 1.0,
        "squares": torch.rand(6, generator=rng),
        "correction": torch.rand(3, generator=rng),
        "x": x,
        "index": 0,
        "sets": [0],
        "other": images,
        "num_samples": 20,
        "chunk_size": 4,
        "min_scale": 0.1,
        "in_channels": 4,
        "out_channels": 5,
        "channels": 4,
        "net": nn.Linear(4, 4),
        "counts": torch.ones(3, 6),
        "w_sum": images.w_sum.detach(),
        "z": images.z.detach(),
        "score": lambda wholes: wholes.flatten(1).sum(dim=1),
        "num_channels": 3,
        "level": 0.1,
        "seed": 0,
        "confidence": 0.9,
        "repo_id": "me/dots",
        "preset": "small",
        "networks": "small",
        "encoder": encoder,
        "embedding": model.embedding,
        "w_prior": model.generator.w_prior,
        "z_prior": model.generator.z_prior,
        "decoder": model.generator.decoder,
        "event_shape": (3, 32, 32),
        "z_eps": images.z_eps,
        "w": images.w.detach(),
        "save_directory": "saved",
        "pretrained_model_name_or_path": "dots-small",
        "whole_channels": 4,
        "part_channels": 4,
        "hidden_channels": 4,
        "in_features": 4,
        "out_features": 4,
        "w_channels": 4,
        "z_channels": 4,
        "mean": 1.0,
        "standard_error": 0.1,
        "factor": 2.0,
        "noise": torch.randn(2, from_noise.num_channels, generator=rng),
        "data": data,
        "value": x,
        "eps": x,
        "logits": x,
        "num_wholes": 2,
    }
    special = {
        "CompVAEEncoder.forward": features,
        "PackedParts.sum": {"values": x},
        "PackedParts.weighted": {"values": x},
        "PackedParts.weighted_sum": {"values": x},
        "PackedParts.broadcast": {"values": wide},
        "PackedParts.cat": {"other": PackedParts(parts, **sets)},
        "PackedParts.pad": {"num_parts": 9},
        "PackedParts.map": {"function": lambda t: t},
        "PackedParts.with_fields": {"fields": parts},
        "PackedParts.take": {"index": torch.tensor([0, 1])},
        "Composition.add": {"parts": {k: v[:1] for k, v in parts.items()}, "batch": 0},
        "Composition.replace": {"parts": {k: v[:1] for k, v in parts.items()}},
        "Composition": {"parts": images.parts, "generator": model.generator},
        "CompVAE": {"generator": model.generator},
        "model_card": {"model": model},
        "WholeFromNoise": {"parts": {k: v[:2] for k, v in parts.items()}},
        "rare_wholes": {"parts": {k: v[:2] for k, v in parts.items()}, "progress": False},
        "subset_simulation": {"score": lambda n: n[:, 0], "progress": False},
        "build_architecture": {"problem": "dots"},
        "packed_batch": {"num_parts": torch.tensor([2, 1, 3])},
        "WholeFromNoise.draw_parts": {"w_sum": images.w_sum.detach()},
        "SumControlledNormal.weighted_sum": {"weight": torch.ones(6)},
        "CompVAE.generate_counts": {"parts": parts},
        "rank_parts": {"whole": data.whole[:1], "num_samples": 2},
    }
    instances = [
        *(model, images, images.parts, encoder, model.generator, event, from_noise, dots),
        *(GraphBlock(4, 4), Residual(4), ZeroLinear(4, 4), Estimate(1.0, 0.1)),
        SumControlledNormal(x, x.exp(), x, batch, 3),
        *(LogVarianceNormal(x, x), compvae_pyg.Sines()),
    ]
    return {"by_name": by_name, "special": special, "instances": instances}


def public(instances: list[Any]) -> dict[str, Callable[..., Any]]:
    """Public functions, classes and methods of the package by their names, as they are found."""
    out: dict[str, Callable[..., Any]] = {}
    for module in MODULES:
        where = importlib.import_module(f"compvae_pyg{module}")
        for name in getattr(where, "__all__", ()):
            value = getattr(where, name)
            if not callable(value) or not getattr(value, "__module__", "").startswith(
                "compvae_pyg"
            ):
                continue
            if name in LEFT_OUT or inspect.isabstract(value) or is_record(value):
                continue
            if name.startswith("evaluate"):  # minutes, with one wrong argument that is an option
                continue
            out[name] = value
    for instance in instances:
        kind = type(instance)
        for name, method in inspect.getmembers(kind, callable):
            ours = getattr(inspect.unwrap(method), "__module__", "") or ""
            if name.startswith("_") or name in LEFT_OUT or not ours.startswith("compvae_pyg"):
                continue
            out[f"{kind.__name__}.{name}"] = getattr(instance, name)
    for name in ("of", "ratio", "root_mean", "corrected"):
        out[f"Estimate.{name}"] = getattr(Estimate, name)
    return {name: call for name, call in sorted(out.items()) if parameters(call)}


def is_record(value: Any) -> bool:
    """Return whether this is a class of results, which holds what the package puts into it."""
    if not isinstance(value, type):
        return False
    return issubclass(value, tuple) or (is_dataclass(value) and not hasattr(value, "__post_init__"))


def parameters(call: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of a call that can be given by name or place."""
    try:
        found = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in found.items() if p.kind not in kinds}


def wrong_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Values of wrong kinds, some of which are made of a valid one."""
    yield from (("None", None), ("text", "no"), ("empty text", ""), ("NaN", math.nan))
    yield from (("negative", -3), ("fraction", 0.37), ("list", [1, "a"]), ("empty list", []))
    yield from (("dict", {"a": 1}), ("object", object()), ("type", int), ("False", False))
    yield from (("infinity", math.inf), ("bytes", b"x"), ("complex", 1j), ("huge", 10**30))
    yield "a module", nn.Identity()
    yield "a distribution", Normal(0.0, 1.0)
    tensor = value if isinstance(value, torch.Tensor) else torch.rand(3, 4)
    yield "empty", tensor[:0] if tensor.dim() else torch.empty(0)
    yield "scalar", tensor.sum()
    yield "one more dimension", tensor.unsqueeze(-1)
    yield "meta", tensor.to("meta")
    yield "sparse", (tensor.float() if tensor.dim() else torch.rand(3, 4)).to_sparse()
    yield "complex numbers", tensor.to(torch.complex64)
    yield "float8", tensor.to(torch.float8_e4m3fn)
    yield "truth values", tensor > 0
    yield "NaNs", torch.full(tensor.shape, math.nan)
    yield "negatives", -tensor.abs() - 1 if tensor.dtype != torch.bool else tensor
    yield "numpy", tensor.numpy()


def judge(name: str, call: Callable[..., Any], given: dict[str, Any]) -> tuple[str, str]:
    """Return what becomes of a call: "accepted", "clear" or "unclear", and the error."""
    found = parameters(call)
    first = [n for n, p in found.items() if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    args = [given[n] for n in first if n in given]
    named = {n: v for n, v in given.items() if n not in first}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            call(*args, **named)
    except Exception as error:
        text, frames = str(error), traceback.extract_tb(error.__traceback__)
        ours = frames[-1].filename.startswith(PACKAGE)
        names = [*found, "count", "weight", "parts"] + [
            k for v in given.values() if _fields(v) for k in v
        ]
        names = [n for n in names if re.search(rf"(?<!\w){re.escape(str(n))}(?!\w)", text)]
        kind = "clear" if isinstance(error, CLEAR) and ours and names else "unclear"
        if "\n" in text:
            kind = "unclear"
        place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].name}"
        return kind, f"{type(error).__name__} at {place}: {text[:120]!r}"
    return "accepted", ""


def _fields(value: Any) -> bool:
    return isinstance(value, dict)


def draw(number: int, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """Make calls with one or two wrong arguments; yield name, arguments, verdict and error."""
    choose = Random(seed)
    for k in range(number):
        if k % 50 == 0:  # what a call may have changed
            torch.manual_seed(0)
            known = valid()
            calls = public(known["instances"])
        name = choose.choice(list(calls))
        call = calls[name]
        own = {**known["by_name"], **known["special"].get(name, {})}
        found = parameters(call)
        given = {
            n: own[n]
            for n, p in found.items()
            if n in own and (p.default is p.empty or name in known["special"])
        }
        missing = [n for n, p in found.items() if p.default is p.empty and n not in given]
        spoiled = set(choose.sample(list(found), k=min(len(found), choose.choice((1, 1, 2)))))
        spoiled |= set(missing)
        labels = []
        for argument in sorted(spoiled):
            options = [
                (label, value)
                for label, value in wrong_values(own.get(argument))
                if not (value is None and found[argument].default is None)
            ]
            label, given[argument] = choose.choice(options)
            labels.append(f"{argument}={label}")
        yield name, ", ".join(labels), *judge(name, call, given)


def report(number: int, seed: int) -> tuple[Counter, list[str]]:
    """Return how many calls ended in what way, and those that ended unclear."""
    counts: Counter = Counter()
    unclear = []
    for name, wrong, verdict, error in draw(number, seed):
        counts[verdict] += 1
        if verdict == "unclear":
            unclear.append(f"{name}({wrong}): {error}")
    return counts, unclear
