"""Training in one call."""

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import lightning as L
import numpy as np
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import DDPStrategy, Strategy, StrategyRegistry
from torch import Tensor

from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_choice, check_count, check_model, check_type
from compvae_pyg.problems import Problem, Schedule
from compvae_pyg.training.checkpoint import LastCheckpoint, check_same_run, check_writable
from compvae_pyg.training.compilation import check_compiler, without_validation
from compvae_pyg.training.data import GeneratedData
from compvae_pyg.training.memory import keep_freed_memory
from compvae_pyg.training.metrics_file import MetricsFile
from compvae_pyg.training.module import CompVAEModule
from compvae_pyg.training.progress import Progress
from compvae_pyg.training.random_state import RandomState

__all__ = ["Precision", "train"]

Precision = Literal["32-true", "bf16-mixed"]


def train(
    problem: Problem,
    model: CompVAE,
    schedule: Schedule,
    *,
    output: str | Path,
    seed: int = 0,
    devices: int = 1,
    num_nodes: int = 1,
    accelerator: str = "auto",
    strategy: str | Strategy = "auto",
    precision: Precision = "32-true",
    compile: bool = False,
    resume: bool = False,
    checkpoint_every: int = 1000,
    log_every: int = 50,
    progress: bool = True,
) -> CompVAE:
    """Train a model on wholes that are generated on the fly.

    In the folder ``output`` it writes ``metrics.csv`` (see :class:`MetricsFile`) and
    ``checkpoints/last.ckpt``. Training that was interrupted, by Ctrl-C or by a power cut, and then
    resumed gives on the CPU the same model, bit for bit, as training that was not.

    Seeds torch's global random state. On the CPU it lets the process keep the memory that tensors
    free, see :func:`keep_freed_memory`.

    Args:
        problem: Source of the wholes.
        model: What is trained, in place.
        schedule: The course of training. With several devices, each sees ``batch_size`` wholes a
            step.
        output: Folder for metrics and checkpoints.
        seed: Seed of data and noise, not negative.
        devices: Number of devices on each node.
        num_nodes: Number of nodes.
        accelerator: Lightning's name of the kind of device. ``"auto"`` is CUDA if there is any, or
            else the CPU.
        strategy: How several devices train together: ``"auto"`` is data parallel training (DDP),
            the one kind that is supported; give Lightning's name or strategy for a variant of it.
        precision: ``"32-true"``, or ``"bf16-mixed"`` for networks in bfloat16.
        compile: Whether to run the bound under ``torch.compile``, which makes steps shorter, see
            ``docs/performance.md``, and takes a minute or so at the beginning of each stage. Models
            then differ by rounding. Needs torch 2.8 and, on the CPU, a C++ compiler.
        resume: Whether to continue from the checkpoint in ``output``.
        checkpoint_every: Steps from one checkpoint to the next.
        log_every: Steps from one row of metrics to the next.
        progress: Whether to show a progress bar, or lines now and then where there is no terminal.

    Returns:
        The model, on the CPU and in evaluation mode.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of its range, torch cannot compile, or the checkpoint is
            damaged or belongs to a run of another problem, model, schedule, seed or number of
            devices.
        FileExistsError: If ``output`` holds a checkpoint and ``resume`` is false.
        FileNotFoundError: If it holds none and ``resume`` is true.
        OSError: If ``output`` cannot be written to, before training or in the middle of it; the
            last checkpoint is then as it was.
        TrainingDivergedError: If the loss is not finite for many steps in a row.
        KeyboardInterrupt: On Ctrl-C, after the checkpoint is saved.

    Example:
        >>> import tempfile
        >>> from compvae_pyg.problems import Dots
        >>> dots = Dots()
        >>> schedule = Schedule(num_steps=2, batch_size=4)
        >>> with tempfile.TemporaryDirectory() as output:
        ...     model = train(dots, dots.build("small"), schedule, output=output, progress=False)
        >>> model.generate({"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}).shape
        torch.Size([1, 3, 32, 32])
    """
    counts = {
        "devices": devices,
        "num_nodes": num_nodes,
        "checkpoint_every": checkpoint_every,
        "log_every": log_every,
    }
    check_type(problem, "problem", Problem)
    check_model(model)
    check_type(schedule, "schedule", Schedule)
    check_type(output, "output", str, PathLike)
    check_count(seed, "seed", at_least=0)
    for name, count in counts.items():
        check_count(count, name)
    kinds = AcceleratorRegistry.available_accelerators()
    check_choice(accelerator, "accelerator", ("auto", "gpu", *kinds))
    if not isinstance(strategy, Strategy):
        check_choice(strategy, "strategy", ("auto", *StrategyRegistry.available_strategies()))
    check_choice(precision, "precision", get_args(Precision))
    for name, value in (("compile", compile), ("resume", resume), ("progress", progress)):
        check_type(value, name, bool)
    output = Path(output)
    last = output / "checkpoints" / "last.ckpt"
    run = {
        "problem": problem.name,
        "parameters": plain(vars(problem)),
        "seed": seed,
        "schedule": asdict(schedule),
        "model": {name: tuple(value.shape) for name, value in model.state_dict().items()},
    }
    metrics = MetricsFile(output / "metrics.csv", log_every)
    checkpoint = LastCheckpoint(last, checkpoint_every, run)
    callbacks = [RandomState(seed), metrics, *([Progress(metrics)] if progress else []), checkpoint]
    if last.exists() and not resume:
        raise FileExistsError(
            f"{output} holds a checkpoint: pass resume=True to continue, or choose another folder"
        )
    if resume:
        if not last.exists():
            raise FileNotFoundError(
                f"{last} does not exist: pass resume=False to start, or choose another folder"
            )
        check_same_run(last, run)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if compile:
        check_compiler("cuda" if accelerator == "gpu" else accelerator)
    check_writable(last.parent)
    if strategy == "auto" and devices * num_nodes > 1:
        # Stages that hold latents back, or score the mean alone, leave some networks out.
        partial = any(s.inferred != "all" or s.loss != "likelihood" for s in schedule.stages)
        strategy = DDPStrategy(find_unused_parameters=partial)

    if accelerator == "cpu":
        keep_freed_memory()
    module = CompVAEModule(model.train(), schedule, problem.parts, compile=compile)
    with without_validation() if compile else nullcontext(), _without_tips():
        trainer = L.Trainer(
            accelerator=accelerator,
            strategy=strategy,
            devices=devices,
            num_nodes=num_nodes,
            precision=precision,
            max_steps=schedule.num_steps,
            callbacks=callbacks,
            default_root_dir=output,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            module,
            datamodule=GeneratedData(problem, schedule, seed),
            ckpt_path=last if resume else None,
            weights_only=True,
        )
    if checkpoint.interrupted:
        raise KeyboardInterrupt(
            f"stopped at step {module.step} of {schedule.num_steps}; "
            f"pass resume=True to continue from {last}"
        )
    model.zero_grad(set_to_none=True)
    return model.eval()


def plain(value: Any) -> Any:
    """Return a value in terms that a checkpoint may hold: numbers, texts and what is made of them.

    Tensors and arrays are told apart by a digest, other things by the name of their type.

    Example:
        >>> plain({"period": 100.0, "curves": torch.zeros(2)})
        {'period': 100.0, 'curves': 'torch.float32 [2] af5570f5a181'}
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(content).hexdigest()[:12]
        return f"{value.dtype} {list(value.shape)} {digest}"
    return type(value).__qualname__


@contextmanager
def _without_tips() -> Iterator[None]:
    """Silence what Lightning says about itself, but not its warnings about the run."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec\)` is deprecated")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
