"""The page of the demo: a tab for each model, of what its problem shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compvae_pyg.models import CompVAE
from compvae_pyg.problems import problem_of

__all__ = ["build_app"]

WEIGHTS = Path(__file__).parents[1] / "weights"


def build_app(models: Sequence[str] | None = None) -> Any:
    """Return the Gradio page, to be started with its ``launch()``, of models by their names.

    By default, it shows all models that are shipped and whose problems have a demo.

    Raises:
        ImportError: If Gradio or safetensors is missing.
        ValueError: If the problem of a model has no demo.

    Example:
        >>> build_app(["dots-small"]).launch()  # doctest: +SKIP
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise ImportError("the demo needs Gradio: pip install 'compvae-pyg[demo]'") from error
    shipped = sorted(path.name for path in WEIGHTS.iterdir() if path.is_dir())
    names = shipped if models is None else models
    loaded = [CompVAE.from_pretrained(name).requires_grad_(False) for name in names]
    problems = [problem_of(model) for model in loaded]
    for problem in problems if models is not None else ():
        if not problem.has("add_demo"):
            raise ValueError(f"models must be of problems with a demo (got {problem.name!r})")
    # Nothing of the page or of its use goes to another host.
    with gr.Blocks(title="CompVAE", analytics_enabled=False) as app:
        gr.Markdown("# Wholes made of parts\nWhat the shipped models generate of given parts.")
        for problem, model in zip(problems, loaded, strict=True):
            if problem.has("add_demo"):
                with gr.Tab(problem.name.capitalize()):
                    problem.add_demo(gr, app, model)
    return app
