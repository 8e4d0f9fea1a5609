"""Images that show how a model composes sites, and reconstructs images of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import checks
from compvae_pyg.problems.dots.data import COLORS, render_dots
from compvae_pyg.problems.dots.problem import Dots
from compvae_pyg.problems.repeatable import isolated, stream

__all__ = ["Recomposition", "Reconstructions", "recompose_dots", "reconstruct_dots"]


@dataclass(frozen=True)
class Recomposition:
    """An image composed site by site, all on the CPU.

    ``color``, ``[K]``, and ``pos``, ``[K, 2]``, are the sites, of which the first 1, 2, … K make
    the images of ``truth``, ``[K, 3, 32, 32]``, and ``generated``, ``[num_samples, K, 3, 32, 32]``.

    Example:
        >>> from compvae_pyg import Dots
        >>> how = {"num_parts": 2, "num_samples": 1}
        >>> recompose_dots(Dots().build("small"), Dots(), **how).pos.shape
        torch.Size([2, 2])
    """

    color: Tensor
    pos: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class Reconstructions:
    """Images, their numbers of sites, ``[S]``, and reconstructions, ``[S, 3, 32, 32]``.

    Example:
        >>> from compvae_pyg import Dots
        >>> how = {"num_parts": [2], "num_examples": 1}
        >>> reconstruct_dots(Dots().build("small"), Dots(), **how).num_parts
        tensor([2])
    """

    num_parts: Tensor
    whole: Tensor
    reconstruction: Tensor


def recompose_dots(
    model: CompVAE, problem: Dots, *, num_parts: int = 8, num_samples: int = 4, seed: int = 0
) -> Recomposition:
    r"""Compose an image of one site, then of two, up to ``num_parts`` (paper, Fig. 8).

    As others join it, a site keeps its intensity in the ground truth, and in each generated series
    its latent :math:`w_i \sim p(w_i \mid \ell_i)` and the :math:`\varepsilon` of :math:`z`:

    .. math::
        \tilde w^{(k)} = \sum_{i \leq k} w_i, \qquad
        z^{(k)} = \mu(\tilde w^{(k)}) + \sigma(\tilde w^{(k)})\, \varepsilon, \qquad
        x^{(k)} = \mathbb{E}[x \mid z^{(k)}, \tilde w^{(k)}]

    for each of ``num_samples`` series. Sites and latents are drawn from ``seed``; a site that is
    neither black nor white comes first, if there is one.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Dots
        >>> series = recompose_dots(Dots().build("small"), Dots(), num_parts=3, num_samples=2)
        >>> series.truth.shape, series.generated.shape
        (torch.Size([3, 3, 32, 32]), torch.Size([2, 3, 3, 32, 32]))
    """
    counts = {"num_parts": num_parts, "num_samples": num_samples}
    checks.check_evaluation(model, problem, Dots, seed=seed, **counts)
    source = stream(seed, num_parts)
    data = problem.sample(torch.tensor([num_parts]), source)
    bright = [list(COLORS)[int(color)] not in ("black", "white") for color in data.color]
    first_site = bright.index(True) if any(bright) else 0
    for field in problem.part_fields:
        data[field] = data[field].roll(-first_site, dims=0)
    low, high = problem.intensity_range
    intensity = low + (high - low) * torch.rand(num_parts, generator=source)
    # The k-th set holds the first k sites.
    batch, first = torch.tril_indices(num_parts, num_parts)
    truth = render_dots(data.color[first], data.pos[first], intensity[first], batch, num_parts)
    with isolated(model, seed) as device:
        sites = problem.pack(data).repeat(num_samples).to(device)
        complete = model.compose(sites)
        # As many copies of each series as it has sites; the k-th copy keeps the first k of them.
        series = torch.arange(num_samples, device=device)
        copies = complete.select(series.repeat_interleave(num_parts))
        site = torch.arange(num_parts, device=device).repeat(copies.batch_size)
        generated = copies.remove(site > copies.batch % num_parts).decode().mean.cpu()
    return Recomposition(data.color, data.pos, truth, generated.unflatten(0, (-1, num_parts)))


def reconstruct_dots(
    model: CompVAE,
    problem: Dots,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 16),
    num_examples: int = 5,
    seed: int = 0,
) -> Reconstructions:
    """Reconstruct ``num_examples`` images of each number of sites, drawn from ``seed``.

    Raises:
        TypeError, ValueError: If an argument is of another type or out of range.

    Example:
        >>> from compvae_pyg import Dots
        >>> pairs = reconstruct_dots(Dots().build("small"), Dots(), num_parts=[2], num_examples=4)
        >>> pairs.reconstruction.shape
        torch.Size([4, 3, 32, 32])
    """
    checks.check_evaluation(model, problem, Dots, seed=seed, num_examples=num_examples)
    checks.check_counts(num_parts, "num_parts")
    sizes = torch.tensor(num_parts).repeat_interleave(num_examples)
    data = problem.sample(sizes, stream(seed, 0))
    with isolated(model, seed) as device:
        sites = problem.pack(data).to(device)
        reconstruction = model.reconstruct(data.whole.to(device), sites)
    return Reconstructions(sizes, data.whole, reconstruction.cpu())
