"""How training proceeds: which latents are sampled when, how many parts, which learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal, NamedTuple, get_args

from compvae_pyg.data.curriculum import Curriculum
from compvae_pyg.models.staged_elbo import Inferred
from compvae_pyg.nn.checks import (
    check_choice,
    check_count,
    check_line,
    check_number,
    check_pair,
    check_type,
)
from compvae_pyg.optim import LearningRate
from compvae_pyg.problems import Problem

__all__ = ["Coefficients", "Schedule", "Stage"]

Loss = Literal["likelihood", "squared_error"]


@dataclass(frozen=True)
class Stage:
    """A stage of training: its loss, see :func:`objective`, and its share of all steps.

    Attributes:
        name: Its name in logs.
        share: Share of all steps, in (0, 1].
        inferred: Which latents are sampled from the posterior, see :func:`staged_elbo`.
        loss: ``"likelihood"`` or ``"squared_error"``.
        beta_w, beta_z: First and last coefficient of the divergence of the parts' latents and of
            the whole's; in between it moves geometrically.
        noise: First and last factor of the standard deviation of p(x|z, w) in the loss, a Normal,
            likewise: what is learned with much noise first is coarse first.
        code_matching: First and last coefficient of :func:`code_distance`, in nats, likewise; 0 for
            none. The posterior is to fill the prior, category by category.
        fit_prior: Largest share of the way by which a :class:`CategoryNormal` follows the moments
            of the posterior in each step, see there; 0 leaves it as it is.
        anneal: Share of the stage after which all of these have their last values, in (0, 1].

    Raises:
        TypeError, ValueError: If a value is of another type or out of range.

    Example:
        >>> Stage("parts", 0.5, inferred="parts", beta_w=(4.0, 1.0)).loss
        'likelihood'
    """

    name: str
    share: float
    inferred: Inferred = "all"
    loss: Loss = "likelihood"
    beta_w: tuple[float, float] = (1.0, 1.0)
    beta_z: tuple[float, float] = (1.0, 1.0)
    noise: tuple[float, float] = (1.0, 1.0)
    code_matching: tuple[float, float] = (0.0, 0.0)
    fit_prior: float = 0.0
    anneal: float = 1.0

    def __post_init__(self) -> None:
        check_line(self.name, "name")
        check_choice(self.inferred, "inferred", get_args(Inferred))
        check_choice(self.loss, "loss", get_args(Loss))
        for name in ("beta_w", "beta_z", "noise", "code_matching"):
            off = name == "code_matching" and self.code_matching == (0.0, 0.0)
            check_pair(getattr(self, name), name, positive=not off)
        check_number(self.fit_prior, "fit_prior", at_most=1.0)
        if self.fit_prior < 0.0:
            raise ValueError(f"fit_prior must not be negative (got {self.fit_prior})")
        for name in ("share", "anneal"):
            check_number(getattr(self, name), name, positive=True, at_most=1.0)


class Coefficients(NamedTuple):
    """The stage of a step, and what moves in it.

    Example:
        >>> Schedule(100, stages=(Stage("all", 1.0, beta_z=(10.0, 1.0)),)).at(0).beta_z
        10.0
    """

    stage: Stage
    beta_w: float
    beta_z: float
    noise: float = 1.0
    code_matching: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """A training schedule; by default the published one (section 4.3) but for its length.

    Attributes:
        num_steps: Number of steps of the optimiser.
        batch_size: Number of wholes in a batch.
        stages: Stages in their order; their shares sum to 1.
        curriculum: Numbers of parts.
        learning_rate: Learning rate of Adam.
        betas: Adam's decay rates.
        max_grad_norm: Bound on the norm of the gradient; ``None`` for none.

    Raises:
        TypeError, ValueError: If a value is of another type or out of range, or the shares of the
            stages do not sum to 1; by :meth:`of`, if the problem has no numbers for training.

    Example:
        >>> schedule = Schedule(100, stages=(
        ...     Stage("parts", 0.5, inferred="parts", beta_w=(4.0, 1.0)), Stage("whole", 0.5)))
        >>> schedule.at(0).beta_w, schedule.at(99).stage.name
        (4.0, 'whole')
    """

    num_steps: int
    batch_size: int = 256
    stages: tuple[Stage, ...] = (Stage("whole", 1.0),)
    curriculum: Curriculum = field(default_factory=Curriculum)
    learning_rate: LearningRate = field(default_factory=LearningRate)
    betas: tuple[float, float] = (0.5, 0.9)
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        check_count(self.num_steps, "num_steps")
        check_count(self.batch_size, "batch_size")
        kinds = {"stages": tuple, "curriculum": Curriculum, "learning_rate": LearningRate}
        for name, kind in kinds.items():
            check_type(getattr(self, name), name, kind)
        for stage in self.stages:
            check_type(stage, "stages", Stage)
        check_pair(self.betas, "betas")
        if not 0.0 <= min(self.betas) <= max(self.betas) < 1.0:
            raise ValueError(f"betas must lie in [0, 1) (got {self.betas})")
        if self.max_grad_norm is not None:
            check_number(self.max_grad_norm, "max_grad_norm", positive=True)
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"stages must have shares that sum to 1 (got {total:g})")

    @classmethod
    def staged(
        cls,
        num_steps: int,
        batch_size: int,
        *,
        max_parts: int,
        initial_rate: float,
        shares: tuple[float, float, float] = (0.2, 0.5, 0.3),
        beta_w: float = 4.0,
        rise: float = 0.0,
        log_uniform: bool = False,
        stages: Sequence[Mapping[str, Any]] = (),
    ) -> Schedule:
        r"""Return a staged schedule: one kind of latents is learned after the other.

        In stage ``labels`` the decoder learns from the labels of the parts, with all latents at the
        means of their priors. In stage ``parts`` the latents of the parts are sampled from the
        posterior, and :math:`\beta_w` moves from ``beta_w`` to 1. In stage ``whole`` that of the
        whole is as well, whose :math:`\beta_z` falls from 10 to 1: the loss is the negative ELBO in
        the end.

        Args:
            max_parts: Wholes have 1 to so many parts.
            initial_rate: Learning rate, see :meth:`LearningRate.for_run`.
            shares: Shares of the three stages in all steps; a stage of share 0 is left out.
            rise: Share of all steps in which the largest number of parts rises from 1.
            log_uniform: See :class:`Curriculum`.
            stages: Arguments of stages in place of these three.

        Example:
            >>> schedule = Schedule.staged(1000, 64, max_parts=4, initial_rate=2e-3)
            >>> [schedule.at(step).stage.name for step in (0, 500, 999)]
            ['labels', 'parts', 'whole']
        """
        check_count(num_steps, "num_steps")
        check_count(max_parts, "max_parts")
        options: tuple[dict[str, Any], ...] = (
            {"name": "labels", "inferred": "none", "loss": "squared_error"},
            {"name": "parts", "inferred": "parts", "beta_w": (beta_w, 1.0)},
            {"name": "whole", "beta_z": (10.0, 1.0)},
        )
        usual = [{"share": s, **stage} for s, stage in zip(shares, options, strict=True) if s]
        chosen = tuple(Stage(**stage) for stage in stages or usual)
        every = max(1, int(rise * num_steps / max_parts)) if rise else 0
        curriculum = Curriculum(1 if rise else max_parts, max_parts, every, log_uniform=log_uniform)
        rate = LearningRate.for_run(num_steps, initial_rate)
        return cls(num_steps, batch_size, chosen, curriculum, rate, betas=(0.9, 0.98))

    @classmethod
    def of(
        cls,
        problem: Problem,
        style: str = "staged",
        num_steps: int | None = None,
        *,
        preset: str | None = None,
    ) -> Schedule:
        """Return a schedule by the numbers of a problem, of another number of steps if given.

        The style is ``"staged"``, see :meth:`staged`, or ``"paper"``, as published: 500,000 steps.
        Staged numbers are those of a preset of networks, where it has its own.

        Raises:
            TypeError, ValueError: If this is no problem, or has no numbers, or not that preset.

        Example:
            >>> from compvae_pyg import Dots
            >>> Schedule.of(Dots(), preset="paper").learning_rate.initial
            0.0003
        """
        check_type(problem, "problem", Problem)
        if preset is not None:
            check_choice(preset, "preset", tuple(problem.presets))
        check_choice(style, "style", ("staged", "paper"))
        staged = problem.training_of_presets.get(preset or "", problem.training)
        numbers = staged if style == "staged" else {"num_steps": 500_000}
        if not numbers:
            raise ValueError(f"problem must have numbers for training (got {problem.name!r})")
        numbers = {**numbers, **({} if num_steps is None else {"num_steps": num_steps})}
        if style == "paper":
            return cls(**numbers, curriculum=Curriculum(last=problem.max_parts))
        return cls.staged(**numbers, max_parts=problem.max_parts)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schedule:
        """Return the schedule that :func:`dataclasses.asdict` made a dictionary of."""
        stages = tuple(Stage(**stage) for stage in values["stages"])
        curriculum = Curriculum(**values["curriculum"])
        rate = LearningRate(**values["learning_rate"])
        return cls(**{**values, "stages": stages, "curriculum": curriculum, "learning_rate": rate})

    def extended(self, num_steps: int) -> Schedule:
        """Return this schedule, then more of its last stage, as it is in the end.

        Up to its own end nothing changes; then the coefficients and the learning rate keep their
        last values. It is not the schedule that is made for so many steps.

        Raises:
            ValueError: If there are fewer steps.

        Example:
            >>> schedule = Schedule(100, stages=(Stage("parts", 0.5), Stage("whole", 0.5)))
            >>> [stage.share for stage in schedule.extended(200).stages]
            [0.25, 0.75]
        """
        check_count(num_steps, "num_steps", at_least=self.num_steps)
        if num_steps == self.num_steps:
            return self
        stages, more = list[Stage](), num_steps - self.num_steps
        for stage, start, end in self._spans():
            span = end - start + (more if stage is self.stages[-1] else 0)
            if span:
                anneal = stage.anneal * (end - start) / span
                stages.append(replace(stage, share=span / num_steps, anneal=anneal or 1.0))
        return replace(self, num_steps=num_steps, stages=tuple(stages))

    def at(self, step: int) -> Coefficients:
        """Return the stage of a step, numbered from 0, and its coefficients."""
        spans = self._spans()
        stage, start, end = next((span for span in spans if step < span[2]), spans[-1])
        moved = min((step - start) / max(1.0, stage.anneal * (end - start)), 1.0)
        pairs = stage.beta_w, stage.beta_z, stage.noise, stage.code_matching
        values = (low * (high / low) ** moved if low else low for low, high in pairs)
        return Coefficients(stage, *values)

    def _spans(self) -> list[tuple[Stage, int, int]]:
        """Return each stage with its first step and that of the next one."""
        # In whole steps: a sum of shares such as 0.1 + 0.2 is not exactly 0.3.
        ends = [round(total * self.num_steps) for total in accumulate(s.share for s in self.stages)]
        return list(zip(self.stages, [0, *ends], ends, strict=False))
