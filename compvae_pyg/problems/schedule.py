"""How training proceeds: which latents are open when, how many parts, which learning rate."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from compvae_pyg.nn.checks import check_choice, check_count, check_number

__all__ = ["Curriculum", "Inferred", "LearningRate", "Schedule", "Stage", "Weights"]


Inferred = Literal["none", "parts", "all"]
Loss = Literal["likelihood", "squared_error"]
Per = Literal["whole", "batch"]


def _check_two(value: Any, name: str) -> None:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be two numbers (got {value!r})")
    for one in value:
        check_number(one, name)


@dataclass(frozen=True)
class Stage:
    r"""A stretch of training with one set of open latents.

    The loss per whole is
    :math:`-\log p(x \mid z, \tilde w) + \beta_w \mathrm{KL}_w + \beta_z \mathrm{KL}_z`, or, with
    ``loss="squared_error"``, :math:`\lVert x - \mathbb{E}[x \mid z, \tilde w] \rVert^2` in place of
    the first term. Each :math:`\beta` moves geometrically from its first to its second value
    during the stage.

    Attributes:
        name: What logs call it.
        share: Share of all steps, in (0, 1].
        inferred: Which latents are sampled from the posterior. The others are held at the mean of
            their prior, at no divergence: ``"parts"`` does so with z, ``"none"`` with w and z.
        loss: ``"likelihood"`` or ``"squared_error"``.
        beta_w: First and last weight of the divergence of the parts' latents.
        beta_z: First and last weight of the divergence of the whole's latent.
    """

    name: str
    share: float
    inferred: Inferred = "all"
    loss: Loss = "likelihood"
    beta_w: tuple[float, float] = (1.0, 1.0)
    beta_z: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        check_number(self.share, "share")
        check_choice(self.inferred, "inferred", get_args(Inferred))
        check_choice(self.loss, "loss", get_args(Loss))
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must lie in (0, 1] (got {self.share} in stage {self.name!r})")
        for name, value in (("beta_w", self.beta_w), ("beta_z", self.beta_z)):
            _check_two(value, name)
            if min(value) <= 0.0:
                raise ValueError(
                    f"{name} must be two positive weights (got {value} in stage {self.name!r})"
                )


@dataclass(frozen=True)
class Weights:
    """The stage of a step and the weights of its divergences."""

    stage: Stage
    beta_w: float
    beta_z: float


@dataclass(frozen=True)
class Curriculum:
    r"""Number of parts of the wholes of a batch, uniform from 1 to a bound that rises.

    Attributes:
        first: Bound at the first step.
        last: Bound in the end.
        every: Steps from one increment of the bound to the next; 0 starts at ``last``.
        per: One number ``"whole"`` by whole, or one for all of a ``"batch"`` (as in the paper).
    """

    first: int = 2
    last: int = 8
    every: int = 3000
    per: Per = "whole"

    def __post_init__(self) -> None:
        check_choice(self.per, "per", get_args(Per))
        for name, value in (("first", self.first), ("last", self.last)):
            check_count(value, name, at_least=0)
        if not 1 <= self.first <= self.last:
            raise ValueError(
                f"first and last must satisfy 1 <= first <= last (got {self.first}, {self.last})"
            )
        check_count(self.every, "every", at_least=0)

    def max_parts(self, step: int) -> int:
        """Return the largest number of parts at a step."""
        if self.every == 0:
            return self.last
        return min(self.first + step // self.every, self.last)

    def sizes(self, step: int, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """Draw the numbers of parts of one batch, ``[batch_size]``."""
        device = "cpu" if generator is None else generator.device
        draws = 1 if self.per == "batch" else batch_size
        high = self.max_parts(step) + 1
        sizes = torch.randint(1, high, (draws,), generator=generator, device=device)
        return sizes.expand(batch_size)


@dataclass(frozen=True)
class LearningRate:
    r"""A learning rate that is halved at regular intervals.

    Attributes:
        initial: The rate at first.
        final: The rate below which it does not fall.
        halving: Steps between two halvings.
        hold: Steps before the first interval begins.
        warmup: Steps during which the rate rises linearly from 0.
    """

    initial: float = 1e-4
    final: float = 1e-6
    halving: int = 20_000
    hold: int = 0
    warmup: int = 0

    def __post_init__(self) -> None:
        for name in ("initial", "final"):
            check_number(getattr(self, name), name)
            if getattr(self, name) < 0.0 or self.initial == 0.0:
                raise ValueError(
                    f"initial must be positive and final not negative (got {self.initial} and "
                    f"{self.final})"
                )
        check_count(self.halving, "halving")
        check_count(self.hold, "hold", at_least=0)
        check_count(self.warmup, "warmup", at_least=0)

    @classmethod
    def for_run(cls, num_steps: int, initial: float) -> "LearningRate":
        """Return a rate for a run of any length: constant for half of it, then halved six times.

        Example:
            >>> rate = LearningRate.for_run(10_000, initial=1e-3)
            >>> rate.at(4_000), rate.at(9_999) * 64
            (0.001, 0.001)
        """
        return cls(
            initial=initial,
            final=initial / 64,
            hold=int(0.45 * num_steps),
            halving=max(1, int(0.09 * num_steps)),
            warmup=min(200, num_steps // 10),
        )

    def at(self, step: int) -> float:
        """Return the rate of a step."""
        halvings = max(0, step - self.hold) // max(1, self.halving)
        rate = max(self.initial * 0.5**halvings, self.final)
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate


@dataclass(frozen=True)
class Schedule:
    """A course of training.

    Attributes:
        num_steps: Number of batches.
        batch_size: Number of wholes in a batch.
        stages: Stages in their order; their shares sum to 1.
        curriculum: Numbers of parts.
        learning_rate: Learning rate of Adam.
        betas: Adam's decay rates.
        max_grad_norm: Bound on the norm of the gradient; ``None`` for none.

    Example:
        >>> schedule = Schedule(num_steps=100, batch_size=8, stages=(
        ...     Stage("parts", 0.5, inferred="parts", beta_w=(4.0, 1.0)), Stage("whole", 0.5)))
        >>> schedule.weights(0).beta_w, schedule.weights(99).stage.name
        (4.0, 'whole')
    """

    num_steps: int
    batch_size: int
    stages: tuple[Stage, ...] = (Stage("whole", 1.0),)
    curriculum: Curriculum = field(default_factory=Curriculum)
    learning_rate: LearningRate = field(default_factory=LearningRate)
    betas: tuple[float, float] = (0.5, 0.9)
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        check_count(self.num_steps, "num_steps")
        check_count(self.batch_size, "batch_size")
        if not isinstance(self.stages, (tuple, list)) or not all(
            isinstance(stage, Stage) for stage in self.stages
        ):
            raise TypeError(f"stages must be a tuple of Stage (got {self.stages!r})")
        for name, kind in (("curriculum", Curriculum), ("learning_rate", LearningRate)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(
                    f"{name} must be a {kind.__name__} (got {type(getattr(self, name)).__name__})"
                )
        _check_two(self.betas, "betas")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1) (got {self.betas})")
        if self.max_grad_norm is not None:
            check_number(self.max_grad_norm, "max_grad_norm")
            if self.max_grad_norm <= 0.0:
                raise ValueError(f"max_grad_norm must be positive (got {self.max_grad_norm})")
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of the stages must sum to 1 (got {total:g})")

    @classmethod
    def roads(
        cls,
        num_steps: int,
        batch_size: int,
        *,
        max_parts: int,
        initial_rate: float,
        shares: tuple[float, float, float] = (0.2, 0.5, 0.3),
        beta_w: float = 4.0,
    ) -> "Schedule":
        """Return a course that opens one road to the whole after the other.

        First the decoder learns what the labels of the parts say, with all latents at the means of
        their priors, then the latents of the parts are opened, then that of the whole. The loss is
        the bound in the end.

        Args:
            num_steps: Number of batches.
            batch_size: Number of wholes in a batch.
            max_parts: Wholes have 1 to so many parts.
            initial_rate: Learning rate, see :meth:`LearningRate.for_run`.
            shares: Shares of the three stages in all steps.
            beta_w: Weight of the divergence of the parts' latents where they are opened; it falls
                to 1 within the stage. That of the whole's latent begins with 10.

        Example:
            >>> course = Schedule.roads(1000, 64, max_parts=4, initial_rate=2e-3)
            >>> [course.weights(step).stage.name for step in (0, 500, 999)]
            ['labels', 'parts', 'whole']
        """
        check_count(max_parts, "max_parts")
        labels, parts, whole = shares
        return cls(
            num_steps=num_steps,
            batch_size=batch_size,
            stages=(
                Stage("labels", labels, inferred="none", loss="squared_error"),
                Stage("parts", parts, inferred="parts", beta_w=(beta_w, 1.0)),
                Stage("whole", whole, beta_z=(10.0, 1.0)),
            ),
            curriculum=Curriculum(first=max_parts, last=max_parts, every=0),
            learning_rate=LearningRate.for_run(num_steps, initial=initial_rate),
            betas=(0.9, 0.98),
        )

    def weights(self, step: int) -> Weights:
        """Return the stage of a step, numbered from 0, and the weights of its divergences."""
        start, total = 0, 0.0
        for stage in self.stages:
            total += stage.share
            # In whole steps: a sum of shares such as 0.1 + 0.2 is not exactly 0.3.
            end = round(total * self.num_steps)
            if step < end or stage is self.stages[-1]:
                break
            start = end
        within = min((step - start) / max(1, end - start), 1.0)
        beta_w, beta_z = (
            low * (high / low) ** within for low, high in (stage.beta_w, stage.beta_z)
        )
        return Weights(stage, beta_w, beta_z)
