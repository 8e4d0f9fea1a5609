"""Training in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch_geometric.data import Data

from compvae_pyg import runtime
from compvae_pyg.config import TrainConfig
from compvae_pyg.data.curriculum import Curriculum
from compvae_pyg.data.generated import GeneratedData
from compvae_pyg.data.stored import StoredData
from compvae_pyg.identity import machine, networks
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_count, check_counts, check_model, check_type
from compvae_pyg.problems import Problem
from compvae_pyg.progress_bar import shown
from compvae_pyg.runtime import StopSignals, quietly, without_validation
from compvae_pyg.training.checkpoint import AtomicCheckpointIO, LastCheckpoint
from compvae_pyg.training.module import CompVAEModule
from compvae_pyg.training.progress import MetricsFile
from compvae_pyg.training.schedule import Schedule

__all__ = ["TrainConfig", "train"]

_KNOWN = r".*(LeafSpec\)` is deprecated|no `val_dataloader`)"
_IDENTITY = ("seed", "accumulate", "precision", "compile", "device")  # change what is trained


def train(
    data: Problem | StoredData | Iterable[Data] | str | PathLike[str],
    model: CompVAE,
    schedule: Schedule,
    config: TrainConfig,
    *,
    callbacks: Sequence[L.Callback] = (),
    logger: Logger | Sequence[Logger] | bool = False,
    by_num_parts: Sequence[int] = (),
    validate_every: int | None = None,
) -> CompVAE:
    """Train a model on wholes that are generated or stored; return it in evaluation mode.

    In the folder ``config.output`` it writes ``metrics.csv`` (see :class:`MetricsFile`) and
    ``checkpoints/last.ckpt`` (see :class:`LastCheckpoint`). Training that was interrupted, by a
    signal or a power cut, and then resumed gives on the CPU the same model, bit for bit, as one
    that was not. It seeds torch's global random state and, on the CPU, calls
    ``compvae_pyg.runtime.keep_freed_memory``.

    Args:
        data: A problem, whose wholes are generated on the fly; or stored wholes, a
            :class:`StoredData` or what one is made of, which says how the schedule applies to them.
            These are validated, if they have a split for it, so that callbacks can follow
            ``val/elbo``.
        model: What is trained, in place; in the end it is on the CPU.
        schedule: The training schedule; each of several devices sees ``batch_size`` wholes a batch.
            A run that is resumed with more steps goes on in its last stage, see
            :meth:`Schedule.extended`.
        config: How the run is made.
        callbacks: Callbacks of Lightning; any checkpoint that they save can be resumed from.
        logger: Loggers of Lightning, which get what :class:`CompVAEModule` logs.
        by_num_parts: Numbers of parts whose wholes are validated apart as well.
        validate_every: Steps from one validation to the next; by default once in each epoch.

    Raises:
        ValueError: If torch cannot compile, or the checkpoint is damaged or that of another run.
        FileExistsError, FileNotFoundError: If ``resume`` does not fit what the folder holds.
        OSError: If a file cannot be written, or another training writes to the folder.
        TrainingDivergedError: If the loss is not finite for many steps in a row.
        KeyboardInterrupt, SystemExit: On Ctrl-C, or on ``SIGTERM`` (143) and ``SIGHUP`` (129),
            after the checkpoint is saved.

    Example:
        >>> import torch
        >>> from compvae_pyg import Dots
        >>> with tempfile.TemporaryDirectory() as output:
        ...     config = TrainConfig(output=output, progress=False)
        ...     model = train(Dots(), Dots().build("small"), Schedule(2, batch_size=4), config)
        >>> model.generate({"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}).shape
        torch.Size([1, 3, 32, 32])
    """
    check_model(model)
    if isinstance(data, type):
        raise TypeError(f"data must be a problem or wholes (got the class {data.__name__})")
    check_type(schedule, "schedule", Schedule)
    check_type(config, "config", TrainConfig)
    config.check()
    check_counts(by_num_parts, "by_num_parts", at_least=0)
    check_count(1 if validate_every is None else validate_every, "validate_every")
    path, signals = config.checkpoint, StopSignals()
    if isinstance(data, Problem):
        run = {"problem": data.name, "class": type(data), "parameters": vars(data)}
    else:
        data = data if isinstance(data, StoredData) else StoredData(data)
        largest = max(1, data.most_parts)
        schedule = replace(schedule, curriculum=Curriculum(largest, largest, every=0))
        run = {"data": data.identity}
    run |= {name: getattr(config, name) for name in _IDENTITY}
    run |= {"schedule": schedule, "model": networks(model), "machine": machine()}
    last = LastCheckpoint(path, config.checkpoint_every, run, config.seed, signals)
    if path.exists() and not config.resume:
        raise FileExistsError(f"{path} is there: pass resume=True, or choose another folder")
    if config.resume and not path.exists():
        raise FileNotFoundError(f"{path} is not there: pass resume=False to start a run")
    rows = MetricsFile(path.parents[1] / "metrics.csv")
    everyone = [rows, *shown(config.progress, callbacks), last]
    if config.resume:
        saved = last.read()
        planned = saved["hyper_parameters"]["schedule"]
        ended = saved["training"].get("ended") and schedule.num_steps == planned["num_steps"]
        schedule = Schedule.from_dict(planned).extended(num_steps := schedule.num_steps)
        if num_steps > planned["num_steps"]:
            text = f"the run of {planned['num_steps']} steps goes on to {num_steps}, in its last "
            text += "stage, with its last coefficients and learning rate"
            rank_zero_warn(text, category=RuntimeWarning)
        if last.step == schedule.num_steps or ended:
            state = saved["state_dict"].items()
            model.load_state_dict({name.removeprefix("model."): v for name, v in state})
            rows.load_state_dict(saved["callbacks"][rows.state_key])
            rank_zero_only(rows.lines.restore)(warn=True)
            return model.cpu().eval()
    if config.compile:
        runtime.check_compiler(config.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path.parent).close()  # fails now if no file can be written
    strategy: Any = config.strategy
    if strategy == "auto" and config.devices * config.num_nodes > 1:
        # Stages that hold latents back, or score the mean alone, leave some networks out.
        partial = any(s.inferred != "all" or s.loss != "likelihood" for s in schedule.stages)
        strategy = DDPStrategy(find_unused_parameters=partial)
    if config.device == "cpu":
        runtime.keep_freed_memory()
    source: Any = GeneratedData(data, schedule, config.seed) if isinstance(data, Problem) else data
    options: Any = {"compile": config.compile, "by_num_parts": by_num_parts}
    module = CompVAEModule(model.train(), schedule, data.parts, **options)
    with quietly("lightning.pytorch", _KNOWN), without_validation(config.compile):
        trainer = L.Trainer(
            accelerator=config.device,
            strategy=strategy,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=config.precision,
            max_steps=schedule.num_steps,
            accumulate_grad_batches=config.accumulate,
            log_every_n_steps=config.log_every,
            val_check_interval=validate_every and validate_every * config.accumulate,
            check_val_every_n_epoch=None if validate_every else 1,
            callbacks=everyone,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=path.parents[1],
            logger=logger,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in everyone),
            enable_model_summary=False,
        )
        how: Any = {"ckpt_path": path if config.resume else None, "weights_only": True}
        with signals:
            trainer.fit(module, datamodule=source, **how)
    if stopped := last.stopped or signals.received:
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if trainer.global_rank:
            # For any other status than 0, Lightning kills the process that started this one.
            raise SystemExit(0 if isinstance(environment, LightningEnvironment) else 128 + stopped)
        text = f"pass resume=True to continue from step {last.step}, {path}"
        text = text if last.step > 0 else "nothing was saved"
        signals.end(stopped, f"stopped at step {module.step} of {schedule.num_steps}; {text}")
    if module.step < schedule.num_steps:  # a callback has ended the training
        module.ended = True
        trainer.save_checkpoint(path)
    model.zero_grad(set_to_none=True)
    return model.eval()
