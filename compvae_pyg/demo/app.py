"""The page of the demo: what is shown, and what a click does."""

from __future__ import annotations

from typing import Any

import torch

from compvae_pyg.demo.drawing import draw_sites, position_of
from compvae_pyg.demo.scene import Scene
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import COLORS, Sines

__all__ = ["build_app"]

NAMES = list(COLORS)
TOOLS = ("add", "move", "recolour", "delete")
LARGEST_COUNT = 8

# Gradio reports clicks alone; a hidden field receives where the pointer went down and up.
WATCH_DRAGS = """
() => {
  let start = null;
  const at = (event) => {
    const image = event.target.closest?.("#model-image img, #true-image img");
    if (!image || document.querySelector("#tool input:checked")?.value !== "move") return null;
    const box = image.getBoundingClientRect();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    let scale = Math.max(width / box.width, height / box.height);
    if (getComputedStyle(image).objectFit === "scale-down") scale = Math.max(1, scale);
    return [
      (event.clientX - box.left - box.width / 2) * scale + width / 2,
      (event.clientY - box.top - box.height / 2) * scale + height / 2,
    ];
  };
  document.addEventListener("dragstart", (event) => { if (at(event)) event.preventDefault(); });
  document.addEventListener("pointerdown", (event) => { start = at(event); });
  document.addEventListener("pointerup", (event) => {
    const end = at(event);
    if (start && end) {
      const field = document.querySelector("#drag textarea, #drag input");
      field.value = [...start, ...end].join(" ");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    start = null;
  });
}
"""


def build_app(dots: str = "dots-small", sines: str = "sines-small") -> Any:
    """Return the Gradio page, to be started with its ``launch()``, of two models by their names.

    Raises:
        ImportError: If Gradio or safetensors is missing.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise ImportError("the demo needs Gradio: pip install 'compvae-pyg[demo]'") from error
    sites = CompVAE.from_pretrained(dots).requires_grad_(False)
    curves = CompVAE.from_pretrained(sines).requires_grad_(False)
    # Nothing of the page or of its use goes to another host.
    with gr.Blocks(title="CompVAE", analytics_enabled=False) as app:
        gr.Markdown("# Wholes made of parts\nThe model's wholes beside the ground truth.")
        with gr.Tab("Dots"):
            _dots_tab(gr, app, sites)
        with gr.Tab("Sines"):
            _sines_tab(gr, app, curves)
    return app


def _dots_tab(gr: Any, app: Any, model: CompVAE) -> None:
    scene = gr.State(None)
    with gr.Row():
        tool = gr.Radio(TOOLS, value="add", label="Tool", elem_id="tool")
        color = gr.Radio(NAMES, value="green", label="Colour", elem_id="color")
    gr.Markdown("Sites are moved by dragging them; all else is done by a click.")
    with gr.Row():
        model_image, true_image = (
            gr.Image(label=label, elem_id=name, format="png", interactive=False, buttons=[])
            for label, name in (("Model", "model-image"), ("Ground truth", "true-image"))
        )
    dragged = gr.Textbox(visible="hidden", elem_id="drag")
    noise = gr.Slider(0.0, 1.0, value=1.0, label="Intensity noise", elem_id="noise")
    with gr.Row():
        new_z = gr.Button("Draw z anew", elem_id="new-z")
        new_parts = gr.Button("Draw intensities anew", elem_id="new-parts")
        clear = gr.Button("Clear", elem_id="clear")
    outputs = [scene, model_image, true_image]

    def show(scene: Scene, noise: float) -> tuple[Any, ...]:
        return scene, *(draw_sites(image, scene.color, scene.pos) for image in scene.images(noise))

    def start(noise: float) -> tuple[Any, ...]:
        first = Scene.empty(model).add(0, (-0.5, -0.4)).add(2, (0.5, 0.3)).add(4, (-0.2, 0.6))
        return show(first, noise)

    def click(scene: Scene, tool: str, color: str, noise: float, event: gr.SelectData) -> Any:
        return show(edit(scene, tool, NAMES.index(color), event.index), noise)

    # Annotations are strings here, and Gradio has to see that it is to give an event.
    click.__annotations__["event"] = gr.SelectData

    def drop(scene: Scene, dragged: str, noise: float) -> tuple[Any, ...]:
        x, y, to_x, to_y = map(float, dragged.split())
        return show(drag(scene, (x, y), (to_x, to_y)), noise)

    app.load(start, noise, outputs)
    app.load(None, js=WATCH_DRAGS)
    for image in (model_image, true_image):
        image.select(click, [scene, tool, color, noise], outputs)
    dragged.change(drop, [scene, dragged, noise], outputs, show_progress="hidden")
    noise.change(show, [scene, noise], outputs, show_progress="hidden")
    new_z.click(lambda scene, noise: show(scene.resample_z(), noise), [scene, noise], outputs)
    new_parts.click(
        lambda scene, noise: show(scene.resample_parts(), noise), [scene, noise], outputs
    )
    clear.click(lambda noise: show(Scene.empty(model), noise), noise, outputs)


def edit(scene: Scene, tool: str, color: int, pixel: tuple[float, float]) -> Scene:
    """Return the scene after a click on a pixel (x, y) of the screen, with a tool and a colour."""
    pos = position_of(*pixel)
    if tool == "add":
        return scene.add(color, pos)
    nearest = scene.nearest(pos)
    if nearest is None or tool == "move":
        return scene
    return scene.remove(nearest) if tool == "delete" else scene.recolor(nearest, color)


def drag(scene: Scene, start: tuple[float, float], end: tuple[float, float]) -> Scene:
    """Return the scene after the site nearest to a pixel of the screen was moved to another."""
    nearest = scene.nearest(position_of(*start))
    return scene if nearest is None else scene.move(nearest, position_of(*end))


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


def _sines_tab(gr: Any, app: Any, model: CompVAE) -> None:
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
