"""Training, which must refuse before it writes anything."""

import os
import tempfile
from importlib.util import find_spec
from typing import Any

from compvae_pyg import Dots
from compvae_pyg.problems import Schedule
from wrong_input.models import model_of
from wrong_input.values import MISSING, Entry, Wrong, always, count


def trained(**arguments: Any) -> Any:
    """Train in a folder of its own, which a refusal is to leave empty."""
    from compvae_pyg.training import train

    with tempfile.TemporaryDirectory() as folder:
        try:
            return train(**{"output": folder, **arguments})
        except (TypeError, ValueError):
            if os.listdir(folder):
                raise RuntimeError("training wrote before it refused") from None
            raise


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points; the sizes of the sets do not matter."""
    if find_spec("lightning") is None:
        return {}
    text: dict[str, Wrong] = {"text": always("abc"), **MISSING}
    choice: dict[str, Wrong] = {**text, "a number": always(3)}
    truth: dict[str, Wrong] = {**text, "a number": always(1)}
    return {
        "train": Entry(
            trained,
            {
                "problem": Dots(),
                "model": model_of(Dots(), channels=2, hidden_channels=8),
                "schedule": Schedule(num_steps=1, batch_size=2),
                "accelerator": "cpu",
                "progress": False,
            },
            {
                "problem": text,
                "model": text,
                "schedule": text,
                "output": {**MISSING, "a number": always(3)},
                "seed": count(0),
                **{
                    name: count(1)
                    for name in ("devices", "num_nodes", "checkpoint_every", "log_every")
                },
                "accelerator": choice,
                "strategy": choice,
                "precision": choice,
                "resume": truth,
                "progress": truth,
            },
        )
    }
