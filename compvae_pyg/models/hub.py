"""Models in folders and on the Hugging Face hub: ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import mmap
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, wraps
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compvae_pyg import hub_requests
from compvae_pyg.distributions.random_source import DrawFrom
from compvae_pyg.files import locked, sync_folder
from compvae_pyg.hub_requests import extra, first_line, is_repo
from compvae_pyg.nn.checks import check_choice, check_type

__all__ = ["PretrainedMixin", "build_architecture", "model_card", "register_architecture"]

Model = TypeVar("Model", bound="PretrainedMixin")

_BUILDERS: dict[str, dict[str, Callable[..., Any]]] = {}
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FORMAT_VERSION = 4
_NETWORKS = {"problem": str, "parameters": dict, "preset": str, "options": dict}
_DIGESTS = {"weights_sha256": str, "config_sha256": str}
_FIELDS = {"format_version": int, **_NETWORKS, **_DIGESTS}
_MAX_CONFIG_BYTES = 2**20
_SECONDS_OF_RETRIES = 1.0
_UNREADABLE = (AttributeError, OSError, RuntimeError, ValueError)
_FLOATS = {str(d): d for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}
_CARD = """---
{license}library_name: compvae-pyg
tags: [compvae, graph-neural-networks, pytorch-geometric, vae]
---

# {config[problem]}, {config[preset]}

A compositional variational autoencoder
([Berger & Sebag, ECML PKDD 2019](https://inria.hal.science/hal-02431955)) of the problem
`{config[problem]}`, preset `{config[preset]}`: {parameters:,} parameters, latents of
{encoder.w_channels} channels for each part and {encoder.z_channels} for each whole.

```python
from compvae_pyg import CompVAE

model = CompVAE.from_pretrained("{repo_id}")
```

## Evaluation

{evaluation}
"""


def register_architecture(
    problem: str, preset: str, builder: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Register a function that builds a model, so that its models can be saved and loaded.

    Args:
        problem: Name of the problem that the networks are for.
        preset: Name of this set of networks among those of the problem.
        builder: Function of keyword arguments that JSON can hold, returned with its models
            remembering them. Loading calls it again: the module that registers it must have been
            imported. Left out, the call is a decorator.

    Raises:
        TypeError: If a name is not a string.
        ValueError: If another function has the names already.

    Example:
        >>> def build(hidden_channels: int = 64):
        ...     return build_architecture("dots", "small", hidden_channels=hidden_channels)
        >>> build = register_architecture("my-dots", "tiny", build)
        >>> build(hidden_channels=32).config["options"]
        {'hidden_channels': 32}
    """
    check_type(problem, "problem", str)
    check_type(preset, "preset", str)
    if builder is None:
        return partial(register_architecture, problem, preset)
    known = _BUILDERS.get(problem, {}).get(preset, builder)
    if (known.__module__, known.__qualname__) != (builder.__module__, builder.__qualname__):
        raise ValueError(f"preset must be a new one of {problem!r} (got {preset!r})")

    @wraps(builder)
    def build(**options: Any) -> PretrainedMixin:
        model = builder(**options)
        check_type(model, "the result of builder", PretrainedMixin)
        # Plain values: checkpoints of training hold it too, and are loaded without any code.
        plain = _as_dicts(options)
        model.config = dict(problem=problem, parameters={}, preset=preset, options=plain)
        return model

    _BUILDERS.setdefault(problem, {})[preset] = build
    return build


def _load_problems() -> None:
    """Import the problems of the package, which register their networks."""
    importlib.import_module("compvae_pyg.problems")


def _as_dicts(value: Any) -> Any:
    """Return dictionaries in place of subclasses of theirs."""
    return {k: _as_dicts(v) for k, v in value.items()} if isinstance(value, dict) else value


def build_architecture(problem: str, preset: str, **options: Any) -> Any:
    """Build the networks of a preset that is registered for a problem, untrained.

    Raises:
        ValueError: If there is no such preset, or it does not take an option.

    Example:
        >>> build_architecture("sines", "small", num_categories=3).event_shape
        (200,)
    """
    _load_problems()
    check_choice(problem, "problem", sorted(_BUILDERS))
    check_choice(preset, "preset", sorted(_BUILDERS[problem]))
    try:
        return _BUILDERS[problem][preset](**options)
    except TypeError as error:
        message = f"preset {preset!r} of {problem!r} cannot be built: {first_line(error)}"
        raise ValueError(message) from error


class PretrainedMixin(nn.Module):
    """A module that can be saved in a folder, read from there, and shared on the hub.

    Methods and arguments have the names of those of ``huggingface_hub.PyTorchModelHubMixin``. A
    subclass keeps the arguments of its constructor as attributes of the same names.

    Attributes:
        config: Names of problem and preset, parameters of the problem and options of the networks,
            which rebuild the model; ``None`` unless a registered architecture built it.

    Raises:
        TypeError: By all methods, if an argument is of another type.
        ImportError: If safetensors or, where the hub is asked, its client is missing.

    Example:
        >>> from compvae_pyg import CompVAE
        >>> issubclass(CompVAE, PretrainedMixin)
        True
        >>> CompVAE.from_pretrained("dots-small").config["preset"]
        'small'
    """

    config: dict[str, Any] | None = None
    encoder: Any

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, or replace them together.

        Before that, the networks are rebuilt from the config and compared with the model: classes
        of all modules, their plain attributes, names, shapes and kinds of their tensors, and which
        of these share memory. Hooks, and values of buffers that are not saved, are not compared.

        Raises:
            ValueError: If the config does not rebuild the model; nothing is written then.
        """
        check_type(save_directory, "save_directory", str, os.PathLike)
        if self.config is None:
            raise ValueError("model must be of a registered architecture to be saved (got another)")
        state = self.state_dict()
        for name, value in state.items():
            if type(value) is not Tensor or value.is_meta or value.layout != torch.strided:
                got = str(value).split("\n")[0][:40]
                raise ValueError(f"{name} must be a dense tensor in memory (got {got})")
        fields = {"format_version": _FORMAT_VERSION, **self.config, **dict.fromkeys(_DIGESTS, "")}
        try:
            text = json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options must be what JSON can hold ({first_line(error)})") from error
        config = _parse_config(text.encode(), "the model's config")
        rebuilt = _describe(type(self)._skeleton(config, state))
        _check_same(_describe(self), rebuilt, "model must be what its config builds")
        for name, parameter in self.named_parameters():
            _check_finite(parameter, name)
        buffers = {name: str(b.dtype) for name, b in self.named_buffers() if name not in state}
        _write(Path(save_directory), config, state, buffers)

    @classmethod
    def from_pretrained(
        cls: type[Model],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> Model:
        """Read a model that was saved, on the CPU, in evaluation mode; no code in it is executed.

        Args:
            pretrained_model_name_or_path: A folder of :meth:`save_pretrained`; or else the name of
                a model that the package ships, ``"dots-small"``, or of one on the hub,
                ``"owner/name"``. The hub is not asked where ``owner`` is a folder here, or
                ``outputs``, unless one of its options is given.
            force_download, token, cache_dir, local_files_only, revision: How to fetch it from the
                hub, as for ``huggingface_hub.snapshot_download``. It has 10 s for an answer, and a
                transfer ends after 30 s in which nothing comes.

        Raises:
            FileNotFoundError: If there is no such model, or the hub cannot be reached.
            ValueError: If a file is damaged, or files and networks do not belong together.
            TypeError: If a subclass does not take the arguments of its base class.

        Example:
            >>> from compvae_pyg import CompVAE
            >>> CompVAE.from_pretrained("dots-small").event_shape
            (3, 32, 32)
        """
        name = pretrained_model_name_or_path
        check_type(name, "pretrained_model_name_or_path", str, os.PathLike)
        asked = force_download, token, cache_dir, local_files_only, revision
        for (option, kinds), value in zip(hub_requests.OPTIONS.items(), asked, strict=True):
            check_type(value, option, *kinds)
        folder, weights = Path(name), Path(__file__).parents[1] / "weights"
        shipped = {entry.name: entry for entry in sorted(weights.iterdir()) if entry.is_dir()}
        if not folder.exists() and str(name) in shipped:
            folder = shipped[str(name)]
        elif not folder.exists():
            local = asked == (False, None, None, False, None) and (
                folder.parts[0] == "outputs" or Path(folder.parts[0]).is_dir()
            )
            if local or not isinstance(name, str) or not is_repo(name):
                missing = f"no folder {folder}, and no model of that name is shipped"
                raise FileNotFoundError(f"{missing} (shipped: {', '.join(shipped)})")
            folder = hub_requests.fetch(name, (_CONFIG, _WEIGHTS), *asked)
        _load_problems()
        config, state, buffers = _read(folder, cls._check_fits)
        model = cls._rebuild(config, "cpu")
        for n, _ in model.named_parameters():
            _check_finite(state[n], f"{folder / _WEIGHTS}: {n}")
        for n, tensor in chain(model.named_parameters(), model.named_buffers()):
            dtype = state[n].dtype if n in state else _FLOATS.get(buffers.get(n, ""), tensor.dtype)
            tensor.data = tensor.data.to(dtype)
        model.load_state_dict(state)
        return model.eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        evaluation: str = "",
        license: str | None = None,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the model and its card to the hub in one commit, and return the commit's address.

        The card is that of :func:`model_card`, with the SHA-256 of the weights.

        Args:
            repo_id: Name of the repository, ``"owner/name"``; made if need be.
            evaluation, license: As for :func:`model_card`.
            commit_message, private, token, branch, create_pr: As for the hub's own mixin.

        Raises:
            ValueError: If a name is not valid, or the config does not rebuild the model; the hub is
                not asked for anything then.
            ConnectionError: If the hub does not answer within 10 s, or the upload takes longer than
                30 s and 10 s for each megabyte.
        """
        card = model_card(self, repo_id, evaluation=evaluation, license=license)
        check_type(commit_message, "commit_message", str)
        for name, flag in (("private", private), ("create_pr", create_pr)):
            check_type(flag, name, bool, NoneType)
        for name, text in (("token", token), ("branch", branch)):
            check_type(text, name, str, NoneType)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            digest = json.loads((Path(folder) / _CONFIG).read_bytes())["weights_sha256"]
            card += f"\n## Files\n\nSHA-256 of `{_WEIGHTS}`: `{digest}`\n"
            (Path(folder) / "README.md").write_text(card, encoding="utf-8")
            who: Any = {"token": token, "private": private, "revision": branch}
            what: Any = {"commit_message": commit_message, "create_pr": create_pr}
            return hub_requests.upload(repo_id, folder, **who, **what)

    @classmethod
    def _check_fits(
        cls: type[Model], config: dict[str, Any], header: dict[str, Tensor], file: Path
    ) -> None:
        """Raise unless a config builds what the header of its weights says, before it is built."""
        skeleton = cls._skeleton(config, header).state_dict()
        expected, found = ({n: _kind(v) for n, v in s.items()} for s in (skeleton, header))
        what = f"{file} must fit preset {config['preset']!r} of {config['problem']!r}"
        _check_same(found, expected, what)

    @classmethod
    def _skeleton(cls: type[Model], config: dict[str, Any], state: dict[str, Tensor]) -> Model:
        """Rebuild a model without memory for its tensors, where its code permits that."""
        for device in ("meta", "cpu"):
            try:
                with _Allowance(state):
                    return cls._rebuild(config, device)
            except _TooLargeError as error:
                raise ValueError(f"{_CONFIG} must fit the weights ({first_line(error)})") from error
            except Exception:
                if device == "cpu":
                    raise
        raise AssertionError

    @classmethod
    def _rebuild(cls: type[Model], config: dict[str, Any], device: str) -> Model:
        """Build the networks of a config as this class, with the global random state untouched."""
        source = DrawFrom([torch.Generator().manual_seed(0)])
        with source, torch.inference_mode(False), torch.device(device):
            try:
                model = build_architecture(config["problem"], config["preset"], **config["options"])
            except _TooLargeError:
                raise
            except Exception as error:
                raise ValueError(f"{_CONFIG} must name networks: {first_line(error)}") from error
            if not isinstance(model, cls):
                names = [n for n in inspect.signature(type(model)).parameters if hasattr(model, n)]
                try:
                    model = cls(**{n: getattr(model, n) for n in names})
                except TypeError as error:
                    message = (
                        f"{cls.__name__} must take {', '.join(names)} (got {first_line(error)})"
                    )
                    raise TypeError(message) from error
        model.config = {name: config[name] for name in _NETWORKS}
        return model


def model_card(
    model: PretrainedMixin, repo_id: str, *, evaluation: str = "", license: str | None = None
) -> str:
    """Return the text of a model's ``README.md`` on the hub.

    Args:
        model: A model of a registered architecture.
        repo_id: Name of the repository, ``"owner/name"``.
        evaluation: How good it is, in Markdown, such as a table, with what it was measured on.
        license: The hub's name for the licence of the weights, ``"mit"``; by default none is named.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a name is not valid, or the model is of no registered architecture.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> card = model_card(Dots().build("small"), "me/dots", evaluation="| K |", license="mit")
        >>> "license: mit" in card, "| K |" in card
        (True, True)
    """
    if not is_repo(repo_id):
        got = repr(repo_id) if isinstance(repo_id, str) else type(repo_id).__name__
        raise ValueError(f"repo_id must be 'owner/name' (got {got})")
    check_type(model, "model", PretrainedMixin)
    check_type(evaluation, "evaluation", str)
    check_type(license, "license", str, NoneType)
    if license is not None and not re.fullmatch(r"[\w.-]+", license):
        raise ValueError(f"license must be the hub's name of one (got {license!r})")
    if model.config is None:
        raise ValueError("model must be of a registered architecture to have a card (got another)")
    return _CARD.format(
        license="" if license is None else f"license: {license}\n",
        config=model.config,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        encoder=model.encoder,
        repo_id=repo_id,
        evaluation=evaluation.strip() or "None was given.",
    )


class _TooLargeError(Exception):
    """What a config builds has no place in its weights."""


class _Allowance(TorchDispatchMode):
    """Let networks be built as far as their weights, by their number and memory, can be theirs."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.bytes = 2**28 + 4 * sum(v.numel() * v.element_size() for v in state.values())
        self.steps = 1000 + 50 * len(state)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options, self.steps = dict(kwargs or {}), self.steps - 1
        if self.steps < 0:
            raise _TooLargeError("it builds many more layers than have weights")
        device = torch.device(options.get("device") or "cpu")
        if device.type != "meta" and any(a.name == "device" for a in func._schema.arguments):
            made = func(*args, **{**options, "device": "meta", "pin_memory": None})
            self.bytes -= made.numel() * made.element_size()
            if self.bytes < 0:
                raise _TooLargeError("it builds networks much larger than the weights")
        return func(*args, **options)


def _check_finite(value: Tensor, name: str) -> None:
    if not bool(value.detach().isfinite().all()):
        raise ValueError(f"{name} must be finite (got {int((~value.isfinite()).sum())} others)")


def _check_same(got: dict[str, str], expected: dict[str, str], demand: str) -> None:
    for name in {**expected, **got}:
        if got.get(name) != expected.get(name):
            both = f"got {got.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}"
            raise ValueError(f"{demand}: {name or 'its class'} ({both})")


def _describe(model: nn.Module) -> dict[str, str]:
    """Return what a model consists of, by name: modules and plain attributes, then tensors."""
    out: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        out[path] = f"{type(module).__module__}.{type(module).__qualname__}"
        for name, value in vars(module).items():
            if not name.startswith("_") and name != "training":
                out[f"{path}.{name}".removeprefix(".")] = _plain(value)
    state, owners = model.state_dict(), dict[tuple[int, int], str]()
    tensors = chain(model.named_parameters("", True, False), model.named_buffers("", True, False))
    for name, tensor in tensors:
        place = (tensor.untyped_storage()._cdata, int(tensor.storage_offset()))
        owner = owners.setdefault(place, name)
        out[name] = "a parameter, " if isinstance(tensor, nn.Parameter) else "a buffer, "
        out[name] += _kind(tensor) + ("" if name in state else ", not saved")
        out[name] += "" if owner == name else f", tied to {owner}"
    return out


def _plain(value: Any) -> str:
    """Return numbers, strings and sequences of these in full, and of the rest what it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_plain, value))})"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _kind(tensor: Tensor) -> str:
    kind = "floating-point numbers" if str(tensor.dtype) in _FLOATS else tensor.dtype
    return f"{list(tensor.shape)} of {kind}"


def _write(
    folder: Path, config: dict[str, Any], state: dict[str, Tensor], buffers: dict[str, str]
) -> None:
    """Write both files beside those that they replace, and then replace these together."""
    tensors, seen = {}, set()
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage()._cdata
        tensors[name] = value.clone() if place in seen else value
        seen.add(place)
    save_file = extra("safetensors.torch").save_file
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as beside:
        new = Path(beside)
        # One entry, since safetensors writes several in any order.
        try:
            save_file(tensors, new / _WEIGHTS, metadata={"buffers": json.dumps(buffers)})
        except extra("safetensors").SafetensorError as error:  # a full disk, for instance
            raise OSError(f"weights cannot be written to {folder}: {error}") from error
        with (new / _WEIGHTS).open("rb+") as weights, (new / _CONFIG).open("wb") as text:
            config.update(weights_sha256=_sha256(weights), config_sha256="")
            plain = (json.dumps(config, indent=2) + "\n").encode()
            config["config_sha256"] = _config_sha256(plain)
            text.write((json.dumps(config, indent=2) + "\n").encode())
            text.flush()
            os.fsync(weights.fileno())
            os.fsync(text.fileno())
        # safetensors keeps its files to their owner; weights are as public as their config.
        shutil.copymode(new / _CONFIG, new / _WEIGHTS)
        with locked(folder):
            for name in (_WEIGHTS, _CONFIG):
                os.replace(new / name, folder / name)
            sync_folder(folder)


def _read(
    folder: Path, check: Callable[[dict[str, Any], dict[str, Tensor], Path], None]
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """Read a config, the weights that belong to it, and the types of buffers without weights.

    Weights whose header does not pass the check are not read.
    """
    safetensors = extra("safetensors")
    config_file, weights_file = folder / _CONFIG, folder / _WEIGHTS
    for path in (config_file, weights_file):
        if not path.is_file():
            raise FileNotFoundError(f"no {path.name} in {folder}: it holds no saved model")
    last, deadline = ("", ""), 0.0
    while True:
        with config_file.open("rb") as file:
            config = _parse_config(file.read(_MAX_CONFIG_BYTES + 1), str(config_file), True)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(weights_file.open("rb"))
                read = stack.enter_context(safetensors.safe_open(weights_file, "pt"))
                # If the hashed file is still in its place, it is the one that was opened.
                same = os.path.samestat(os.fstat(file.fileno()), weights_file.stat())
                pair = (config["weights_sha256"], _sha256(file))
                header = {name: _header(read, name) for name in read.keys()}
                buffers = json.loads((read.metadata() or {}).get("buffers", "{}"))
                buffers = {name: str(kind) for name, kind in buffers.items()}
            except (safetensors.SafetensorError, *_UNREADABLE) as error:
                raise ValueError(f"{weights_file} is damaged ({first_line(error)})") from error
            if same and pair[0] == pair[1]:
                check(config, header, weights_file)
                return config, {name: read.get_tensor(name) for name in header}, buffers
        # A writer may be between its two files: wait as long as they change.
        if pair != last:
            last, deadline = pair, time.monotonic() + _SECONDS_OF_RETRIES
        elif time.monotonic() > deadline:
            raise ValueError(f"{weights_file} must be that of {config_file} (got another SHA-256)")
        time.sleep(0.02)


def _header(read: Any, name: str) -> Tensor:
    """Return a tensor without memory, of the type and shape of one in a file of weights."""
    entry = read.get_slice(name)
    shape = entry.get_shape()
    dtype = (entry[:0] if shape else read.get_tensor(name)).dtype
    return torch.empty(shape, dtype=dtype, device="meta")


def _config_sha256(text: bytes, digest: str = "") -> str:
    """Return the SHA-256 of a config without its own digest, whatever ends its lines."""
    plain = text.replace(b'"%s"' % digest.encode(), b'""').replace(b"\r\n", b"\n")
    return hashlib.sha256(plain).hexdigest()


def _sha256(file: BinaryIO) -> str:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()


def _parse_config(data: bytes, name: str, digest: bool = False) -> dict[str, Any]:
    try:
        if len(data) > _MAX_CONFIG_BYTES:
            raise ValueError(f"more than {_MAX_CONFIG_BYTES} bytes")
        config = json.loads(data)
        version = config["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is damaged or no model's config ({first_line(error)})") from error
    if version != _FORMAT_VERSION:
        raise ValueError(f"{name} has format {version!r} (this release reads {_FORMAT_VERSION})")
    for field in sorted({*config, *_FIELDS}):
        if field not in config or type(config[field]) is not _FIELDS.get(field):
            raise ValueError(f"{name} is damaged: {field!r} is missing, of another type or unknown")
    if digest and _config_sha256(data, config["config_sha256"]) != config["config_sha256"]:
        raise ValueError(f"{name} is damaged or was changed (its SHA-256 is another)")
    return dict(config)
