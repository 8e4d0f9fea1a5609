"""Models and compositions."""

import math
from typing import Any

import torch

from compvae_pyg import Composition, CompVAE, Dots, Sines
from wrong_input.values import (
    BATCH,
    DOTS,
    GENERATOR,
    IMAGES,
    MISSING,
    NO_PARTS,
    NO_TENSOR,
    OF_UNKNOWN_WIDTH,
    ROWS,
    SINES,
    SIZE,
    SIZE_OF_WHOLES,
    WEIGHT,
    Entry,
    Wrong,
    always,
    at_random,
    count,
    given,
    in_field,
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
    model, parts = model_of(dots, channels=2, hidden_channels=8), dots.parts(drawn)
    whole = drawn.whole
    options: dict[str, Any] = {
        "weight": {name: given(weight, f) for name, f in WEIGHT.items()},
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
        f"{name}": given(chord.w[:1], f)
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
            "weight": {k: given(weight[:1], WEIGHT[k]) for k in WEIGHT if k != "a member less"},
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

    return out
