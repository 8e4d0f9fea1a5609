"""Images that show what a model makes of coloured sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compvae_pyg.evaluation.checks import check_counts, check_evaluation
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Dots, render_dots

__all__ = ["Recomposition", "Reconstructions", "recompose_dots", "reconstruct_dots"]


@dataclass(frozen=True)
class Recomposition:
    """An image composed site by site, all on the CPU.

    Attributes:
        color: Colour of each site as an index into :data:`~compvae_pyg.problems.COLORS`, ``[K]``.
        pos: Position of each site, ``[K, 2]``.
        truth: The true image of the first ``i`` sites for ``i = 1 … K``, ``[K, 3, 32, 32]``.
        generated: Images generated from the same sites, several draws of each,
            ``[num_samples, K, 3, 32, 32]``.
    """

    color: Tensor
    pos: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class Reconstructions:
    """Images and what is left of them after inference, all on the CPU.

    Attributes:
        num_parts: Number of sites of each image, ``[S]``.
        whole: Images, ``[S, 3, 32, 32]``.
        reconstruction: Images decoded from their latents, ``[S, 3, 32, 32]``.
    """

    num_parts: Tensor
    whole: Tensor
    reconstruction: Tensor


def recompose_dots(
    model: CompVAE, problem: Dots, *, num_parts: int = 8, num_samples: int = 4, seed: int = 0
) -> Recomposition:
    r"""Compose an image of one site, then of two, up to ``num_parts`` (paper, Fig. 8).

    A site keeps what it is as others join it: its intensity in the true images, its latent
    :math:`w_i \sim p(w_i \mid \ell_i)` and the noise of :math:`z` in each generated series:

    .. math::
        \tilde w^{(k)} = \sum_{i \leq k} w_i, \qquad
        z^{(k)} = \mu(\tilde w^{(k)}) + \sigma(\tilde w^{(k)})\, \varepsilon, \qquad
        x^{(k)} = \mathbb{E}[x \mid z^{(k)}, \tilde w^{(k)}]

    Args:
        model: The model.
        problem: The ground truth.
        num_parts: Number :math:`K` of sites in the end.
        num_samples: Number of generated series.
        seed: Seed of the sites and of the latents.

    Example:
        >>> dots = Dots()
        >>> series = recompose_dots(dots.build("small"), dots, num_parts=3, num_samples=2)
        >>> series.truth.shape, series.generated.shape
        (torch.Size([3, 3, 32, 32]), torch.Size([2, 3, 3, 32, 32]))
    """
    check_evaluation(model, problem, Dots, seed=seed, num_parts=num_parts, num_samples=num_samples)
    source = evaluation_generator(seed, num_parts)
    data = problem.sample(torch.tensor([num_parts]), source)
    low, high = problem.intensity_range
    intensity = low + (high - low) * torch.rand(num_parts, generator=source)
    # The k-th set holds the first k sites.
    batch, first = torch.tril_indices(num_parts, num_parts)
    truth = render_dots(data.color[first], data.pos[first], intensity[first], batch, num_parts)
    with isolated(model, seed) as device:
        parts = {
            name: value.to(device).repeat(num_samples, *[1] * (value.dim() - 1))
            for name, value in problem.parts(data).items()
        }
        series = torch.arange(num_samples, device=device)
        complete = model.compose(parts, series.repeat_interleave(num_parts), num_samples)
        # As many copies of each series as it has sites; the k-th copy keeps the first k of them.
        copies = complete.select(series.repeat_interleave(num_parts))
        site = torch.arange(num_parts, device=device).repeat(copies.batch_size)
        generated = copies.remove(site > copies.batch % num_parts).decode().mean
    return Recomposition(
        color=data.color,
        pos=data.pos,
        truth=truth,
        generated=generated.unflatten(0, (num_samples, num_parts)).cpu(),
    )


def reconstruct_dots(
    model: CompVAE,
    problem: Dots,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 16),
    num_examples: int = 5,
    seed: int = 0,
) -> Reconstructions:
    """Reconstruct a few images of each number of sites.

    Args:
        model: The model.
        problem: The ground truth.
        num_parts: Numbers of sites.
        num_examples: Number of images of each number of sites.
        seed: Seed of the images and of the latents.

    Example:
        >>> dots = Dots()
        >>> pairs = reconstruct_dots(dots.build("small"), dots, num_parts=[2], num_examples=3)
        >>> pairs.whole.shape, pairs.reconstruction.shape
        (torch.Size([3, 3, 32, 32]), torch.Size([3, 3, 32, 32]))
    """
    check_evaluation(model, problem, Dots, seed=seed, num_examples=num_examples)
    check_counts(num_parts, "num_parts")
    sizes = torch.tensor(num_parts).repeat_interleave(num_examples)
    data = problem.sample(sizes, evaluation_generator(seed, 0))
    with isolated(model, seed) as device:
        there = data.clone().to(device)
        reconstruction = model.reconstruct(
            there.whole, problem.parts(there), there.batch, there.num_graphs
        )
    return Reconstructions(num_parts=sizes, whole=data.whole, reconstruction=reconstruction.cpu())
