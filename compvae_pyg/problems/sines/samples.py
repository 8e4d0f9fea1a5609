"""Curves that show how a model composes waves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import checks
from compvae_pyg.problems.repeatable import isolated, stream
from compvae_pyg.problems.sines.problem import Sines

__all__ = [
    "SinesNonlinearity",
    "SinesRecomposition",
    "SinesVariety",
    "recompose_sines",
    "sines_nonlinearity",
    "sines_variety",
]


@dataclass(frozen=True)
class SinesRecomposition:
    """A curve taken apart and put together again, all on the CPU.

    Curves, ``[K, T]``, are the ground truth, ``true``, and what inferred latents decode to: of each
    wave alone, ``parts``; of the first 1, 2, … K, ``wholes``, the last of which the model observes;
    and of all but one, ``without``.

    Example:
        >>> from compvae_pyg import Sines
        >>> recompose_sines(Sines().build("small"), Sines(), category=[0, 2]).parts.shape
        torch.Size([2, 200])
    """

    category: Tensor
    true_parts: Tensor
    true_wholes: Tensor
    true_without: Tensor
    parts: Tensor
    wholes: Tensor
    without: Tensor


@dataclass(frozen=True)
class SinesVariety:
    """Many curves, ``[C, num_draws, T]``, of one wave of each category, all on the CPU.

    Example:
        >>> from compvae_pyg import Sines
        >>> sines_variety(Sines().build("small"), Sines()).truth.shape[-1]
        200
    """

    category: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class SinesNonlinearity:
    r"""Ground-truth curves of the same :math:`K` waves that saturate more and more.

    For each nonlinearity :math:`C`, ``whole`` lies in :math:`[-K, K]`, and ``linear`` is the sum of
    the parts, :math:`C \sum_i a_i \cos(\dots)`, both ``[len(nonlinearity), T]``.

    Example:
        >>> from compvae_pyg import Sines
        >>> sines_nonlinearity(Sines()).whole.shape[1]
        200
    """

    nonlinearity: tuple[float, ...]
    whole: Tensor
    linear: Tensor
    num_parts: int


def recompose_sines(
    model: CompVAE, problem: Sines, *, category: Sequence[int] = (0, 2, 1, 5, 3, 7), seed: int = 0
) -> SinesRecomposition:
    r"""Infer the latents of a curve's waves, and decode some of them (paper, Fig. 6).

    The model observes the curve of all waves, at least one, and their categories. Choices of them
    are decoded as in :func:`~compvae_pyg.problems.dots.recompose_dots`, with the inferred
    :math:`\varepsilon` of :math:`z`. Amplitudes, phases and latents are drawn from ``seed``.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Sines
        >>> recompose_sines(Sines().build("small"), Sines(), category=[0, 2, 2]).without.shape
        torch.Size([3, 200])
    """
    checks.check_evaluation(model, problem, Sines, seed=seed)
    waves, num_parts = _waves(problem, category), len(category)
    amplitude, phase = problem.features(num_parts, stream(seed, num_parts))
    alone = torch.eye(num_parts, dtype=torch.bool)
    # Which waves each curve is made of, [3K, K]: one, those so far, all but one.
    chosen = torch.cat([alone, torch.ones_like(alone).tril(), ~alone])
    batch, wave = chosen.nonzero(as_tuple=True)
    truth = problem.render(waves[wave], amplitude[wave], phase[wave], batch, len(chosen))
    with isolated(model, seed) as device:
        observed = truth[2 * num_parts - 1 : 2 * num_parts].to(device)
        seen = model.infer(observed, {"category": waves.to(device)})
        copies = seen.select(torch.zeros(len(chosen), dtype=torch.long, device=device))
        decoded = copies.remove(~chosen.flatten().to(device)).decode().mean.cpu()
    return SinesRecomposition(waves, *truth.chunk(3), *decoded.chunk(3))


def sines_variety(
    model: CompVAE,
    problem: Sines,
    *,
    category: Sequence[int] = (0, 1, 3),
    num_draws: int = 25,
    seed: int = 0,
) -> SinesVariety:
    """Draw ``num_draws`` curves of one wave of each category from ``seed`` (paper, Fig. 5).

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Sines
        >>> sines_variety(Sines().build("small"), Sines(), num_draws=5).generated.shape
        torch.Size([3, 5, 200])
    """
    checks.check_evaluation(model, problem, Sines, seed=seed, num_draws=num_draws)
    kinds = _waves(problem, category)
    waves = kinds.repeat_interleave(num_draws)
    batch = torch.arange(len(waves))
    truth = problem.draw(waves, batch, len(waves), stream(seed, 1, "variety"))
    with isolated(model, seed) as device:
        generated = model.generate({"category": waves.to(device)}, batch.to(device), len(waves))
    samples = (curves.unflatten(0, (-1, num_draws)) for curves in (truth, generated.cpu()))
    return SinesVariety(kinds, *samples)


def sines_nonlinearity(
    problem: Sines,
    *,
    nonlinearity: Sequence[float] = (0.3, 1.0, 3.0, 10.0),
    category: Sequence[int] = (0, 1, 2, 4),
    seed: int = 0,
) -> SinesNonlinearity:
    """Draw the same waves with one nonlinearity after the other (paper, Fig. 10).

    Amplitudes and phases are drawn from ``seed``; the other parameters are those of the problem.
    ``nonlinearity`` must hold positive numbers, and ``category`` at least one of the categories.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Sines
        >>> weak, strong = sines_nonlinearity(Sines(), nonlinearity=[0.01, 10.0]).whole
        >>> float(weak.abs().max()) < 0.1, float(strong.abs().max()) > 3.9
        (True, True)
    """
    checks.check_type(problem, "problem", Sines)
    checks.check_count(seed, "seed", at_least=0)
    checks.check_numbers(nonlinearity, "nonlinearity")
    kinds, num_parts = _waves(problem, category), len(category)
    features = problem.features(num_parts, stream(seed, num_parts))

    def draw(value: float) -> Tensor:
        batch = torch.zeros(num_parts, dtype=torch.long)
        return replace(problem, nonlinearity=value).render(kinds, *features, batch, 1)

    # With so weak a nonlinearity, tanh is its argument to the precision of 32 bits.
    linear = torch.tensor(list(nonlinearity)).unsqueeze(1) * (draw(1e-4) / 1e-4)
    whole = torch.cat([draw(value) for value in nonlinearity])
    return SinesNonlinearity(tuple(nonlinearity), whole, linear, num_parts)


def _waves(problem: Sines, category: Sequence[int]) -> Tensor:
    checks.check_counts(category, "category", at_least=0)
    if len(category) == 0:
        raise ValueError("category must not be empty (got none)")
    return checks.check_categories({"category": torch.tensor(category)}, problem.num_categories)
