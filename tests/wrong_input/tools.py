"""What works on models: data, ranking, simulation, evaluation, models on disk."""

import functools
import math
from typing import Any

import pytest
import torch

from compvae_pyg import CompVAE, Dots, Sines, rank_parts
from compvae_pyg.data import PartBudgetSampler
from compvae_pyg.evaluation import (
    ResultRow,
    energy_distance,
    evaluate,
    evaluate_codes,
    evaluate_recovery,
    evaluate_removal,
    format_table,
)
from compvae_pyg.models import build_architecture, model_card, register_architecture
from compvae_pyg.problems.dots import recompose_dots, reconstruct_dots, site_accuracy, sites_shown
from compvae_pyg.problems.sines import (
    recompose_sines,
    sines_nonlinearity,
    sines_variety,
    spectrum,
)
from compvae_pyg.simulation import RareEvent, WholeFromNoise, rare_wholes, subset_simulation
from wrong_input.models import model_of
from wrong_input.values import (
    BATCH,
    CATEGORY,
    COUNT,
    DOTS,
    ELSEWHERE,
    GENERATOR,
    IMAGES,
    MISSING,
    NO_NUMBER,
    NO_TENSOR,
    SINES,
    SIZE,
    WEIGHT,
    Entry,
    Wrong,
    always,
    at_random,
    count,
    given,
    matrix,
)

TEXT: dict[str, Wrong] = {"a number": always(3), "a list": always(["a"])}
CHANCE: dict[str, Wrong] = {
    **NO_NUMBER,
    "zero": always(0.0),
    "one": always(1.0),
    "negative": always(-0.5),
}
LOG_PRIOR: dict[str, Wrong] = {
    **NO_TENSOR,
    **ELSEWHERE,
    "a matrix": lambda a: a.unsqueeze(1),
    "a member more": lambda a: torch.cat([a, a[:1]]),
    "a member less": lambda a: a[1:],
    "NaN": at_random(math.nan),
    "infinity": at_random(math.inf),
}
NO_MODEL: dict[str, Wrong] = {
    **MISSING,
    "text": always("dots-small"),
    "networks of another kind": always(torch.nn.Linear(2, 2)),
}


@functools.cache
def an_event() -> RareEvent:
    return subset_simulation(
        lambda noise: noise[:, 0], 3, probability=0.2, num_samples=40, progress=False
    )


@functools.cache
def some_rows() -> list[ResultRow]:
    sites = model_of(Dots(), hidden_channels=8)
    few = {"num_parts": [1], "num_wholes": 2, "num_samples": 2}
    return evaluate(sites, Dots(), **few, num_draws=0, num_classified=0)


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points, for sets of these sizes."""
    dots, sines = Dots(), Sines()
    number, total = len(sizes), sum(sizes)
    drawn = dots.sample(torch.tensor(sizes), torch.Generator().manual_seed(1))
    sites, chords = model_of(dots, hidden_channels=8), model_of(sines)
    parts, kinds = dots.parts(drawn), {"category": torch.arange(total) % 10}
    weight = torch.rand(total)
    weights = {name: given(weight, f) for name, f in WEIGHT.items()}
    of_category = {k: v for k, v in CATEGORY.items() if k != "a list"}
    out: dict[str, Entry] = {}

    # Data

    seen = {"whole": drawn.whole, "parts": parts, "batch": drawn.batch, "batch_size": number}
    fields = ("batch", "color", "pos", "whole", "parts")
    out["PartBudgetSampler"] = Entry(
        PartBudgetSampler,
        {"sizes": sizes, "max_parts": 5},
        {
            "sizes": {
                **MISSING,
                "none": always([]),
                "text": always("abc"),
                "a number": always(3),
                "negative": always([2, -1]),
                "fractions": always([0.5, 2.0]),
                "truth values": always([True, False]),
                "a matrix": always([[1, 2], [3, 4]]),
            },
            "max_parts": count(1),
            "seed": count(0),
            "rank": {"alone": always(0), "text": always("0")},
            "num_ranks": {"alone": always(2), "text": always("2")},
        },
    )
    out["PartBudgetSampler of a rank"] = Entry(
        PartBudgetSampler,
        {"sizes": sizes, "max_parts": 5, "rank": 1, "num_ranks": 2},
        {
            "rank": {**count(0), "too large": always(2)},
            "num_ranks": count(2),
        },
        {"num_ranks": ("rank",)},
    )

    # Ranking: each set of parts is a candidate for the same whole.

    one = drawn.whole[:1]
    out["rank_parts"] = Entry(
        rank_parts,
        {"model": sites, **seen, "whole": one, "num_samples": 2},
        {
            "model": NO_MODEL,
            # One wrong image is one too many.
            "whole": {k: v for k, v in IMAGES.items() if k not in ("an image less",)},
            "parts": DOTS,
            "batch": {k: v for k, v in BATCH.items() if k != "a set too many"},
            "batch_size": SIZE,
            "candidate_batch": {
                name: given(torch.zeros(number, dtype=torch.long), f)
                for name, f in BATCH.items()
                if name != "unsorted"
            },
            "log_prior": {name: given(torch.zeros(number), f) for name, f in LOG_PRIOR.items()},
            "num_samples": count(1),
            "chunk_size": count(1),
            "count": {name: given(torch.ones(total), f) for name, f in COUNT.items()},
            "weight": weights,
            "generator": GENERATOR,
        },
        {"parts": fields, "batch_size": fields, "batch": fields, "whole": fields},
    )

    # Simulation

    def peak(whole: torch.Tensor) -> torch.Tensor:
        return whole.flatten(1).amax(dim=1)

    scores: dict[str, Wrong] = {
        **MISSING,
        "a number": always(3.0),
        "of no tensor": always(lambda whole: 1.0),
        "of one number": always(lambda whole: whole.sum()),
        "of a matrix": always(lambda whole: whole.flatten(1)),
        "NaN": always(lambda whole: whole.flatten(1)[:, 0] * math.nan),
        "integers": always(lambda whole: peak(whole) > 0),
    }
    target: dict[str, dict[str, Wrong]] = {
        "level": {"as well": always(1.0)},
        "probability": {**CHANCE, "none": always(None)},
        "chunk_size": count(1),
        "generator": GENERATOR,
    }
    also_target = {"level": ("probability",)}
    out["subset_simulation"] = Entry(
        subset_simulation,
        {
            "score": peak,
            "num_channels": 3,
            "probability": 0.2,
            "num_samples": 40,
            "progress": False,
        },
        {
            "score": scores,
            "num_channels": count(1),
            **target,
            "num_samples": count(1),
            "level_probability": {**CHANCE, **MISSING},
            "min_probability": {**CHANCE, **MISSING},
            "dtype": {"integers": always(torch.long), "text": always("abc"), "1": always(1)},
            "device": {"text": always("nowhere"), "a list": always([0])},
        },
        {**also_target, "num_samples": ("level_probability",)},
    )
    out["subset_simulation of a level"] = Entry(
        subset_simulation,
        {
            "score": peak,
            "num_channels": 3,
            "level": 1.0,
            "num_samples": 40,
            "progress": False,
        },
        {"level": {**NO_NUMBER, "infinity": always(math.inf), "none": always(None)}},
    )
    out["interval"] = Entry(
        an_event().interval, {"confidence": 0.9}, {"confidence": {**CHANCE, **MISSING}}
    )
    made: dict[str, Any] = {"model": chords, "parts": kinds}
    of_rows = {
        "parts": SINES,
        "count": {name: given(torch.ones(total), f) for name, f in COUNT.items()},
        "weight": weights,
    }
    out["WholeFromNoise"] = Entry(
        WholeFromNoise, made, {"model": NO_MODEL, **of_rows}, {"parts": ("category",)}
    )
    draw = WholeFromNoise(**made)
    noise = {k: v for k, v in matrix(rows=False).items() if k != "another device"}
    for name, call in (("WholeFromNoise()", draw), ("latents", draw.latents)):
        out[name] = Entry(
            call, {"noise": torch.randn(2, draw.num_channels)}, {"noise": {**noise, **MISSING}}
        )
    out["draw_parts"] = Entry(
        draw.draw_parts,
        {"w_sum": torch.randn(2, chords.encoder.w_channels)},
        {"w_sum": {**noise, **MISSING}, "generator": GENERATOR},
    )
    out["rare_wholes"] = Entry(
        rare_wholes,
        {
            **made,
            "score": peak,
            "probability": 0.2,
            "num_samples": 40,
            "progress": False,
        },
        {"model": NO_MODEL, **of_rows, "score": scores, **target, "num_samples": count(1)},
        {"parts": ("category",), **also_target, "num_samples": ("level_probability",)},
    )

    # Evaluation

    counts = {"num_wholes": count(1), "batch_size": count(1), "seed": count(0)}
    sizes_of: dict[str, Wrong] = {
        **MISSING,
        "a number": always(3),
        "text": always("abc"),
        "zero": always([0]),
        "negative": always([2, -1]),
        "fractions": always([0.5]),
    }
    small = {"num_parts": [1], "num_wholes": 2}
    weighed = {"num_weighted": count(1), "num_samples": count(1), "num_part_sets": count(1)}
    weighed["num_draws"] = {k: v for k, v in count(0).items() if k != "None"}
    weighed["num_classified"] = {**count(0), "too few": always(3)}
    hiding: dict[str, dict[str, Wrong]] = {
        "num_samples": count(1),
        "num_values": count(1),
        "field": {**TEXT, **MISSING, "unknown": always("size")},
    }
    no_problem: dict[str, Wrong] = {**MISSING, "text": always("dots")}
    for name, call, model, problem, wrong in (
        ("dots", evaluate, sites, dots, weighed),
        ("sines", evaluate, chords, sines, weighed),
        ("codes", evaluate_codes, sites, dots, {"num_compared": count(1)}),
        ("removal", evaluate_removal, chords, sines, {}),
        ("recovery", evaluate_recovery, sites, dots, hiding),
    ):
        hidden = {"field": "color", "num_values": 5} if name == "recovery" else {}
        few = {"num_samples": 2, "num_draws": 2, "num_classified": 0}
        fewer = {k: v for k, v in few.items() if k in wrong}
        out[f"evaluate_{name}"] = Entry(
            call,
            {
                "model": model,
                "problem": problem,
                **small,
                **fewer,
                **hidden,
                **({"num_parts": [2]} if name == "removal" else {}),
            },
            {
                "model": NO_MODEL,
                "problem": no_problem,
                # Without numbers of parts, a problem has its own.
                "num_parts": {
                    k: v for k, v in sizes_of.items() if k != "None" or call is not evaluate
                },
                **counts,
                **wrong,
            },
        )
    samples = {
        name: wrong
        for name, wrong in matrix(rows=False, typed=False).items()
        if name != "three dimensions"
    }
    two = {"x": torch.randn(total, 3), "y": torch.randn(number + 1, 3)}
    out["energy_distance"] = Entry(
        energy_distance,
        two,
        {name: {**samples, **MISSING, "none": lambda t: t[:0]} for name in two},
        {"x": ("y",), "y": ("x",)},
    )
    of_sites = {"images": drawn.whole, **parts, "batch": drawn.batch}
    for name, measure in (("sites_shown", sites_shown), ("site_accuracy", site_accuracy)):
        out[name] = Entry(
            measure,
            of_sites,
            {
                "images": {
                    k: v
                    for k, v in IMAGES.items()
                    if k in (*NO_TENSOR, *ELSEWHERE, *MISSING, "a scalar", "one image", "grey")
                },
                "color": {**of_category, **ELSEWHERE, **MISSING},
                "pos": {**matrix(typed=False, values=True), **MISSING},
                "batch": {k: v for k, v in {**BATCH, **MISSING}.items() if k != "unsorted"},
            },
            {"images": ("batch",), "batch": ("images",)},
        )
    curves = sines.sample(torch.tensor(sizes))
    out["spectrum"] = Entry(
        spectrum,
        {"whole": curves.whole, "num_parts": torch.tensor(sizes)},
        {
            "whole": {
                k: v
                for k, v in {**matrix(typed=False), **MISSING}.items()
                if k not in ("a column more", "a column less")
            },
            "num_parts": {
                **NO_TENSOR,
                **ELSEWHERE,
                **MISSING,
                "zero": at_random(0),
                "negative": at_random(-1),
                "a member more": lambda t: torch.cat([t, t[:1]]),
                "a member less": lambda t: t[1:],
                "fractions": lambda t: t + 0.5,
            },
            "num_categories": {**count(1), "too large": always(100)},
            "nonlinearity": {**NO_NUMBER, **MISSING, "zero": always(0.0)},
            "period": {**NO_NUMBER, **MISSING, "zero": always(0.0)},
            "reach": {
                "text": always("1"),
                "NaN": always(math.nan),
                "zero": always(0.0),
                **MISSING,
            },
        },
        {"whole": ("num_parts",), "num_categories": ("frequencies",), "period": ("samples",)},
    )
    out["format_table"] = Entry(
        format_table, {"rows": some_rows()},
        {"rows": {"none": always([]), **MISSING, "text": always("abc"), "a number": always(3)}},
    )  # fmt: skip
    drawn_seed = {"seed": count(0)}
    out["recompose_dots"] = Entry(
        recompose_dots,
        {"model": sites, "problem": dots, "num_parts": 2, "num_samples": 1},
        {"model": NO_MODEL, "num_parts": count(1), "num_samples": count(1), **drawn_seed},
    )
    out["reconstruct_dots"] = Entry(
        reconstruct_dots,
        {"model": sites, "problem": dots, "num_parts": [2], "num_examples": 1},
        {"model": NO_MODEL, "num_parts": sizes_of, "num_examples": count(1), **drawn_seed},
    )
    out["recompose_sines"] = Entry(
        recompose_sines,
        {"model": chords, "problem": sines, "category": [0, 2]},
        {
            "model": NO_MODEL,
            "category": {
                **MISSING,
                "none": always([]),
                "text": always("abc"),
                "negative": always([-1]),
                "too large": always([10]),
                "fractions": always([0.5]),
            },
            **drawn_seed,
        },
    )
    out["sines_variety"] = Entry(
        sines_variety,
        {"model": chords, "problem": sines, "num_draws": 2},
        {"model": NO_MODEL, "num_draws": count(1), **drawn_seed},
    )
    out["sines_nonlinearity"] = Entry(sines_nonlinearity, {"problem": sines}, drawn_seed)

    # Models on disk and on the hub

    out["build_architecture"] = Entry(
        build_architecture,
        {"problem": "dots", "preset": "small"},
        {
            "problem": {**TEXT, **MISSING, "unknown": always("nope")},
            "preset": {**TEXT, **MISSING, "unknown": always("nope")},
        },
        {"problem": ("dots",)},
    )
    out["register_architecture"] = Entry(
        register_architecture,
        {"problem": "dots", "preset": "mine"},
        {"problem": {**TEXT, **MISSING}, "preset": {**TEXT, **MISSING}},
    )
    out["model_card"] = Entry(
        model_card,
        {"model": sites, "repo_id": "me/dots"},
        {
            "model": NO_MODEL,
            "repo_id": {**TEXT, **MISSING, "no owner": always("dots")},
            "evaluation": {**TEXT, **MISSING},
            "license": {**TEXT, "a sentence": always("as you like"), "two lines": always("a\nb")},
        },
    )
    pytest.importorskip("safetensors")
    out["from_pretrained"] = Entry(
        CompVAE.from_pretrained,
        {"pretrained_model_name_or_path": "dots-small"},
        {"pretrained_model_name_or_path": {**TEXT, **MISSING}},
    )

    return out
