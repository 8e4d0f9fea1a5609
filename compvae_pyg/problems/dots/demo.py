"""The demo of the dots: what its tab shows, and what a click does."""

from __future__ import annotations

from typing import Any

from compvae_pyg.models import CompVAE
from compvae_pyg.problems.dots.data import COLORS
from compvae_pyg.problems.dots.drawing import draw_sites, position_of
from compvae_pyg.problems.dots.scene import Scene

__all__ = ["add_tab", "drag", "edit"]

NAMES = list(COLORS)
TOOLS = ("add", "move", "recolour", "delete")

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


def add_tab(gr: Any, app: Any, model: CompVAE) -> None:
    """Add sites to be edited, in Gradio, ``gr``, to the page ``app``."""
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
