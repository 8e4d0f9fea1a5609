"""What a run can be resumed from: its checkpoints, with its random state and its identity."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from compvae_pyg.files import locked, mark, read_archive, write_archive
from compvae_pyg.identity import compare, flat
from compvae_pyg.nn.checks import check_count
from compvae_pyg.runtime import StopSignals

# Numbers of a schedule that follow from how many steps it has.
_LENGTHS = ["schedule.num_steps", "schedule.curriculum.every"]
_LENGTHS += [f"schedule.learning_rate.{name}" for name in ("halving", "hold", "warmup")]

__all__ = ["AtomicCheckpointIO", "LastCheckpoint"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints as whole files with a digest, and reads these alone.

    See ``compvae_pyg.files.write_archive``. A path is that of a file, whatever its name.

    Raises:
        OSError: If a file cannot be written or read.
        ValueError: If a file is damaged, or was written by others.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     AtomicCheckpointIO().save_checkpoint({"step": 3}, f"{folder}/last.ckpt")
        ...     AtomicCheckpointIO().load_checkpoint(f"{folder}/last.ckpt")
        {'step': 3}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, *_: Any, **__: Any) -> None:
        """Replace the file, or raise an OSError."""
        write_archive(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: Any = None
    ) -> Any:
        """Return what was saved, or raise a ValueError; by default no code in it is executed."""
        return read_archive(Path(path), map_location, weights_only=weights_only is not False)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file, if it is there."""
        Path(path).unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """Saves the state of training every few steps, every two minutes, at the end and when stopped.

    After a signal that says to stop, on any rank, the step at hand is finished, the file is saved
    and training ends. A lock keeps the folder from other trainings meanwhile.

    It seeds torch's global random state, for each rank apart, or restores it on resumption. All
    checkpoints of the Trainer hold these states and the identity of the run.

    Args:
        path: The file, which is replaced each time.
        every: Steps from one save to the next.
        run: What makes this run another than others, see ``compvae_pyg.identity.flat``. What
            differs under the name ``machine`` is warned of, and the rest must be the same.
        seed: Seed of the random state, not negative.
        signals: The signals that say to stop; by default none.

    Attributes:
        stopped: The signal that ended training, or 0.
        step: The step of the file, or -1 if there is none yet.

    Raises:
        TypeError, ValueError: If a number is of another type or out of range.
        BlockingIOError: When training begins, if another one writes to the folder.
        ValueError: On resumption, if there are not as many devices as before.

    Example:
        >>> LastCheckpoint("outputs/mine/checkpoints/last.ckpt", every=500).step
        -1
    """

    seconds = 120.0

    def __init__(
        self,
        path: str | Path,
        every: int,
        run: Mapping[str, Any] | None = None,
        seed: int = 0,
        signals: StopSignals | None = None,
    ) -> None:
        check_count(every, "every")
        check_count(seed, "seed", at_least=0)
        self.path, self.every, self.seed = Path(path).absolute(), every, seed
        self.run, self.signals = dict(flat({"format": 3, **(run or {})})), signals or StopSignals()
        self.stopped, self.step = 0, -1
        self._seen, self._saved, self._time = 0, 0, 0.0
        self._found, self._lock = mark(self.path), ExitStack()
        self._random_state: dict[str, Tensor] | None = None

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Take the folder, on behalf of all ranks."""
        taken = ""
        if stage == "fit" and trainer.is_global_zero:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.enter_context(locked(self.path.with_name("lock"), wait=False))
                taken = "" if mark(self.path) == self._found else "did until now"
            except BlockingIOError:
                taken = "does so"
        if taken := trainer.strategy.broadcast(taken):
            text = f"one training at a time may write to {self.path.parent} (another {taken})"
            raise BlockingIOError(text)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Heed signals, and set the random state after all else that draws from it."""
        self._seen = self._saved = trainer.global_step
        self._time, self.stopped = time.monotonic(), 0
        self.signals.wait()
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
        if trainer.global_step == self._seen:
            return  # gradients are accumulated
        self._seen = trainer.global_step
        asked = [self.signals.received, int(time.monotonic() - self._time >= self.seconds)]
        if trainer.world_size > 1:
            # All ranks save and stop at the same step. Lightning waits for each step as well.
            here = torch.tensor(asked, device=trainer.strategy.root_device)
            asked = trainer.strategy.reduce(here, reduce_op="max").tolist()
        self.stopped = asked[0]
        trainer.should_stop |= bool(self.stopped)
        if any(asked) or self._seen % self.every == 0 or self._seen == trainer.max_steps:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save where a callback ended training."""
        self._save(trainer)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Give the folder back."""
        self._lock.close()

    on_exception = teardown

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Keep the identity and the states of all ranks; every rank must call this."""
        state = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        states: list[Any] = [state] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, state)
        checkpoint.update(run=self.run, random_states=states)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Take this rank's state."""
        states, size = checkpoint["random_states"], trainer.world_size
        if len(states) != size:
            raise ValueError(f"devices must be as many as before (got {size}, not {len(states)})")
        self._random_state = states[trainer.global_rank]

    def read(self) -> dict[str, Any]:
        """Return the checkpoint; no code in it is executed.

        A run of more steps is no other run: it goes on where the first one ends.

        Raises:
            ValueError: If it is damaged, of another kind, or of another run, with the differences.
        """
        checkpoint = read_archive(self.path)
        try:
            there, self.step = dict(checkpoint["run"]), checkpoint["training"]["step"]
            planned = checkpoint.get("hyper_parameters", {}).get("schedule", {}).get("num_steps")
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{self.path} is no checkpoint of a run of compvae_pyg") from error
        steps, first = (run.get("schedule.num_steps") for run in (self.run, there))
        if planned and steps != first and steps >= planned:
            self.run |= {name: there[name] for name in _LENGTHS if name in there}
        other, bits = compare(there, self.run)
        if other:
            if "schedule.num_steps" in other:
                other += f"; to train on, ask for more than {planned} steps"
            raise ValueError(f"{self.path} is the checkpoint of another run: {other}")
        if bits:
            message = f"the last bits may differ from here on: {bits}"
            rank_zero_warn(message, category=RuntimeWarning)
        return checkpoint

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.global_step != self._saved:
            trainer.save_checkpoint(self.path)
            self._saved, self._time = trainer.global_step, time.monotonic()
            self.step, self._found = self._saved, mark(self.path)
