"""Curves that show what sine waves make, and what a model makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compvae_pyg.evaluation.checks import check_counts, check_evaluation, check_numbers
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.models import CompVAE
from compvae_pyg.models.checks import check_type
from compvae_pyg.nn.checks import check_count
from compvae_pyg.problems import Sines

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

    Attributes:
        category: Category of each wave, ``[K]``.
        true_parts: True curve of each wave alone, ``[K, T]``.
        true_wholes: True curve of the first ``i`` waves for ``i = 1 … K``, ``[K, T]``; the last is
            the curve that the model observes.
        true_without: True curve of all waves but one, ``[K, T]``.
        parts: Curves that the model decodes from the latents it inferred, of each wave alone,
            ``[K, T]``.
        wholes: Those of the first ``i`` waves, ``[K, T]``; the last reconstructs what it observed.
        without: Those of all waves but one, ``[K, T]``.
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
    """Many curves of one wave each, all on the CPU.

    Attributes:
        category: Categories, ``[C]``.
        truth: True curves of each, ``[C, num_draws, T]``.
        generated: Generated curves of each, ``[C, num_draws, T]``.
    """

    category: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class SinesNonlinearity:
    r"""True curves of the same waves that saturate more and more.

    Attributes:
        nonlinearity: Values of :math:`C`.
        whole: The curve of each, ``[len(nonlinearity), T]``.
        linear: What it would be if parts added up, :math:`C \sum_i a_i \cos(\dots)`, alike.
        num_parts: Number :math:`K` of waves, which a curve does not exceed.
    """

    nonlinearity: tuple[float, ...]
    whole: Tensor
    linear: Tensor
    num_parts: int


def recompose_sines(
    model: CompVAE,
    problem: Sines,
    *,
    category: Sequence[int] = (0, 2, 1, 5, 3, 7),
    seed: int = 0,
) -> SinesRecomposition:
    r"""Infer the latents of a curve's waves, and decode some of them (paper, Fig. 6).

    The model observes the curve of all waves and is told their categories. With the noise
    :math:`\varepsilon` of :math:`z` that it infers as well, any choice :math:`A` of the waves has

    .. math::
        \tilde w_A = \sum_{i \in A} w_i, \qquad
        z_A = \mu(\tilde w_A) + \sigma(\tilde w_A)\, \varepsilon, \qquad
        x_A = \mathbb{E}[x \mid z_A, \tilde w_A]

    to be compared with the true curve of the same waves, whose amplitudes and phases are known.

    Args:
        model: The model.
        problem: The ground truth.
        category: Categories of the waves, in the order in which they are added.
        seed: Seed of the amplitudes, the phases and the latents.

    Raises:
        ValueError: If there is no wave, or no such category.

    Example:
        >>> sines = Sines()
        >>> series = recompose_sines(sines.build("small"), sines, category=[0, 2, 2])
        >>> series.true_wholes.shape, series.without.shape
        (torch.Size([3, 200]), torch.Size([3, 200]))
    """
    check_evaluation(model, problem, Sines, seed=seed)
    waves, num_parts = _waves(problem, category), len(category)
    amplitude, phase = problem.features(num_parts, evaluation_generator(seed, num_parts))
    alone = torch.eye(num_parts, dtype=torch.bool)
    so_far = torch.ones_like(alone).tril()
    # Which waves each curve is made of, [3K, K].
    chosen = torch.cat([alone, so_far, ~alone])
    batch, wave = chosen.nonzero(as_tuple=True)
    truth = problem.render(waves[wave], amplitude[wave], phase[wave], batch, len(chosen))
    true_parts, true_wholes, true_without = truth.chunk(3)
    with isolated(model, seed) as device:
        seen = model.infer(true_wholes[-1:].to(device), {"category": waves.to(device)})
        copies = seen.select(torch.zeros(len(chosen), dtype=torch.long, device=device))
        decoded = copies.remove(~chosen.flatten().to(device)).decode().mean.cpu()
    parts, wholes, without = decoded.chunk(3)
    return SinesRecomposition(waves, true_parts, true_wholes, true_without, parts, wholes, without)


def sines_variety(
    model: CompVAE,
    problem: Sines,
    *,
    category: Sequence[int] = (0, 1, 3),
    num_draws: int = 25,
    seed: int = 0,
) -> SinesVariety:
    """Draw curves of one wave of a category again and again (paper, Fig. 5).

    Args:
        model: The model.
        problem: The ground truth.
        category: Categories.
        num_draws: Number of curves of each.
        seed: Seed of the true curves and of the latents.

    Raises:
        ValueError: If there is no category, or no such, or ``num_draws`` is not positive.

    Example:
        >>> sines = Sines()
        >>> sines_variety(sines.build("small"), sines, num_draws=5).generated.shape
        torch.Size([3, 5, 200])
    """
    check_evaluation(model, problem, Sines, seed=seed, num_draws=num_draws)
    kinds = _waves(problem, category)
    waves = kinds.repeat_interleave(num_draws)
    batch = torch.arange(len(waves))
    truth = problem.draw(waves, batch, len(waves), evaluation_generator(seed, 1, "variety"))
    with isolated(model, seed) as device:
        generated = model.generate({"category": waves.to(device)}, batch.to(device), len(waves))
    return SinesVariety(
        category=kinds,
        truth=truth.unflatten(0, (-1, num_draws)),
        generated=generated.cpu().unflatten(0, (-1, num_draws)),
    )


def sines_nonlinearity(
    problem: Sines,
    *,
    nonlinearity: Sequence[float] = (0.3, 1.0, 3.0, 10.0),
    category: Sequence[int] = (0, 1, 2, 4),
    seed: int = 0,
) -> SinesNonlinearity:
    """Draw the same waves with one nonlinearity after the other (paper, Fig. 10).

    Args:
        problem: The ground truth, but for its nonlinearity.
        nonlinearity: Values of :math:`C`, positive.
        category: Categories of the waves.
        seed: Seed of the amplitudes and the phases.

    Raises:
        ValueError: If there is no wave, no such category, or a nonlinearity is not positive.

    Example:
        >>> weak, strong = sines_nonlinearity(Sines(), nonlinearity=[0.01, 10.0]).whole
        >>> float(weak.abs().max()) < 0.1, float(strong.abs().max()) > 3.9
        (True, True)
    """
    check_type(problem, "problem", Sines)
    check_count(seed, "seed", at_least=0)
    check_numbers(nonlinearity, "nonlinearity")
    kinds, num_parts = _waves(problem, category), len(category)
    features = problem.features(num_parts, evaluation_generator(seed, num_parts))
    waves = (kinds, *features)
    one = torch.zeros(num_parts, dtype=torch.long)
    curves = [replace(problem, nonlinearity=c).render(*waves, one, 1) for c in nonlinearity]
    # With so weak a nonlinearity, tanh is its argument to the precision of 32 bits.
    total = replace(problem, nonlinearity=1e-4).render(*waves, one, 1) / 1e-4
    return SinesNonlinearity(
        nonlinearity=tuple(nonlinearity),
        whole=torch.cat(curves),
        linear=torch.tensor(list(nonlinearity)).unsqueeze(1) * total,
        num_parts=num_parts,
    )


def _waves(problem: Sines, category: Sequence[int]) -> Tensor:
    check_counts(category, "category", at_least=0)
    if len(category) == 0:
        raise ValueError("category must not be empty (got none)")
    for number in category:
        if not 0 <= number < problem.num_categories:
            raise ValueError(f"category must lie in [0, {problem.num_categories}) (got {number})")
    return torch.tensor(category)
