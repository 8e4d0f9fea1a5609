"""The probability of a rare event in standard normal space, and samples of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from compvae_pyg.nn.checks import (
    check_generator,
    check_number,
    check_probability,
    check_shape,
    check_sizes,
    check_type,
)
from compvae_pyg.progress import progress as shown

__all__ = ["Level", "RareEvent", "subset_simulation"]

_ACCEPTANCE = 0.44  # share of moves to accept, near the optimum (Papaioannou et al., 2015)
_FIRST_STEP = 0.8
_LARGE = 0.5  # coefficient of variation that is hardly known itself


@dataclass(frozen=True)
class Level:
    r"""One level of a subset simulation: samples of :math:`\varepsilon \mid f > b_{j-1}`.

    Attributes:
        threshold: :math:`b_j`, the score that the samples of the next level exceed.
        probability: Estimate of :math:`P(f > b_j \mid f > b_{j-1})`.
        coefficient_of_variation: That of this estimate, with the correlation along the Markov
            chains (Au & Beck, 2001), as if their starts were independent.
        acceptance: Share of the moves that were accepted; ``nan`` for the first level.
        step: Size :math:`\beta` of the last move; ``nan`` for the first level.

    Example:
        >>> event = subset_simulation(lambda e: e[:, 0], 1, level=2.5, progress=False)
        >>> event.levels[-1].threshold
        2.5
    """

    threshold: float
    probability: float
    coefficient_of_variation: float
    acceptance: float
    step: float


@dataclass(frozen=True)
class RareEvent:
    r"""A rare event :math:`f(\varepsilon) > b` of standard normal noise: how rare, and samples.

    Attributes:
        level: The level :math:`b`.
        probability: Estimate of :math:`P(f > b)`.
        coefficient_of_variation: Estimate of its standard deviation over its mean.
        noise: Samples of the noise given the event, ``[M, D]``: states of Markov chains, so that
            they are correlated and may repeat.
        score: Their scores, ``[M]``.
        num_ancestors: Number of independent samples of the first level from which they descend; a
            handful means that there were too few samples.
        num_evaluations: Number of scores that were computed.
        levels: The levels, of which the last has ``threshold`` :math:`b`.

    Example:
        >>> source = torch.Generator().manual_seed(0)
        >>> how = {"generator": source, "progress": False}
        >>> event = subset_simulation(lambda e: e[:, 0], 1, level=3.0, **how)  # 0.00135
        >>> 0.0008 < event.probability < 0.0022
        True
        >>> bool((event.score > 3.0).all())
        True
    """

    level: float
    probability: float
    coefficient_of_variation: float
    noise: Tensor
    score: Tensor
    num_ancestors: int
    num_evaluations: int
    levels: tuple[Level, ...]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        r"""Return a confidence interval of the probability.

        .. math::
            \hat p \, e^{\pm q s}, \qquad s^2 = \log(1 + \mathrm{cv}^2)

        with the quantile :math:`q` of a Student distribution, since the coefficient of variation is
        an estimate itself, of :math:`1 / (2\,\mathrm{cv}^2)` degrees of freedom: those of
        families of samples that differ in size. Where one level sufficed, its samples are
        independent, and the interval is exact (Clopper & Pearson, 1934). It warns where the
        coefficient of variation exceeds 0.5.

        Raises:
            ValueError: If ``confidence`` is not in (0, 1).
        """
        check_probability(confidence, "confidence")
        tail = 0.5 - 0.5 * confidence
        if len(self.levels) == 1:
            size = self.num_evaluations
            return _exact_interval(round(self.probability * size), size, tail)
        if self.coefficient_of_variation > _LARGE:
            warnings.warn(
                f"the interval may be too narrow: the event descends from {self.num_ancestors} "
                "independent samples, with a coefficient of variation of "
                f"{self.coefficient_of_variation:.2g}: raise num_samples",
                stacklevel=2,
            )
        spread = math.sqrt(math.log1p(self.coefficient_of_variation**2))
        freedom = 0.5 / max(self.coefficient_of_variation**2, 1e-12)
        factor = math.exp(_student(tail, freedom) * spread)
        return self.probability / factor, min(1.0, self.probability * factor)


def _student(tail: float, freedom: float) -> float:
    """Return a quantile of Student's t distribution by Cornish and Fisher's expansion."""
    q = -NormalDist().inv_cdf(tail)
    first, second = (q**3 + q) / 4.0, (5.0 * q**5 + 16.0 * q**3 + 3.0 * q) / 96.0
    third = (3.0 * q**7 + 19.0 * q**5 + 17.0 * q**3 - 15.0 * q) / 384.0
    return q + first / freedom + second / freedom**2 + third / freedom**3


def _exact_interval(count: int, size: int, tail: float) -> tuple[float, float]:
    """Return the probabilities at which so many of so many samples, or more or fewer, are rare."""
    number = torch.arange(size + 1, dtype=torch.float64)
    choices = math.lgamma(size + 1) - torch.lgamma(number + 1) - torch.lgamma(size - number + 1)

    def solve(rows: slice, rises: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            p = 0.5 * (low + high)
            logs = number * math.log(p) + (size - number) * math.log1p(-p)
            over = float((choices + logs)[rows].exp().sum()) > tail
            low, high = (low, p) if over == rises else (p, high)
        return 0.5 * (low + high)

    first = solve(slice(count, None), True) if count > 0 else 0.0
    return first, solve(slice(0, count + 1), False) if count < size else 1.0


def subset_simulation(
    score: Callable[[Tensor], Tensor],
    num_channels: int,
    *,
    level: float | None = None,
    probability: float | None = None,
    num_samples: int = 2000,
    level_probability: float = 0.1,
    min_probability: float = 1e-12,
    chunk_size: int = 1000,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> RareEvent:
    r"""Estimate how likely a score of standard normal noise exceeds a level, and draw such noise.

    The event is reached over levels :math:`b_1 < b_2 < \dots < b_m = b` that about one sample in
    ten exceeds of those that exceed the one before (Au & Beck, 2001; Cérou et al., 2012):

    .. math::
        P(f(\varepsilon) > b) = \prod_{j=1}^m P\bigl(f(\varepsilon) > b_j \mid
            f(\varepsilon) > b_{j-1}\bigr), \qquad \varepsilon \sim \mathcal{N}(0, I_D)

    Samples above a level are the starts of Markov chains that stay above it. Their moves,

    .. math::
        \varepsilon' = \sqrt{1 - \beta^2}\, \varepsilon + \beta\, \xi, \qquad
        \xi \sim \mathcal{N}(0, I_D)

    (preconditioned Crank-Nicolson, Cotter et al., 2013), leave the normal distribution invariant,
    so that :math:`\varepsilon'` is accepted when it exceeds the level. The step :math:`\beta`
    follows the share of accepted moves (Papaioannou et al., 2015).

    A threshold is the highest score that is left behind: without correlation, the estimate is
    unbiased (Bréhier et al., 2015). Its coefficient of variation is the larger of two estimates, by
    the correlation along chains (Au & Beck, 2001), and by the shares of the first level's samples
    in those of the event (Lee & Whiteley, 2018); see ``docs/rare-wholes.md``.

    Args:
        score: :math:`f`, from noise ``[n, D]``, ``n`` at most ``chunk_size``, to scores ``[n]``.
        num_channels: Dimension :math:`D` of the noise.
        level: The level :math:`b`, if its probability is asked for.
        probability: The probability, if the level that is exceeded with it is asked for; that of
            the result differs from it by a few samples.
        num_samples: Number of samples of each level.
        level_probability: Share of the samples that exceeds the next level.
        min_probability: Probability at which the search for a ``level`` is given up.
        chunk_size: Number of scores computed at once; bounds the memory that ``score`` takes.
        dtype: Type of the noise; by default the default one.
        device: Where the noise goes; by default the generator's device, or the default one.
        generator: Source of the seed, on any device; by default the global one. The noise has a
            source of its own, so that nothing that ``score`` draws or seeds changes it.
        progress: Whether to show a progress bar, on a terminal.

    Raises:
        TypeError: If an argument is of another type, or scores are no tensor of real numbers.
        ValueError: If an argument is out of range, not exactly one of ``level`` and
            ``probability`` is given, or scores are NaN or not of shape ``[n]``.
        RuntimeError: If all scores are equal, or ``level`` is not reached.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> event = subset_simulation(lambda noise: noise.sum(dim=1) / 10.0, 100, level=4.753424)
        >>> low, high = event.interval()
        >>> low < 1e-6 < high, bool((event.noise.sum(dim=1) / 10.0 > 4.753424).all())
        (True, True)
    """
    check_score(score)
    check_sizes(num_channels=num_channels, num_samples=num_samples, chunk_size=chunk_size)
    check_generator(generator)
    check_probability(level_probability, "level_probability")
    check_probability(min_probability, "min_probability")
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be one of floating-point numbers (got {type(dtype).__name__})")
    check_type(progress, "progress", bool)
    if level is not None:
        check_number(level, "level")
    if probability is not None:
        check_probability(probability, "probability")
    if (level is None) == (probability is None):
        got = f"got {level} and {probability}"
        raise ValueError(f"exactly one of level and probability must be given ({got})")
    num_starts = round(level_probability * num_samples)
    if not 2 <= num_starts < num_samples:
        got = f"got {num_starts} of {num_samples}"
        raise ValueError(f"level_probability of num_samples must be 2 or more, not all ({got})")
    try:
        device = None if device is None else torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError):
        raise ValueError(f"device must be one of torch's (got {device!r})") from None
    source = device or torch.get_default_device() if generator is None else generator.device
    seed = torch.randint(2**63 - 1, (), generator=generator, device=source)
    own = torch.Generator(source).manual_seed(int(seed))

    def draw(count: int) -> Tensor:
        noise = torch.randn(count, num_channels, dtype=dtype, device=source, generator=own)
        return noise.to(device or source)

    total = None
    if probability is not None:
        num_moves = math.ceil(math.log(probability) / math.log(level_probability) - 1e-9) - 1
        total = num_samples + max(0, num_moves) * (num_samples - num_starts)
    bar = shown(None, "rare event", "scores", total=total, shown=progress)
    with torch.no_grad(), bar:

        def evaluate(noise: Tensor) -> Tensor:
            scores = []
            for chunk in noise.split(chunk_size):
                # A copy: a score may change what it is given.
                scores.append(_checked(score(chunk.clone()), chunk))
                bar.update(chunk.shape[0])
            return torch.cat(scores)

        noise = draw(num_samples)
        each = torch.arange(num_samples, device=noise.device)
        samples = _Samples(noise, evaluate(noise), num_samples, ancestor=each)
        num_evaluations, reached, levels = num_samples, 1.0, list[Level]()
        while True:
            ordered = samples.score.sort(descending=True).values
            if level is not None:
                last = bool(ordered[num_starts - 1] > level)
                threshold = float(level) if last else _threshold(ordered, num_starts)
            else:
                assert probability is not None
                wanted = min(round(probability / reached * num_samples), num_samples - 1)
                last = wanted >= num_starts
                threshold = _threshold(ordered, max(wanted, num_starts))
            above = samples.score > threshold
            levels.append(samples.level(threshold, above))
            reached *= levels[-1].probability
            if last:
                break
            if level is not None and reached < min_probability:
                got = f"got a probability of {reached:.1e} for scores above {threshold:.6g}"
                raise RuntimeError(f"level {level} was not reached ({got})")
            bar.set_postfix_str(f"P(score > {threshold:.4g}) = {reached:.1e}")
            samples = samples.move(above, threshold, draw, evaluate)
            num_evaluations += num_samples - samples.num_chains
    # Shares of the first level's samples in those of the event.
    count = scatter(above.double(), samples.ancestor, 0, num_samples, reduce="sum")
    share = count / count.sum()
    related = (share - 1.0 / num_samples).square().sum().item()
    along_chains = sum(each.coefficient_of_variation**2 for each in levels)
    return RareEvent(
        level=threshold,
        probability=reached,
        coefficient_of_variation=math.sqrt(max(along_chains, related)),
        noise=samples.noise[above],
        score=samples.score[above],
        num_ancestors=int((share > 0.0).sum()),
        num_evaluations=num_evaluations,
        levels=tuple(levels),
    )


@dataclass(frozen=True)
class _Samples:
    """The samples of one level; rows of a chain follow each other ``num_chains`` apart."""

    noise: Tensor  # states, [N, D]
    score: Tensor  # [N]
    num_chains: int
    ancestor: Tensor  # the sample of the first level that each descends from, [N]
    acceptance: float = math.nan  # share of accepted moves
    step: float = math.nan  # size of the last move

    def level(self, threshold: float, above: Tensor) -> Level:
        """Return what is known of this level, given which samples exceed the next threshold."""
        probability = above.double().mean().item()
        # The variance of a mean of clusters; for chains of one length, that of Au & Beck.
        chain = torch.arange(len(above), device=above.device) % self.num_chains
        deviation = scatter(above.double() - probability, chain, 0, self.num_chains, reduce="sum")
        variance = deviation.square().sum().item() / len(above) ** 2
        variance *= self.num_chains / max(1, self.num_chains - 1)
        spread = math.sqrt(variance) / probability
        return Level(threshold, probability, spread, self.acceptance, self.step)

    def move(
        self,
        above: Tensor,
        threshold: float,
        draw: Callable[[int], Tensor],
        evaluate: Callable[[Tensor], Tensor],
    ) -> _Samples:
        """Return as many samples above a threshold, by Markov chains from those that are there."""
        num_samples, starts = len(above), above.nonzero().squeeze(1)
        num_chains = len(starts)
        noise, score, accepted = self.noise[starts], self.score[starts], 0
        # In the place of the old ones, which are no longer needed.
        self.noise[:num_chains], self.score[:num_chains] = noise, score
        step = _FIRST_STEP if math.isnan(self.step) else self.step
        for move, done in enumerate(range(num_chains, num_samples, num_chains), start=1):
            count = min(num_chains, num_samples - done)
            proposal = math.sqrt(1.0 - step**2) * noise[:count] + step * draw(count)
            proposed = evaluate(proposal)
            accept = proposed > threshold
            noise = torch.where(accept.unsqueeze(1), proposal, noise[:count])
            score = torch.where(accept, proposed, score[:count])
            self.noise[done : done + count], self.score[done : done + count] = noise, score
            num_accepted = int(accept.sum())
            accepted += num_accepted
            # Ever smaller changes, so that the chains forget that the step depends on them.
            change = (num_accepted / count - _ACCEPTANCE) / math.sqrt(move)
            step = min(1.0, step * math.exp(change))
        chain = torch.arange(num_samples, device=starts.device) % num_chains
        return _Samples(
            noise=self.noise,
            score=self.score,
            num_chains=num_chains,
            ancestor=self.ancestor[starts][chain],
            acceptance=accepted / (num_samples - num_chains),
            step=step,
        )


def _threshold(ordered: Tensor, count: int) -> float:
    """Return the score, of those in descending order, that ``count`` samples exceed."""
    threshold = ordered[count]
    num_above = int((ordered > threshold).sum())
    if 2 * num_above < count:  # ties of more than the repeated states of chains
        lower = ordered[ordered < threshold]
        if len(lower) > 0:
            threshold = lower[0]
        elif num_above == 0:
            raise RuntimeError(f"scores must differ (got {threshold.item():.6g} for all samples)")
    return threshold.item()


def check_score(score: Any) -> None:
    if not callable(score):
        raise TypeError(f"score must be a function (got {type(score).__name__})")


def _checked(score: Any, noise: Tensor) -> Tensor:
    """Return a checked copy of the scores of noise in 64 bits, on its device."""
    check_type(score, "score's result", Tensor)
    check_shape(score, "score's result", noise.shape[:1])
    if score.dtype == torch.bool or score.is_complex():
        raise TypeError(f"score must return real numbers (got {score.dtype})")
    num_nan = int(score.isnan().sum())
    if num_nan > 0:
        raise ValueError(f"score must be a number (got NaN for {num_nan} of {len(score)} samples)")
    return score.detach().to(noise.device, torch.float64, copy=True)
