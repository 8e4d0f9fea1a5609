"""Problems."""

import functools
from typing import Any

import torch

from compvae_pyg import CompVAE, Dots, Sines
from compvae_pyg.networks import (
    Categorical,
    Continuous,
    build_curves,
    build_images,
    cut_patches,
    place_patches,
)
from compvae_pyg.problems import render_dots, render_sines
from wrong_input.values import (
    BATCH,
    CATEGORY,
    GENERATOR,
    IMAGES,
    MISSING,
    NO_NUMBER,
    NO_PARTS,
    NO_TENSOR,
    NUMBERS,
    SIZE,
    SIZE_OF_WHOLES,
    WEIGHT,
    Entry,
    always,
    at_random,
    count,
    in_field,
    matrix,
)


@functools.cache
def image_model() -> CompVAE:
    return build_images(fields={"category": Categorical(3)}, size=(8, 8))


@functools.cache
def curve_model() -> CompVAE:
    return build_curves(fields={"category": Categorical(3), "power": Continuous(2)}, length=8)


COMMON = (
    "channels", "hidden_channels", "part_channels", "whole_channels", "z_channels", "num_blocks",
)  # fmt: skip
SIZES_OF_NETWORKS = {"dots": (*COMMON, "grid"), "sines": COMMON}
SCALES = {"dots": "min_pixel_scale", "sines": "min_relative_scale"}
VECTOR = {
    k: v for k, v in WEIGHT.items() if k not in ("NaN", "infinity")
} | {"integers": lambda a: a.long()}  # fmt: skip


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points, for sets of these sizes."""
    dots, sines = Dots(), Sines()
    out: dict[str, Entry] = {}

    numbers = {**NUMBERS, **MISSING, "negative": at_random(-1)}
    for problem in (dots, sines):
        out[f"{problem.name}.sample"] = Entry(
            problem.sample,
            {"num_parts": torch.tensor(sizes)},
            {"num_parts": numbers, "generator": GENERATOR},
        )
        out[f"{problem.name}.build"] = Entry(
            problem.build,
            {"preset": "small"},
            {
                "preset": {"text": always("huge"), **MISSING, "a number": always(1)},
                **{name: count(1) for name in SIZES_OF_NETWORKS[problem.name]},
                SCALES[problem.name]: {**NO_NUMBER, **MISSING, "negative": always(-1.0)},
                "coupling": {**MISSING, "text": always("x")},
                "aggr": {**MISSING, "text": always("max of all")},
                "unknown_option": {"a number": always(1)},
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
    # Parts at places

    number, total = len(sizes), sum(sizes)
    kind: dict[str, Any] = {"category": Categorical(3)}
    fields_wrong = {
        **MISSING,
        "a number": always(3),
        "none": always({}),
        "a number for a field": always({"category": 3}),
        "an unknown kind": always({"category": {"size": 3}}),
        "no category": always({"category": {"num_categories": 0}}),
        "a text": always("category"),
    }
    scale = {**NO_NUMBER, **MISSING, "zero": always(0.0)}
    widths = ("hidden_channels", "part_channels", "whole_channels", "z_channels", "num_blocks")
    out["build_images"] = Entry(
        build_images,
        {"fields": kind, "size": (8, 8)},
        {
            "fields": {**fields_wrong, "with pos": always({"pos": Continuous(2)})},
            "size": {
                **MISSING,
                "a number": always(8),
                "text": always("ab"),
                "three": always((1, 8, 8)),
                "odd": always((8, 7)),
                "fractions": always((8.5, 8)),
                "zero": always((0, 8)),
            },
            "extent": {**scale, "too large": always(3.0)},
            "coupling": {**MISSING, "text": always("tight")},
            **{name: count(1) for name in ("channels", "field_channels", "resolution", *widths)},
            "style_channels": {**count(1), "too large": always(6)},
            "min_scale": scale,
            "min_whole_scale": scale,
        },
    )
    out["build_curves"] = Entry(
        build_curves,
        {"fields": kind, "length": 8},
        {
            "fields": fields_wrong,
            **{name: count(1) for name in ("length", "w_channels", *widths)},
            "channels": {"zero": always(0), "a fraction": always(1.5)},
            "coupling": {**MISSING, "text": always("tight")},
            "posterior_init": {"text": always("tight"), "no text": always("")},
            "convolutional": {**MISSING, "a number": always(1)},
            "style_channels": {**count(1), "too large": always(33)},
            "min_scale": scale,
            "min_whole_scale": scale,
        },
    )
    out["Categorical"] = Entry(Categorical, {"num_categories": 3}, {"num_categories": count(1)})
    out["Continuous"] = Entry(Continuous, {"channels": 3}, {"channels": count(1)})
    placed, size = image_model(), [number, 1, 8, 8]
    parts = {"category": torch.arange(total) % 3, "pos": torch.rand(total, 2)}
    batch = torch.arange(number).repeat_interleave(torch.tensor(sizes))
    of_parts = {
        **NO_PARTS,
        **in_field("category", CATEGORY),
        **in_field("pos", matrix(values=True, typed=False)),
    }
    fields = ("batch", "category", "pos", "parts", "whole")
    also = {"parts": fields, "batch": fields, "batch_size": fields, "whole": fields}
    out["images.generate"] = Entry(
        placed.generate,
        {"parts": parts, "batch": batch, "batch_size": number},
        {"parts": of_parts, "batch": BATCH, "batch_size": SIZE},
        also,
    )
    images = {name: f for name, f in IMAGES.items() if name != "grey"}
    out["images.elbo"] = Entry(
        placed.elbo,
        {"whole": torch.rand(size), "parts": parts, "batch": batch, "batch_size": number},
        {"whole": images, "parts": of_parts, "batch": BATCH, "batch_size": SIZE_OF_WHOLES},
        also,
    )
    curves, power = curve_model(), torch.randn(total, 2)
    of_curves = {
        **NO_PARTS,
        **in_field("category", CATEGORY),
        **in_field("power", matrix(values=True, typed=False)),
    }
    fields = ("batch", "category", "power", "parts", "whole")
    also = {"parts": fields, "batch": fields, "batch_size": fields, "whole": fields}
    out["curves.generate"] = Entry(
        curves.generate,
        {
            "parts": {"category": parts["category"], "power": power},
            "batch": batch,
            "batch_size": number,
        },
        {"parts": of_curves, "batch": BATCH, "batch_size": SIZE},
        also,
    )
    drawn = {"batch": BATCH, "batch_size": SIZE}
    where = {"batch": batch, "batch_size": number}
    feature = torch.rand(total)
    out["render_dots"] = Entry(
        render_dots,
        {"color": parts["category"], "pos": parts["pos"], "intensity": feature, **where},
        {
            "color": CATEGORY,
            "pos": matrix(values=True, typed=False),
            "intensity": VECTOR,
            **drawn,
            "size": count(1),
        },
        {"color": ("pos", "intensity", "batch"), "pos": ("intensity",), "batch_size": ("batch",)},
    )
    positive = {**NO_NUMBER, **MISSING, "zero": always(0.0)}
    out["render_sines"] = Entry(
        render_sines,
        {"category": parts["category"], "amplitude": feature, "phase": feature, **where},
        {
            "category": CATEGORY,
            "amplitude": VECTOR,
            "phase": VECTOR,
            **drawn,
            "nonlinearity": positive,
            "period": positive,
            "num_categories": count(1),
            "num_samples": count(1),
        },
        {"batch_size": ("batch",)},
    )
    two_sizes = {"one": always((8,)), "a number": always(8), "zero": always((0, 8)), **MISSING}
    at_places = {
        "pos": {k: v for k, v in matrix(typed=False).items() if k != "another device"},
        "size": two_sizes,
        "extent": positive,
    }
    pictures = ("a scalar", "one image", "bytes", *NO_TENSOR)
    pictures_wrong = {k: v for k, v in IMAGES.items() if k in pictures}
    place = {"pos": parts["pos"], "size": (8, 8), "extent": 0.5}
    out["place_patches"] = Entry(
        place_patches,
        {"patches": torch.rand(total, 1, 4, 4), **place},
        {"patches": pictures_wrong, **at_places},
        {"pos": ("patches",)},
    )
    out["cut_patches"] = Entry(
        cut_patches,
        {"images": torch.rand(size), "batch": batch, **place},
        {"images": pictures_wrong, "batch": BATCH, **at_places},
        {"pos": ("batch",)},
    )
    return out
