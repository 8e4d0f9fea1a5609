"""Schedules, and training, which must refuse before it writes anything."""

import math
import os
import tempfile
from importlib.util import find_spec
from typing import Any

import torch
from torch_geometric.data import Data

from compvae_pyg import Dots
from wrong_input.models import model_of
from wrong_input.values import MISSING, NO_INTEGER, NO_NUMBER, Entry, Wrong, always, count

STORED = Dots().sample(torch.tensor([1, 2, 3, 1, 2, 1, 1, 2, 1, 1])).to_data_list()
NO_WHOLES: dict[str, Wrong] = {
    "a number": always(3),
    "nothing": always([]),
    "tensors": always([torch.zeros(2)]),
    "a batch": always(Dots().sample(torch.tensor([1, 2]))),
    "one without a whole": lambda wholes: [*wholes, Data(num_nodes=3)],
}
FRACTIONS: dict[str, Wrong] = {
    **MISSING,
    "text": always("abc"),
    "a number": always(0.5),
    "too much": always((0.8, 0.2, 0.1)),
    "negative": always((1.2, -0.1, -0.1)),
    "NaN": always((math.nan, 0.5, 0.5)),
    "none": always(()),
}


def trained(data: Any, model: Any, schedule: Any, **config: Any) -> Any:
    """Train in a folder of its own, which a refusal is to leave empty."""
    from compvae_pyg.training import TrainConfig, train

    with tempfile.TemporaryDirectory() as folder:
        try:
            more = {k: config.pop(k) for k in ("by_num_parts", "validate_every") if k in config}
            config = TrainConfig(**{"output": folder, **config})
            return train(data, model, schedule, config, **more)
        except (TypeError, ValueError):
            if os.listdir(folder):
                raise RuntimeError("training wrote before it refused") from None
            raise


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points; the sizes of the sets do not matter."""
    if find_spec("lightning") is None:
        return {}
    from compvae_pyg.training import (
        Curriculum,
        LearningRate,
        Schedule,
        Stage,
        StoredData,
        split_wholes,
    )

    text: dict[str, Wrong] = {"text": always("abc"), **MISSING}
    choice: dict[str, Wrong] = {**text, "a number": always(3)}
    truth: dict[str, Wrong] = {**text, "a number": always(1)}
    given = {
        "data": Dots(),
        "model": model_of(Dots(), hidden_channels=8),
        "schedule": Schedule(num_steps=1, batch_size=2),
    }
    counts = ("accumulate", "devices", "num_nodes", "checkpoint_every", "log_every")
    out = {
        "train": Entry(
            trained,
            {**given, "accelerator": "cpu", "progress": False},
            {
                **dict.fromkeys(("model", "schedule"), text),
                "data": {k: v for k, v in NO_WHOLES.items() if k != "one without a whole"},
                "output": {**MISSING, "a number": always(3)},
                "seed": count(0),
                "by_num_parts": {"text": always("abc"), "negative": always([-1])},
                "validate_every": {k: v for k, v in count(1).items() if k != "None"},
                **{name: count(1) for name in counts},
                **dict.fromkeys(("accelerator", "strategy", "precision"), choice),
                **dict.fromkeys(("resume", "compile", "progress"), truth),
            },
            {"data": ("wholes", "whole")},
        ),
        "Schedule.of": Entry(
            Schedule.of,
            {"problem": Dots(), "style": "staged", "num_steps": 100},
            {
                "problem": text,
                "style": choice,
                "num_steps": {k: v for k, v in count(1).items() if k != "None"},
            },
        ),
        "Schedule.staged": Entry(
            Schedule.staged,
            {"num_steps": 100, "batch_size": 4, "max_parts": 3, "initial_rate": 1e-3},
            {
                **{name: count(1) for name in ("num_steps", "batch_size", "max_parts")},
                "beta_w": {**NO_NUMBER, **MISSING, "zero": always(0.0)},
            },
        ),
    }
    out["StoredData"] = Entry(
        StoredData,
        {"wholes": STORED, "batch_size": 2, "seed": 0, "num_workers": 0},
        {
            "wholes": NO_WHOLES,
            "batch_size": {k: v for k, v in count(1).items() if k != "None"},
            "max_parts": {**NO_INTEGER, "beside a batch size": always(3)},
            "seed": count(0),
            "num_workers": count(0),
            "fractions": FRACTIONS,
            "group": {"a number": always(3), "another name": always("city")},
        },
        {"group": ("city",), "wholes": ("whole",)},
    )
    out["split_wholes"] = Entry(
        split_wholes,
        {"num_wholes": 10, "fractions": (0.8, 0.1, 0.1), "seed": 0},
        {
            "num_wholes": {**count(1), "too few": always(2)},
            "fractions": FRACTIONS,
            "groups": {"too few": always([1, 2]), "a number": always(3), "text": always("abc")},
            "seed": count(0),
        },
        {"num_wholes": ("fractions",)},
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
            "noise": betas,
            "code_matching": betas,
            "fit_prior": {
                **NO_NUMBER,
                **MISSING,
                "negative": always(-0.1),
                "too large": always(2.0),
            },
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
            "log_uniform": {**MISSING, "a number": always(1)},
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
