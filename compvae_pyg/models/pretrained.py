"""Models on disk: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compvae_pyg.models.registry import build_architecture

if TYPE_CHECKING:
    from compvae_pyg.models.compvae import CompVAE
    from compvae_pyg.models.shared_model import SharedModel

__all__ = ["CONFIG", "WEIGHTS", "load_model", "save_model", "shipped_models"]

_FORMAT_VERSION = 2
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_FIELDS = {
    "format_version": int,
    "problem": str,
    "parameters": dict,
    "preset": str,
    "options": dict,
}


def shipped_models() -> dict[str, Path]:
    """Return the folders of the models that the package ships, by name.

    Example:
        >>> sorted(shipped_models())
        ['dots-small', 'sines-small']
    """
    weights = Path(__file__).parents[1] / "weights"
    return {entry.name: entry for entry in sorted(weights.iterdir()) if entry.is_dir()}


def save_model(model: SharedModel, folder: str | os.PathLike[str]) -> None:
    """Write a model into a folder; each file replaces its predecessor at once or not at all.

    Raises:
        ValueError: If the model was not built by a registered architecture, or from options that
            JSON cannot hold.
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
    try:
        config = json.dumps({"format_version": _FORMAT_VERSION, **model.config}, indent=2) + "\n"
    except TypeError as error:
        raise ValueError(f"the model's options must be what JSON can hold ({error})") from error
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
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


def load_model(folder: Path) -> CompVAE:
    """Read a model from a folder, onto the CPU and in evaluation mode.

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
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}: it holds no saved model")
    weights = folder / WEIGHTS
    config = _read_config(folder / CONFIG)
    try:
        model = build_architecture(config["problem"], config["preset"], **config["options"])
    except (ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{folder / CONFIG} tells of no networks here: {reason}") from error
    model.config = {name: config[name] for name in _FIELDS if name != "format_version"}
    try:
        state = load_file(weights)
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{weights} is damaged ({error})") from error
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if expected != found:
        names = {*expected, *found}
        wrong = sorted(name for name in names if expected.get(name) != found.get(name))
        got, wanted = found.get(wrong[0], "nothing"), expected.get(wrong[0], "nothing")
        raise ValueError(
            f"{weights} does not fit preset {config['preset']!r} of {config['problem']!r}: "
            f"{len(wrong)} tensors differ, first {wrong[0]} (got {got}, expected {wanted})"
        )
    dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
    if len(dtypes) == 1:
        model.to(dtypes.pop())
    model.load_state_dict(state)
    return model.eval()


def _read_config(path: Path) -> dict[str, Any]:
    """Read what a model was built from.

    Raises:
        ValueError: If the file is damaged, of another format, or no config of a model.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        version = config["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no model's config ({error})") from error
    # Before all else: what the fields of another format are is not known.
    if version != _FORMAT_VERSION:
        raise ValueError(f"{path} has format {version!r} (this release reads {_FORMAT_VERSION})")
    kinds = {name: type(value) for name, value in config.items()}
    if kinds != _FIELDS:
        wrong = sorted(name for name in {*kinds, *_FIELDS} if kinds.get(name) != _FIELDS.get(name))
        raise ValueError(f"{path} is damaged: {wrong[0]!r} is missing, of another type or unknown")
    return dict(config)
