"""The random state of training, seeded once and kept in checkpoints."""

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

__all__ = ["RandomState"]


class RandomState(L.Callback):
    """Seeds torch's global random state when training begins, or restores that of the checkpoint.

    Each rank has its own state, and a checkpoint holds them all.

    Args:
        seed: Seed of the whole run, not negative.

    Raises:
        ValueError: If the seed is negative, or a checkpoint was made by another number of ranks.
    """

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative (got {seed})")
        self.seed = seed
        self._restored: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set the state after all else that draws from it when training is set up."""
        if self._restored is None:
            # The spawn key sets these seeds apart from those of the data.
            sequence = np.random.SeedSequence([self.seed, trainer.global_rank], spawn_key=(0,))
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
            return
        torch.set_rng_state(self._restored["cpu"])
        if "cuda" in self._restored and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(self._restored["cuda"], pl_module.device)
        self._restored = None

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the states of all ranks; every rank must call this."""
        state = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        states: list[Any] = [state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, state)
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this rank's state."""
        states = checkpoint["random_states"]
        if len(states) != trainer.world_size:
            raise ValueError(
                "training must be resumed on as many devices as the checkpoint was made by "
                f"(got {trainer.world_size}, expected {len(states)})"
            )
        self._restored = states[trainer.global_rank]
