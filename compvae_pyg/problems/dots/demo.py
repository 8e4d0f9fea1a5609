"""The demo of the dots: what its tab shows, and what a click, a drag or a slider does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from compvae_pyg.demo.alternative_text import alternative_text
from compvae_pyg.models import CompVAE
from compvae_pyg.problems.dots.data import COLORS
from compvae_pyg.problems.dots.drawing import draw_frame, draw_sites, position_of
from compvae_pyg.problems.dots.problem import Dots
from compvae_pyg.problems.dots.scene import Scene

__all__ = ["act", "add_tab", "describe", "draw_samples"]

NAMES = list(COLORS)
TOOLS = ("add", "select", "recolour", "delete")
NUM_DRAWN = 6
EMPTY = 0.85  # grey of an image without sites
HIT = 0.15  # how far a click or a finger may be from the site that it means

# Gradio reports clicks of a mouse alone; a hidden field receives what any pointer does to a
# picture. A pointer that goes up close to where it went down has clicked, else it has dragged.
WATCH_POINTERS = """
() => {
  const pictures = "#model-image img, #true-image img";
  const style = document.createElement("style");
  style.textContent = pictures + " { touch-action: none; cursor: crosshair; }";
  document.head.append(style);
  let start = null, number = 0;
  const at = (event, image) => {
    const box = image.getBoundingClientRect();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    let scale = Math.max(width / box.width, height / box.height);
    if (getComputedStyle(image).objectFit === "scale-down") scale = Math.max(1, scale);
    return [
      (event.clientX - box.left - box.width / 2) * scale + width / 2,
      (event.clientY - box.top - box.height / 2) * scale + height / 2,
    ];
  };
  document.addEventListener("dragstart", (event) => {
    if (event.target.closest?.(pictures)) event.preventDefault();
  });
  document.addEventListener("pointerdown", (event) => {
    const image = event.target.closest?.(pictures);
    start = image && { image, at: at(event, image), x: event.clientX, y: event.clientY };
  });
  document.addEventListener("pointercancel", () => { start = null; });
  document.addEventListener("pointerup", (event) => {
    if (!start) return;
    const far = Math.hypot(event.clientX - start.x, event.clientY - start.y) > 6;
    const end = at(event, start.image);
    const field = document.querySelector("#pointer textarea, #pointer input");
    field.value = [far ? "drag" : "click", number++, ...start.at, ...end].join(" ");
    field.dispatchEvent(new Event("input", { bubbles: true }));
    start = null;
  });
}
"""

PICTURES = {
    "model-image": "The model's image of",
    "true-image": "The true image of",
    "samples": "Several images of the model, above as many true ones, of",
}


def add_tab(gr: Any, app: Any, model: CompVAE) -> None:
    """Add sites to be edited, in Gradio, ``gr``, to the page ``app``."""
    scene = gr.State(None)
    with gr.Row():
        tool = gr.Radio(TOOLS, value="add", label="A click", elem_id="tool")
        color = gr.Radio(NAMES, value="green", label="Colour", elem_id="color")
    gr.Markdown("Sites are moved by dragging them, with a mouse or a finger, or by the sliders.")
    with gr.Row():
        model_image, true_image = (
            gr.Image(label=label, elem_id=name, format="png", interactive=False, buttons=[])
            for label, name in (("Model", "model-image"), ("Ground truth", "true-image"))
        )
    with gr.Row():
        site = gr.Dropdown([], label="Selected site", elem_id="site", min_width=240)
        x, y = (
            gr.Slider(-Dots.border, Dots.border, 0.0, step=0.05, label=label, elem_id=name)
            for label, name in (("Its place, to the right", "x"), ("Its place, downwards", "y"))
        )
    pointer = gr.Textbox(visible="hidden", elem_id="pointer")
    described = gr.Textbox(visible="hidden", elem_id="described")
    noise = gr.Slider(0.0, 1.0, value=1.0, label="Intensity noise", elem_id="noise")
    with gr.Row():
        new_z = gr.Button("Draw z anew", elem_id="new-z")
        new_parts = gr.Button("Draw intensities anew", elem_id="new-parts")
        clear = gr.Button("Clear", elem_id="clear")
    gr.Markdown(f"{NUM_DRAWN} draws of the model, above, and of the ground truth, of these sites:")
    look = {"format": "png", "interactive": False, "buttons": []}
    samples = gr.Image(show_label=False, elem_id="samples", **look)
    outputs = [scene, model_image, true_image, samples, described, site, x, y]

    def show(scene: Scene, noise: float, selected: int | None) -> tuple[Any, ...]:
        number = len(scene.pos)
        images = scene.images(noise) if number else 2 * [torch.full((3, 32, 32), EMPTY)]
        drawn = [draw_sites(image, scene.color, scene.pos) for image in images]
        names = [describe(scene, index) for index in range(number)]
        selected = None if selected is None or selected >= number else selected
        place = [0.0, 0.0] if selected is None else scene.pos[selected].tolist()
        choices = [(name, index) for index, name in enumerate(names)]
        dropdown = gr.Dropdown(choices=choices, value=selected)
        text = "; ".join(names) or "no sites"
        return (
            scene,
            *drawn,
            draw_samples(model, scene),
            text,
            dropdown,
            *(round(value, 2) for value in place),
        )

    def start(noise: float) -> tuple[Any, ...]:
        first = Scene.empty(model).add(0, (-0.5, -0.4)).add(2, (0.5, 0.3)).add(4, (-0.2, 0.6))
        return show(first, noise, 0)

    def point(
        scene: Scene, done: str, tool: str, color: str, noise: float, site: int | None
    ) -> tuple[Any, ...]:
        after, selected = act(scene, tool, NAMES.index(color), done)
        return show(after, noise, site if after is scene and selected is None else selected)

    def slide(scene: Scene, x: float, y: float, noise: float, site: int | None) -> tuple[Any, ...]:
        known = site is not None and site < len(scene.pos)
        return show(scene.move(site, (x, y)) if known else scene, noise, site)  # type: ignore[arg-type]

    quick: dict[str, Any] = {"show_progress": "hidden"}
    app.load(start, noise, outputs)
    app.load(None, js=WATCH_POINTERS)
    app.load(None, js=alternative_text("described", PICTURES))
    every: dict[str, Any] = {**quick, "trigger_mode": "multiple"}
    last: dict[str, Any] = {**quick, "trigger_mode": "always_last"}
    pointer.change(point, [scene, pointer, tool, color, noise, site], outputs, **every)
    for slider in (x, y):
        slider.input(slide, [scene, x, y, noise, site], outputs, **last)
    site.input(show, [scene, noise, site], outputs, **last)
    noise.input(show, [scene, noise, site], outputs, **last)
    for button, change in ((new_z, Scene.resample_z), (new_parts, Scene.resample_parts)):
        button.click(
            lambda scene, noise, site, change=change: show(change(scene), noise, site),
            [scene, noise, site],
            outputs,
        )
    clear.click(lambda noise: show(Scene.empty(model), noise, None), noise, outputs)


def act(scene: Scene, tool: str, color: int, done: str) -> tuple[Scene, int | None]:
    """Return the scene after a pointer did something, and the site that it did it to, if any.

    ``done`` is ``"click"`` or ``"drag"``, a number, and the screen pixels, x and y, where the
    pointer went down and where it went up. A drag moves the site that it begins at, whatever the
    tool; a click uses the tool, and all tools but ``"add"`` need a site close by.

    Example:
        >>> scene = Scene.empty(Dots().build("small"))
        >>> act(scene, "add", 2, "click 0 190 100 190 100")[0].color
        tensor([2])
    """
    kind, _, *pixels = done.split()
    start_x, start_y, end_x, end_y = map(float, pixels)
    start = position_of(start_x, start_y)
    hit = scene.nearest(start)
    if hit is not None and (scene.pos[hit] - torch.tensor(start)).norm() > HIT:
        hit = None
    if kind == "drag":
        return (scene, None) if hit is None else (scene.move(hit, position_of(end_x, end_y)), hit)
    if tool == "add":
        return scene.add(color, start), len(scene.pos)
    if hit is None or tool == "select":
        return scene, hit
    if tool == "delete":
        return scene.remove(hit), None
    return scene.recolor(hit, color), hit


def describe(scene: Scene, index: int) -> str:
    """Return what a site is, and where."""
    x, y = (round(value, 2) + 0.0 for value in scene.pos[index].tolist())  # no -0.00
    return f"{index + 1}: {NAMES[int(scene.color[index])]} at ({x:.2f}, {y:.2f})"


@torch.no_grad()
def draw_samples(model: CompVAE, scene: Scene, number: int = NUM_DRAWN) -> Any:
    """Draw several images of the same sites, of the model above and true ones below."""
    if len(scene.pos) == 0:
        rows = torch.full((2, number, 3, 32, 32), EMPTY)
    else:
        sites = scene.composition.parts.repeat(number)
        truth = Dots().draw(sites["color"], sites["pos"], sites.batch, number)
        rows = torch.stack([model.generate(sites).clamp(0.0, 1.0), truth])
    return _mosaic(rows)


def _mosaic(images: Tensor, scale: int = 4, gap: int = 6) -> Any:
    """Return images ``[rows, columns, 3, H, W]`` beside each other on white, enlarged."""
    rows, columns, _, height, width = images.shape
    down, right = scale * height + gap, scale * width + gap
    sheet = np.full((rows * down - gap, columns * right - gap, 3), 255, dtype=np.uint8)
    bytes_ = (255.0 * images).round().to(torch.uint8)
    large = bytes_.repeat_interleave(scale, -1).repeat_interleave(scale, -2).permute(0, 1, 3, 4, 2)
    for row in range(rows):
        for column in range(columns):
            y, x = row * down, column * right
            cell = sheet[y : y + scale * height, x : x + scale * width]  # a view
            cell[:] = large[row, column].numpy()
            draw_frame(cell)
    return sheet
