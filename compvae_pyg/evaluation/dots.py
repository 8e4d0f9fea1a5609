"""How well a model composes images of coloured sites, and images that show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import ElboRow, mean_square
from compvae_pyg.evaluation.energy import SampledRow, evaluate_samples
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.loop import Value, isolated, packed_parts, stream
from compvae_pyg.evaluation.rows import beside
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import PackedParts, checks
from compvae_pyg.problems import COLORS, Dots, render_dots

__all__ = [
    "DotsRow",
    "Recomposition",
    "Reconstructions",
    "accuracy_per_image",
    "evaluate_dots",
    "recompose_dots",
    "reconstruct_dots",
    "site_accuracy",
    "sites_shown",
]

_BLACK, _MIDDLE, _WHITE = 0.25, 0.5, 0.75


@dataclass(frozen=True)
class DotsRow(SampledRow):
    """Images of one number of sites, ``generated``, beside ``true`` ones of the same sites.

    ``accuracy`` is :func:`site_accuracy`; its ratio is that of generated over true images. Other
    quantities compare an image to a ground-truth image, and the oracle compares two of these, which
    differ in their intensities: ``rmse``, the root mean squared difference, and ``glitches``, the
    share of pixels (paper, section 5.2) that are black, all channels below 1/4, where the ground
    truth has one above 1/2, or white, all above 3/4, where it has one below 1/2.
    """

    true_accuracy: Estimate
    generated_accuracy: Estimate
    accuracy_ratio: Estimate
    true_rmse: Estimate
    generated_rmse: Estimate
    true_glitches: Estimate
    generated_glitches: Estimate

    columns: ClassVar = {
        "K": "{0.num_parts}",
        "site accuracy (ground truth)": beside("accuracy", ".3f"),
        "ratio": "{0.accuracy_ratio:.3f±.3f}",
        "rmse (oracle)": beside("rmse", ".3f"),
        "glitches (oracle)": beside("glitches", ".2%"),
        "energy distance (oracle)": beside("energy_distance", ".3f"),
        **ElboRow.columns,
    }
    panels: ClassVar = {
        "sites that show their colour": "accuracy",
        "the same, relative to the ground truth": "accuracy_ratio",
        "rmse to a ground-truth image": "rmse",
        "share of glitches": "glitches",
    }
    chance: ClassVar = {"generated_accuracy": 1.0 / len(COLORS)}


def evaluate_dots(
    model: CompVAE,
    problem: Dots,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    num_part_sets: int = 8,
    num_draws: int = 64,
    **options: int,
) -> list[DotsRow]:
    """Compare generated to ground-truth images of the same sites, and estimate the ELBO.

    Other arguments and errors are those of :func:`measure_wholes`, see :class:`SampledRow` as well.

    Example:
        >>> dots, few = Dots(), {"num_wholes": 8, "num_draws": 2, "num_samples": 2}
        >>> row, = evaluate_dots(dots.build("small"), dots, num_parts=[1], **few)
        >>> row.true_accuracy
        Estimate(mean=1.0, standard_error=0.0)
    """

    def part_sets(sizes: Tensor, source: torch.Generator) -> PackedParts:
        return packed_parts(problem, problem.sample(sizes, source))

    def measure(data: Batch, source: torch.Generator) -> dict[str, Value]:
        sites = packed_parts(problem, data)
        generated = model.generate(sites)
        redrawn = problem.draw(data.color, data.pos, data.batch, data.num_graphs, source)
        true, own = (accuracy_per_image(images, sites) for images in (data.whole, generated))
        return {
            "true_accuracy": true,
            "generated_accuracy": own,
            "accuracy_ratio": partial(Estimate.ratio, own, true),
            "true_rmse": partial(Estimate.root_mean, mean_square(redrawn - data.whole)),
            "generated_rmse": partial(Estimate.root_mean, mean_square(generated - data.whole)),
            "true_glitches": _glitches(redrawn, data.whole),
            "generated_glitches": _glitches(generated, data.whole),
        }

    evaluate = partial(evaluate_samples, DotsRow, model, problem, measure, part_sets, "samples")
    return evaluate(num_parts, num_part_sets, num_draws, **options)


def _glitches(images: Tensor, truth: Tensor) -> Tensor:
    black = (images < _BLACK).all(dim=1) & (truth > _MIDDLE).any(dim=1)
    white = (images > _WHITE).all(dim=1) & (truth < _MIDDLE).any(dim=1)
    return (black | white).flatten(1).double().mean(dim=1)


def sites_shown(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    r"""Return for each site whether the image has its colour at its position, ``[N]``, Boolean.

    .. math::
        \arg\min_c \lVert x(p_i) - c \rVert = c_i

    where :math:`p_i` is the pixel nearest the site, if need be on the image's border, and :math:`c`
    runs over :data:`~compvae_pyg.problems.COLORS`, in RGB.

    Args:
        images: Images, ``[S, 3, H, W]``, whose pixels span :math:`[-1, 1]^2`.
        color: Colour of each site as an index into ``COLORS``, ``[N]``.
        pos: Position of each site, ``[N, 2]``: x, to the right, and y, downwards.
        batch: Image of each site, ``[N]``, in any order.

    Example:
        >>> red = torch.zeros(1, 3, 32, 32)
        >>> red[:, 0] = 1.0
        >>> sites_shown(red, torch.tensor([0, 1]), torch.zeros(2, 2), torch.tensor([0, 0]))
        tensor([ True, False])
    """
    checks.check_real(images, "images")
    checks.check_shape(images, "images", ("S", 3, "H", "W"))
    checks.check_places({"color": color, "pos": pos}, len(COLORS), "color")
    checks.check_categories({"batch": batch}, len(images), "batch")
    checks.check_shape(batch, "batch", color.shape)
    checks.check_device(color, "color", images.device, "images")
    checks.check_device(batch, "batch", images.device, "images")
    last = torch.tensor([images.shape[3] - 1, images.shape[2] - 1], device=pos.device)
    pixel = torch.round((pos + 1.0) * 0.5 * last).long()
    column, row = pixel.clamp(min=0).minimum(last).unbind(dim=1)
    shown = images.permute(0, 2, 3, 1)[batch, row, column]
    palette = torch.tensor(list(COLORS.values()), dtype=images.dtype, device=images.device)
    distance = (shown.unsqueeze(1) - palette).square().sum(dim=-1)
    return distance.argmin(dim=1) == color


def site_accuracy(images: Tensor, color: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
    """Return the share of sites whose colour the images show, see :func:`sites_shown`, a scalar.

    Neighbours cover each other: what a generated image can reach is the accuracy of a ground-truth
    image of the same sites. Without sites the result is ``nan``.

    Example:
        >>> data = Dots().sample(torch.ones(10, dtype=torch.long))
        >>> site_accuracy(data.whole, data.color, data.pos, data.batch)
        tensor(1.)
    """
    return sites_shown(images, color, pos, batch).to(images.dtype).mean()


def accuracy_per_image(images: Tensor, sites: PackedParts) -> Tensor:
    """Return the :func:`site_accuracy` of each image, ``[S]``."""
    shown = sites_shown(images, sites["color"], sites["pos"], sites.batch)
    return sites.sum(shown.to(images.dtype)) / sites.sizes(images.dtype)


@dataclass(frozen=True)
class Recomposition:
    """An image composed site by site, all on the CPU.

    ``color``, ``[K]``, and ``pos``, ``[K, 2]``, are the sites, of which the first 1, 2, … K make
    the images of ``truth``, ``[K, 3, 32, 32]``, and ``generated``, ``[num_samples, K, 3, 32, 32]``.
    """

    color: Tensor
    pos: Tensor
    truth: Tensor
    generated: Tensor


@dataclass(frozen=True)
class Reconstructions:
    """Images, their numbers of sites, ``[S]``, and reconstructions, ``[S, 3, 32, 32]``."""

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

    for each of ``num_samples`` series. Sites and latents are drawn from ``seed``.

    Example:
        >>> series = recompose_dots(Dots().build("small"), Dots(), num_parts=3, num_samples=2)
        >>> series.truth.shape, series.generated.shape
        (torch.Size([3, 3, 32, 32]), torch.Size([2, 3, 3, 32, 32]))
    """
    counts = {"num_parts": num_parts, "num_samples": num_samples}
    checks.check_evaluation(model, problem, Dots, seed=seed, **counts)
    source = stream(seed, num_parts)
    data = problem.sample(torch.tensor([num_parts]), source)
    low, high = problem.intensity_range
    intensity = low + (high - low) * torch.rand(num_parts, generator=source)
    # The k-th set holds the first k sites.
    batch, first = torch.tril_indices(num_parts, num_parts)
    truth = render_dots(data.color[first], data.pos[first], intensity[first], batch, num_parts)
    with isolated(model, seed) as device:
        sites = packed_parts(problem, data).repeat(num_samples).to(device)
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

    Example:
        >>> pairs = reconstruct_dots(Dots().build("small"), Dots(), num_parts=[2], num_examples=4)
        >>> pairs.reconstruction.shape
        torch.Size([4, 3, 32, 32])
    """
    checks.check_evaluation(model, problem, Dots, seed=seed, num_examples=num_examples)
    checks.check_counts(num_parts, "num_parts")
    sizes = torch.tensor(num_parts).repeat_interleave(num_examples)
    data = problem.sample(sizes, stream(seed, 0))
    with isolated(model, seed) as device:
        sites = packed_parts(problem, data).to(device)
        reconstruction = model.reconstruct(data.whole.to(device), sites)
    return Reconstructions(sizes, data.whole, reconstruction.cpu())
