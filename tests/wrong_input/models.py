"""Models and compositions."""

import math
from functools import partial
from typing import Any

import torch

from compvae_pyg import Composition, CompVAE, Dots, Sines
from compvae_pyg.models import attribute
from wrong_input.values import (
    BATCH,
    COUNT,
    DOTS,
    GENERATOR,
    IMAGES,
    INDEX,
    MISSING,
    OF_UNKNOWN_WIDTH,
    ROWS,
    SINES,
    SIZE,
    SIZE_OF_WHOLES,
    WEIGHT,
    Entry,
    always,
    at_random,
    count,
    given,
    matrix,
)

MODELS: dict[str, CompVAE] = {}


def model_of(problem: Any, **options: Any) -> CompVAE:
    if problem.name not in MODELS:
        MODELS[problem.name] = problem.build("small", **options).eval()
    return MODELS[problem.name]


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points, for sets of these sizes."""
    number, total = len(sizes), sum(sizes)
    batch = torch.arange(number).repeat_interleave(torch.tensor(sizes))
    packed = {"batch": batch, "batch_size": number}
    sets = {"batch": BATCH, "batch_size": SIZE}
    weight = torch.rand(total)
    rng = torch.Generator().manual_seed(1)
    out: dict[str, Entry] = {}

    # Models and compositions

    dots, sines = Dots(), Sines()
    drawn = dots.sample(torch.tensor(sizes), rng)
    model, parts = model_of(dots, hidden_channels=8), dots.parts(drawn)
    whole = drawn.whole
    ones = torch.ones(total)
    options: dict[str, Any] = {
        "count": {name: given(ones, f) for name, f in COUNT.items()},
        "weight": {name: given(weight, f) for name, f in WEIGHT.items()},
        "generator": GENERATOR,
    }
    observed = {**options, "count": {**options["count"], "zero": given(ones, at_random(0.0))}}
    seen = {"whole": whole, "parts": parts, **packed}
    wrong_seen = {"whole": IMAGES, "parts": DOTS, "batch": BATCH, "batch_size": SIZE_OF_WHOLES}
    fields = ("batch", "color", "pos", "whole", "parts")
    also_seen = {"parts": fields, "batch_size": fields, "batch": fields, "whole": fields}
    for name, extra in {
        "forward": observed,
        "elbo": observed,
        "posterior": {
            **observed,
            "z": {
                k: given(torch.randn(number, model.encoder.z_channels), f)
                for k, f in matrix(typed=False).items()
            },
        },
        "log_likelihood": {**observed, "num_samples": count(1), "chunk_size": count(1)},
        "infer": observed,
        "reconstruct": observed,
        "attribute": {"generator": GENERATOR},
    }.items():
        method = partial(attribute, model) if name == "attribute" else getattr(model, name)
        out[name] = Entry(method, seen, {**wrong_seen, **extra}, also_seen)
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
    counts = torch.rand(number, total)
    of_counts = {
        **matrix(typed=False),
        **MISSING,
        "NaN": at_random(math.nan),
        "infinity": at_random(math.inf),
        "negative": at_random(-1.0),
    }
    for name in ("integers", "a row more", "a row less"):
        del of_counts[name]
    out["generate_counts"] = Entry(
        chords.generate_counts,
        {"counts": counts, "parts": kinds},
        {
            "counts": of_counts,
            "parts": SINES,
            "weight": options["weight"],
            "generator": GENERATOR,
            "observation_noise": {"text": always("yes"), "a number": always(1)},
        },
        {"parts": ("counts", "category")},
    )
    out["decode"] = Entry(
        chords.generator.decode,
        {"w_sum": torch.randn(number, chords.encoder.w_channels)},
        {"w_sum": OF_UNKNOWN_WIDTH, "generator": GENERATOR},
    )
    chord = chords.compose(kinds, **packed)
    one = {"category": torch.tensor([1])}
    of_one = {
        f"{name}": given(chord.w[:1], f)
        for name, f in matrix(rows=True).items()
        if name != "a row less"
    }
    out["Composition"] = Entry(
        Composition,
        {
            "generator": chords.generator,
            "parts": chord.parts,
            "w": chord.w,
            "z_eps": chord.z_eps,
        },
        {
            "parts": {**MISSING, "fields": always(kinds), "a tensor": always(kinds["category"])},
            "w": {**OF_UNKNOWN_WIDTH, **ROWS},
            "z_eps": {**OF_UNKNOWN_WIDTH, **ROWS},
        },
    )
    out["add"] = Entry(
        chord.add,
        {"parts": one, "batch": 0},
        {
            "parts": SINES,
            "batch": INDEX,
            "w": of_one,
            "weight": {k: given(weight[:1], WEIGHT[k]) for k in WEIGHT if k != "a member less"},
            "count": {k: given(ones[:1], COUNT[k]) for k in COUNT if k != "a member less"},
            "generator": GENERATOR,
        },
        {"parts": ("category",)},
    )
    out["remove"] = Entry(chord.remove, {"index": 0}, {"index": INDEX})
    out["select"] = Entry(chord.select, {"sets": 0}, {"sets": INDEX})
    out["replace"] = Entry(
        chord.replace,
        {"index": 0, "parts": one},
        {"index": INDEX, "parts": SINES, "w": of_one, "generator": GENERATOR},
        {"parts": ("category",), "index": ("parts",)},
    )
    out["with_latents"] = Entry(
        chord.with_latents,
        {"w": chord.w, "z": chord.z_eps},
        {"w": matrix(), "z": matrix()},
    )
    out["resample_z"] = Entry(chord.resample_z, {}, {"generator": GENERATOR})
    out["sample"] = Entry(chord.sample, {}, {"generator": GENERATOR})
    other = {"text": always("abc"), **MISSING, "a tensor": always(chord.w)}
    out["merge"] = Entry(chord.merge, {"other": chord}, {"other": other})
    out["subtract"] = Entry(chord.subtract, {"other": chord}, {"other": other})

    return out
