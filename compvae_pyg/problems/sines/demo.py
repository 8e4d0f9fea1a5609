"""The demo of the sines: what its tab shows."""

from __future__ import annotations

from typing import Any

import torch

from compvae_pyg.demo.alternative_text import alternative_text
from compvae_pyg.models import CompVAE
from compvae_pyg.problems.sines.problem import Sines

__all__ = ["add_tab", "draw_curves"]

LARGEST_COUNT = 8
NUM_DRAWN = 5

PLOTS = {
    "curves": "A curve of the model and a true one, of",
    "draws": "Several curves of the model, of",
}


@torch.no_grad()
def draw_curves(
    model: CompVAE, counts: list[int], seed: int, number: int = 1
) -> dict[str, list[Any]]:
    """Draw curves of the model and one of the ground truth, of counts of waves, as table columns.

    Without any waves all are flat.

    Example:
        >>> table = draw_curves(Sines().build("small"), [1] + 9 * [0], seed=0)
        >>> len(table["t"]), sorted(set(table["curve"]))
        (400, ['ground truth', 'model'])
    """
    count, kinds = torch.tensor(counts), torch.arange(len(counts))
    sines, generator = Sines(num_categories=len(counts)), torch.Generator().manual_seed(seed)
    length = sines.num_samples
    if sum(counts) == 0:
        curves = torch.zeros(number + 1, length)
    else:
        batch = torch.arange(number).repeat_interleave(len(counts))
        parts = {"category": kinds.repeat(number)}
        drawn = model.generate(parts, batch, count=count.repeat(number), generator=generator)
        waves = kinds.repeat_interleave(count)
        truth = sines.draw(waves, torch.zeros_like(waves), 1, generator)
        curves = torch.cat([drawn, truth])
    names = ["model"] if number == 1 else [str(n + 1) for n in range(number)]
    return {
        "t": (number + 1) * list(range(length)),
        "x": curves.flatten().tolist(),
        "curve": [name for name in (*names, "ground truth") for _ in range(length)],
    }


def add_tab(gr: Any, app: Any, model: CompVAE) -> None:
    """Add counts of waves and their curves, in Gradio, ``gr``, to the page ``app``."""
    import pandas

    seed = gr.State(0)
    present, counts = [], []
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            look = {"x": "t", "y": "x", "color": "curve", "y_axis_format": ".4~r"}
            plot = gr.LinePlot(title="one draw of each", height=360, elem_id="curves", **look)
            draws = gr.LinePlot(
                title=f"{NUM_DRAWN} draws of the model", height=260, elem_id="draws",
                color_title="draw", **look,
            )  # fmt: skip
            again = gr.Button("Draw again", elem_id="again")
            gr.Markdown(
                "Amplitudes and phases are not given: the curves share their frequencies only."
            )
        with gr.Column(scale=1, min_width=320):
            for category in range(Sines().num_categories):
                with gr.Row():
                    names = {"label": f"frequency {category + 1}", "elem_id": f"present-{category}"}
                    present.append(gr.Checkbox(category in (1, 4), min_width=120, **names))
                    label = f"waves of frequency {category + 1}"
                    names = {"label": label, "elem_id": f"count-{category}"}
                    shown: dict[str, Any] = {"value": 1, "min_width": 120}
                    counts.append(gr.Slider(1, LARGEST_COUNT, step=1, **shown, **names))
    waves = gr.Textbox(visible="hidden", elem_id="waves")

    def show(seed: int, *chosen: Any) -> Any:
        half = len(chosen) // 2
        pairs = zip(chosen[:half], chosen[half:], strict=True)
        number = [int(n) * on for on, n in pairs]
        one = pandas.DataFrame(draw_curves(model, number, seed))
        many = pandas.DataFrame(draw_curves(model, number, seed, NUM_DRAWN))
        many = many[many["curve"] != "ground truth"]
        text = ", ".join(f"{n} of frequency {k + 1}" for k, n in enumerate(number) if n)
        # Limits of the axes stay: those that change with what is shown can leave the page with what
        # was shown before.
        return one, many, text or "no waves"

    inputs, outputs = [seed, *present, *counts], [plot, draws, waves]
    quick: dict[str, Any] = {"show_progress": "hidden"}
    app.load(show, inputs, outputs)
    app.load(None, js=alternative_text("waves", PLOTS))
    for box, count in zip(present, counts, strict=True):
        box.change(show, inputs, outputs, **quick)
        # Who says how many waves there are says that there are some.
        given = count.input(lambda: True, None, box, trigger_mode="always_last", **quick)
        given.then(show, inputs, outputs, **quick)
    again.click(lambda seed: seed + 1, seed, seed).then(show, inputs, outputs)
