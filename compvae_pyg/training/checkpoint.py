"""The checkpoint from which training is resumed."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from compvae_pyg.training.module import CompVAEModule

__all__ = ["LastCheckpoint", "check_same_run", "check_writable"]

_FORMAT_VERSION = 1


class LastCheckpoint(Checkpoint):
    """Saves the state of training every few steps, at the end, and when asked to stop.

    There is one file, and it is replaced as a whole: whatever happens, it is complete. On Ctrl-C
    the step at hand is finished, the file is saved and training ends; a second Ctrl-C does not
    wait. A ``SIGTERM`` is heeded likewise.

    Args:
        path: The file.
        every: Steps from one save to the next.
        run: What makes this run another than others, in plain values; kept in the file.

    Attributes:
        interrupted: Whether Ctrl-C ended training.
    """

    # With several ranks, those that were asked to stop have to agree, which is not free.
    _agree_every = 25

    def __init__(self, path: str | Path, every: int, run: Mapping[str, Any] | None = None) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 (got {every})")
        self.path = Path(path)
        self.every = every
        self.run = dict(run or {})
        self.interrupted = False
        self._asked = False
        self._handler: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen for Ctrl-C."""
        self.interrupted = self._asked = False
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._on_interrupt)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time to."""
        assert isinstance(pl_module, CompVAEModule)
        step, last = pl_module.step, pl_module.schedule.num_steps
        self.interrupted = self._stop(trainer, step)
        if step % self.every == 0 or step == last or self.interrupted:
            self.save(trainer)
        if self.interrupted:
            trainer.should_stop = True

    def save(self, trainer: L.Trainer) -> None:
        """Save now; every rank must call this.

        Raises:
            OSError: If the file cannot be written; the last one stays as it was.
        """
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            if trainer.is_global_zero:
                # What a killed process left behind must not pass for this save: Lightning says
                # nothing where it is refused a file.
                partial.unlink(missing_ok=True)
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
                os.replace(partial, self.path)
        except OSError as error:
            kept = "the last one is as it was" if self.path.exists() else "there is none before it"
            raise OSError(
                error.errno, f"no checkpoint could be written ({error.strerror}); {kept}", self.path
            ) from error

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what makes this run another than others, and which release can read this."""
        checkpoint["format_version"] = _FORMAT_VERSION
        checkpoint["run"] = self.run

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give Ctrl-C back."""
        self._release()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Give Ctrl-C back."""
        self._release()

    def _stop(self, trainer: L.Trainer, step: int) -> bool:
        asked = self._asked or trainer.received_sigterm
        if trainer.world_size == 1:
            return asked
        if step % self._agree_every:
            return False
        return trainer.strategy.reduce_boolean_decision(asked, all=False)

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._asked:
            signal.default_int_handler(signum, frame)
        self._asked = True
        print("\nstopping after this step (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    def _release(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None


def check_same_run(path: str | Path, run: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to a run.

    Args:
        path: A checkpoint of :class:`LastCheckpoint`.
        run: What makes the run another than others, in plain values.

    Raises:
        ValueError: If it belongs to another, and says what differs; if it is damaged, no checkpoint
            of training, or made by a release whose checkpoints this one does not read. No code in
            it is executed.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, EOFError, OSError, UnpicklingError) as error:
        # What torch says of it fills a screen.
        raise ValueError(
            f"{path} is damaged or no checkpoint of tensors and plain values"
        ) from error
    if not isinstance(checkpoint, Mapping) or "run" not in checkpoint:
        raise ValueError(f"{path} is no checkpoint of a training by compvae_pyg")
    version = checkpoint.get("format_version", _FORMAT_VERSION)
    if version != _FORMAT_VERSION:
        raise ValueError(f"{path} has format {version} (this release reads {_FORMAT_VERSION})")
    saved = checkpoint["run"]
    there, here = dict(_flat(saved)), dict(_flat(run))
    differences = [
        f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    if differences:
        more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise ValueError(
            f"{path} is the checkpoint of another run: {'; '.join(differences[:4])}{more}"
        )


def check_writable(folder: str | Path) -> None:
    """Make a folder, if need be, and check that files can be written there.

    Raises:
        OSError: If they cannot; says why.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise OSError(
            error.errno, f"this folder cannot be written to ({error.strerror})", str(folder)
        ) from error


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list)) for v in value):
        items = list(enumerate(value))
    else:
        yield name, value
        return
    for key, item in items:
        yield from _flat(item, f"{name}.{key}" if name else str(key))
