"""How a training is run; imports nothing that takes a while."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

__all__ = ["TrainConfig"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a training is run, with what ``--help`` shows; :func:`train` checks it.

    Raises:
        TypeError, ValueError: By :meth:`check`, if an option is of another type or out of range.

    Example:
        >>> TrainConfig(output="outputs/mine", seed=1).checkpoint.name
        'last.ckpt'
    """

    output: str | Path
    """Folder for the model, its metrics and its checkpoints."""
    seed: int = 0
    """Seed of data and noise; the programs seed the weights by it too."""
    resume: bool = False
    """Continue the run in the output folder; a finished one gives its model, or more steps."""
    accumulate: int = 1
    """Batches whose gradients are added up in a step."""
    devices: int = 1
    """Number of GPUs (or of processes, on the CPU) on each node."""
    num_nodes: int = 1
    """Number of nodes."""
    accelerator: str = "auto"
    """Kind of device: cpu, cuda, or whatever else Lightning knows; auto takes a GPU if it can."""
    strategy: str = "auto"
    """Lightning's name of how several devices work together: a variant of DDP."""
    precision: Precision = "32-true"
    """Precision of the networks while training."""
    compile: bool = False
    """Train under torch.compile: shorter steps, after minutes of compiling."""
    checkpoint_every: int = 1000
    """Steps from one checkpoint to the next."""
    log_every: int = 50
    """Steps from one row of metrics.csv to the next."""
    progress: bool = True
    """Show a progress bar, or lines now and then where there is no terminal."""

    def check(self) -> None:
        """Raise a TypeError or ValueError that names what is not of its type or range."""
        # Not before a run begins: programs read their options before these are loaded.
        from lightning.pytorch.accelerators import AcceleratorRegistry
        from lightning.pytorch.strategies import StrategyRegistry

        from compvae_pyg.nn.checks import check_choice, check_like, check_type

        check_type(self.output, "output", str, PathLike)
        for option in fields(TrainConfig):
            check_like(getattr(self, option.name), option.name, option.default)
        accelerators = AcceleratorRegistry.available_accelerators()
        check_choice(self.accelerator, "accelerator", ("auto", "gpu", *accelerators))
        # Where weights are sharded, no rank has the norm of the whole gradient.
        strategies = [n for n in StrategyRegistry.available_strategies() if n.startswith("ddp")]
        check_choice(self.strategy, "strategy", ("auto", *strategies))
        check_choice(self.precision, "precision", get_args(Precision))

    @property
    def checkpoint(self) -> Path:
        """The file from which the run is resumed; absolute, so that none takes it for a URL."""
        return Path(self.output).absolute() / "checkpoints" / "last.ckpt"

    @property
    def device(self) -> str:
        """The kind of device that is used: a GPU if it may be and there is one."""
        import torch

        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        return automatic if self.accelerator in ("auto", "gpu") else self.accelerator
