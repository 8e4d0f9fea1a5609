"""What a run can be resumed from: its checkpoints, with its random state and its identity."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from compvae_pyg.nn.checks import check_count

__all__ = ["AtomicCheckpointIO", "LastCheckpoint", "flat"]

_FORMAT_VERSION = 2
# With several ranks, those that were asked to stop have to agree, which is not free.
_STEPS_TO_AGREE = 25


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints such that there is the new file or the old one, complete."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Write a file beside the one of the path, and put it in its place, or raise an OSError."""
        path, partial, content = Path(path), Path(f"{path}.partial"), io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            kept = "the last one is as it was" if path.exists() else "there is none before it"
            reason = f"no checkpoint could be written ({error.strerror}); {kept}"
            raise OSError(error.errno, reason, str(path)) from error


class LastCheckpoint(ModelCheckpoint):
    """Saves the state of training every few steps, at the end, and when asked to stop.

    On Ctrl-C the step at hand is finished, the file is saved and training ends; a second Ctrl-C
    does not wait. A ``SIGTERM`` is heeded likewise.

    When training begins, it seeds torch's global random state, for each rank apart; when it is
    resumed, it restores it. All checkpoints of the Trainer, also of other callbacks, hold these
    states and the identity of the run.

    Args:
        path: The file, which is replaced each time.
        every: Steps from one save to the next.
        run: What makes this run another than others, see ``flat``.
        seed: Seed of the random state, not negative.

    Attributes:
        interrupted: Whether Ctrl-C ended training.
    """

    def __init__(
        self, path: str | Path, every: int, run: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        check_count(every, "every")
        check_count(seed, "seed", at_least=0)
        options = {"save_last": True, "save_top_k": 0, "enable_version_counter": False}
        super().__init__(Path(path).parent, every_n_train_steps=every, **options)  # type: ignore[arg-type]
        self.CHECKPOINT_NAME_LAST = Path(path).stem
        self.path, self.run, self.seed = Path(path), dict(flat(run or {})), seed
        self.interrupted = self._asked = False
        self._step = 0
        self._handler: Any = None
        self._random_state: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen for Ctrl-C, and set the random state after all else that draws from it."""
        super().on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self.interrupted = self._asked = False
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._on_interrupt)
        if self._random_state is None:
            # The spawn key sets these seeds apart from those of the data.
            sequence = np.random.SeedSequence([self.seed, trainer.global_rank], spawn_key=(0,))
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
            return
        torch.set_rng_state(self._random_state["cpu"])
        if "cuda" in self._random_state and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(self._random_state["cuda"], pl_module.device)
        self._random_state = None

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Save if it is time to, or training ends with this step."""
        super().on_train_batch_end(trainer, *args)
        if trainer.global_step > self._step:  # or else gradients are accumulated
            self._step = trainer.global_step
            self.interrupted = self._stop(trainer)
            trainer.should_stop |= self.interrupted
            if self.interrupted or self._step == trainer.max_steps:
                self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save where a callback ended training, and give Ctrl-C back."""
        self._save(trainer)
        self.on_exception()

    def on_exception(self, *args: Any) -> None:
        """Give Ctrl-C back."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the identity and the states of all ranks; every rank must call this."""
        state = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        states: list[Any] = [state] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, state)
        checkpoint.update(format_version=_FORMAT_VERSION, run=self.run, random_states=states)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this rank's state."""
        states, size = checkpoint["random_states"], trainer.world_size
        if len(states) != size:
            raise ValueError(f"devices must be as many as before (got {size}, not {len(states)})")
        self._random_state = states[trainer.global_rank]

    def read(self) -> dict[str, Any]:
        """Return the checkpoint; no code in it is executed.

        Raises:
            ValueError: If it is damaged, of another kind or format, or of another run: what differs
                is said.
        """
        try:
            checkpoint = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            there, version = checkpoint["run"], checkpoint["format_version"]
        except (RuntimeError, ValueError, EOFError, OSError, UnpicklingError) as error:
            # What torch says of it fills a screen.
            message = f"{self.path} is damaged or no checkpoint of tensors and plain values"
            raise ValueError(message) from error
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{self.path} is no checkpoint of a run of compvae_pyg") from error
        if version != _FORMAT_VERSION:
            raise ValueError(f"{self.path} has format {version} (expected {_FORMAT_VERSION})")
        differences = [
            f"{name} is {there.get(name, 'absent')} there and {self.run.get(name, 'absent')} here"
            for name in dict.fromkeys([*there, *self.run])
            if there.get(name) != self.run.get(name)
        ]
        if differences:
            more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
            text = "; ".join(differences[:4]) + more
            raise ValueError(f"{self.path} is the checkpoint of another run: {text}")
        return checkpoint

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step != self._last_global_step_saved:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _stop(self, trainer: L.Trainer) -> bool:
        asked = self._asked or trainer.received_sigterm
        if trainer.world_size == 1 or self._step % _STEPS_TO_AGREE:
            return asked and trainer.world_size == 1
        return trainer.strategy.reduce_boolean_decision(asked, all=False)

    def _on_interrupt(self, signum: int, frame: Any) -> None:
        if self._asked:
            signal.default_int_handler(signum, frame)
        self._asked = True
        print("\nstopping after this step (Ctrl-C again: at once)", file=sys.stderr, flush=True)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers and strings in a value, each with its path.

    Tensors and arrays are told apart by a digest, other things by the name of their type.

    Example:
        >>> dict(flat({"period": 100.0, "curves": [torch.zeros(2)]}))
        {'period': 100.0, 'curves.0': 'torch.float32 [2] af5570f5a181'}
    """
    if isinstance(value, (Mapping, list, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from flat(item, f"{name}.{key}" if name else str(key))
        return
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        value = f"{value.dtype} {list(value.shape)} {digest}"
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        value = type(value).__qualname__
    yield name, value
