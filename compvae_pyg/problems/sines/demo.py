"""The demo of the sines: what its tab shows."""

from __future__ import annotations

from typing import Any

import torch

from compvae_pyg.models import CompVAE
from compvae_pyg.problems.sines.problem import Sines

__all__ = ["add_tab", "draw_curves"]

LARGEST_COUNT = 8


def draw_curves(model: CompVAE, counts: list[int], seed: int) -> dict[str, list[Any]]:
    """Draw a curve of the model and of the ground truth, of counts of waves, as table columns.

    Example:
        >>> table = draw_curves(Sines().build("small"), [1] + 9 * [0], seed=0)
        >>> len(table["t"]), sorted(set(table["curve"]))
        (400, ['ground truth', 'model'])
    """
    count, kinds = torch.tensor(counts), torch.arange(len(counts))
    sines, generator = Sines(num_categories=len(counts)), torch.Generator().manual_seed(seed)
    drawn = model.generate({"category": kinds}, count=count, generator=generator)
    waves = kinds.repeat_interleave(count)
    truth = sines.draw(waves, torch.zeros_like(waves), 1, generator)
    length = sines.num_samples
    return {
        "t": 2 * list(range(length)),
        "x": [*drawn[0].tolist(), *truth[0].tolist()],
        "curve": length * ["model"] + length * ["ground truth"],
    }


def add_tab(gr: Any, app: Any, model: CompVAE) -> None:
    """Add counts of waves and their curves, in Gradio, ``gr``, to the page ``app``."""
    import pandas

    seed = gr.State(0)
    present, counts = [], []
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            for category in range(Sines().num_categories):
                with gr.Row():
                    names = {"label": f"frequency {category + 1}", "elem_id": f"present-{category}"}
                    present.append(gr.Checkbox(category in (1, 4), min_width=120, **names))
                    names = {"label": "count", "elem_id": f"count-{category}"}
                    shown: dict[str, Any] = {"value": 1, "show_label": False, "min_width": 120}
                    counts.append(gr.Slider(1, LARGEST_COUNT, step=1, **shown, **names))
        with gr.Column(scale=2):
            plot = gr.LinePlot(
                x="t", y="x", color="curve", title="one draw of each", height=420, elem_id="curves"
            )
            again = gr.Button("Draw again", elem_id="again")
            gr.Markdown(
                "Amplitudes and phases are not given: the two curves share their frequencies only."
            )

    def show(seed: int, *chosen: Any) -> Any:
        half = len(chosen) // 2
        pairs = zip(chosen[:half], chosen[half:], strict=True)
        return pandas.DataFrame(draw_curves(model, [int(n) * on for on, n in pairs], seed))

    inputs = [seed, *present, *counts]
    app.load(show, inputs, plot)
    for control in (*present, *counts):
        control.change(show, inputs, plot, show_progress="hidden")
    again.click(lambda seed: seed + 1, seed, seed).then(show, inputs, plot)
