"""Models on disk: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compvae_pyg.models.registry import build_architecture

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE

__all__ = ["load_model", "save_model"]

_FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_SHIPPED = Path(__file__).parents[1] / "weights"


def save_model(model: CompVAE, folder: str | os.PathLike[str]) -> None:
    """Write a model into a folder; each file replaces its predecessor at once or not at all.

    Raises:
        ValueError: If the model was not built by a registered architecture.
        ImportError: If the package safetensors is missing.
    """
    if model.config is None:
        raise ValueError(
            "only models of a registered architecture can be saved; "
            "see compvae_pyg.models.register_architecture"
        )
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError("saving needs safetensors: pip install 'compvae-pyg[hub]'") from error
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    config = json.dumps({"format_version": _FORMAT_VERSION, **model.config}, indent=2) + "\n"
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    # Process-wise names, so that two writers do not share a half-written file.
    weights_part = path / f".{WEIGHTS}.{os.getpid()}"
    config_part = path / f".{CONFIG}.{os.getpid()}"
    try:
        save_file(state, weights_part, metadata={"format": "pt"})
        config_part.write_text(config, encoding="utf-8")
        # safetensors keeps its files to their owner; weights are as public as their config.
        shutil.copymode(config_part, weights_part)
        os.replace(weights_part, path / WEIGHTS)
        os.replace(config_part, path / CONFIG)
    finally:
        weights_part.unlink(missing_ok=True)
        config_part.unlink(missing_ok=True)


def load_model(folder: str | os.PathLike[str]) -> CompVAE:
    """Read a model from a folder, or one that the package ships by its name.

    It comes on the CPU and in evaluation mode. A folder goes before a shipped model of its name.

    Raises:
        FileNotFoundError: If the folder holds no model.
        ValueError: If a file is damaged, or weights and networks do not belong together.
        ImportError: If the package safetensors is missing.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError("loading needs safetensors: pip install 'compvae-pyg[hub]'") from error
    path = Path(folder)
    if not path.exists():
        shipped = sorted(entry.name for entry in _SHIPPED.iterdir() if entry.is_dir())
        if str(folder) not in shipped:
            raise FileNotFoundError(
                f"no folder {path}, and no model of that name is shipped (shipped: "
                f"{', '.join(shipped)})"
            )
        path = _SHIPPED / str(folder)
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise FileNotFoundError(f"no {name} in {path}: it holds no saved model")
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        version = config["format_version"]
        architecture, options = config["architecture"], dict(config["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path / CONFIG} is damaged or no model's config ({error})") from error
    if version != _FORMAT_VERSION:
        raise ValueError(
            f"{path / CONFIG} has format {version} (this release reads {_FORMAT_VERSION})"
        )
    model = build_architecture(architecture, **options)
    try:
        state = load_file(path / WEIGHTS)
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{path / WEIGHTS} is damaged ({error})") from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        wrong = sorted(
            name for name in {*expected, *found} if expected.get(name) != found.get(name)
        )
        got, wanted = found.get(wrong[0], "nothing"), expected.get(wrong[0], "nothing")
        raise ValueError(
            f"{path / WEIGHTS} does not fit {architecture!r}: {len(wrong)} tensors differ, first "
            f"{wrong[0]} (got {got}, expected {wanted})"
        )
    dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(dtypes) == 1:
        model.to(dtypes.pop())
    model.load_state_dict(state)
    return model.eval()
