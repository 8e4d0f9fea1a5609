"""The page of the demo: a tab for each model, of what its problem shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compvae_pyg.models import CompVAE
from compvae_pyg.problems import problem_of

__all__ = ["build_app"]


def build_app(models: Sequence[str] = ("dots-small", "sines-small")) -> Any:
    """Return the Gradio page, to be started with its ``launch()``, of models by their names.

    Raises:
        ImportError: If Gradio or safetensors is missing.
        ValueError: If the problem of a model has no demo.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise ImportError("the demo needs Gradio: pip install 'compvae-pyg[demo]'") from error
    loaded = [CompVAE.from_pretrained(name).requires_grad_(False) for name in models]
    problems = [problem_of(model) for model in loaded]
    for problem in problems:
        if not problem.has("add_demo"):
            raise ValueError(f"models must be of problems with a demo (got {problem.name!r})")
    # Nothing of the page or of its use goes to another host.
    with gr.Blocks(title="CompVAE", analytics_enabled=False) as app:
        gr.Markdown("# Wholes made of parts\nThe model's wholes beside the ground truth.")
        for problem, model in zip(problems, loaded, strict=True):
            with gr.Tab(problem.name.capitalize()):
                problem.add_demo(gr, app, model)
    return app
