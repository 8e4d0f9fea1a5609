"""Whether generated wholes of given parts have the law of true ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from compvae_pyg.evaluation.elbo import ElboRow
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import drawn_seed, evaluation_generator
from compvae_pyg.models import CompVAE
from compvae_pyg.nn.checks import check_count, check_real

Wholes = Callable[[Mapping[str, Tensor], Tensor, int], Tensor]

__all__ = ["SampledRow", "check_samples", "compare_samples", "energy_distance"]


@dataclass(frozen=True)
class SampledRow(ElboRow):
    """What :class:`ElboRow` says, and how far samples of wholes of the same parts lie apart.

    Distances are the :func:`energy_distance` of a sample to one of true wholes, mean over several
    sets of parts. Two wholes are as far apart as the root of their mean squared difference.

    Attributes:
        num_part_sets: Number of sets of parts.
        num_draws: Number of wholes of each sample.
        true_energy_distance: That of another sample of true wholes: the yardstick for the others.
        generated_energy_distance: That of a sample of generated wholes.
        true_sum_energy_distance: That of sums of true wholes of one part each, drawn independently.
        generated_sum_energy_distance: That of sums of generated wholes of one part each.
    """

    num_part_sets: int
    num_draws: int
    true_energy_distance: Estimate
    generated_energy_distance: Estimate
    true_sum_energy_distance: Estimate
    generated_sum_energy_distance: Estimate


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the energy distance of two samples, in 64 bits.

    .. math::
        \frac{2}{nm} \sum_{i,j} \lVert x_i - y_j \rVert
            - \frac{1}{n^2} \sum_{i,j} \lVert x_i - x_j \rVert
            - \frac{1}{m^2} \sum_{i,j} \lVert y_i - y_j \rVert \geq 0

    (Székely and Rizzo, 2013). It is zero for equal samples. Between two samples of one law it is
    not, but of the order of :math:`1/n + 1/m`: compare samples of the same sizes.

    Args:
        x: One sample, ``[*, n, D]``.
        y: The other, ``[*, m, D]``.

    Returns:
        ``[*]``.

    Raises:
        ValueError: If the samples differ in other sizes than their own, or one is empty.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> energy_distance(x, x), energy_distance(x, x + 10.0)
        (tensor(0., dtype=torch.float64), tensor(19., dtype=torch.float64))
    """
    check_real(x, "x")
    check_real(y, "y")
    if x.device != y.device:
        raise ValueError(f"x and y must be on one device (got {x.device} and {y.device})")
    if (
        min(x.dim(), y.dim()) < 2
        or (x.shape[:-2], x.shape[-1]) != (y.shape[:-2], y.shape[-1])
        or min(x.shape[-2], y.shape[-2]) == 0
    ):
        raise ValueError(
            f"x and y must be [*, n, D] and [*, m, D] (got {list(x.shape)} and {list(y.shape)})"
        )

    def distance(first: Tensor, second: Tensor) -> Tensor:
        # Through a matrix product, equal points would not be at the distance 0.
        pairs = torch.cdist(
            first.to(torch.float64),
            second.to(torch.float64),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return pairs.mean(dim=(-2, -1))

    return 2.0 * distance(x, y) - distance(x, x) - distance(y, y)


def check_samples(num_part_sets: int, num_draws: int) -> None:
    """Refuse to compare samples of nothing.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> check_samples(8, 0)
        Traceback (most recent call last):
        ...
        ValueError: num_draws must be at least 1 (got 0)
    """
    check_count(num_part_sets, "num_part_sets")
    check_count(num_draws, "num_draws")


def compare_samples(
    model: CompVAE,
    draw: Callable[[torch.Generator, Mapping[str, Tensor], Tensor, int], Tensor],
    parts: Mapping[str, Tensor],
    bound: ElboRow,
    *,
    num_draws: int,
    source: torch.Generator,
    seed: int,
    batch_size: int,
) -> SampledRow:
    """Compare samples of wholes of a few sets of parts.

    Args:
        model: The model, on the device that is to be used.
        draw: Draws true wholes, of ``(source, parts, batch, batch_size)``, on the CPU.
        parts: Parts of the sets one after the other, on the CPU.
        bound: What is known of wholes of as many parts, which is added to.
        num_draws: Number of wholes of each sample.
        source: Source of the true wholes, on the CPU.
        seed: Seed of what the model draws, and of all that the sums are made of.
        batch_size: Number of wholes at a time; bounds the memory.
    """
    num_parts = bound.num_parts
    # Each set as often as there are draws, [sets * draws, K, ...].
    repeated = {
        name: value.unflatten(0, (-1, num_parts)).repeat_interleave(num_draws, dim=0)
        for name, value in parts.items()
    }
    count = len(next(iter(repeated.values())))
    chunks = [
        {name: value[start : start + batch_size] for name, value in repeated.items()}
        for start in range(0, count, batch_size)
    ]
    own = evaluation_generator(seed, num_parts, "sums")
    true, true_alone = partial(draw, source), partial(draw, own)
    with isolated(model, seed) as device:
        model_law = partial(_generate, model, device)
        wholes = [[_whole(law, chunk) for law in (true, true, model_law)] for chunk in chunks]
        with isolated(model, drawn_seed(own)):
            sums = [
                [_sum_of_parts(law, chunk) for law in (true_alone, model_law)] for chunk in chunks
            ]
    first, second, generated, true_sum, generated_sum = (
        _sample(drawn, num_draws) for laws in (wholes, sums) for drawn in zip(*laws, strict=True)
    )
    return SampledRow(
        **vars(bound),
        num_part_sets=first.shape[0],
        num_draws=num_draws,
        true_energy_distance=Estimate.of(energy_distance(second, first)),
        generated_energy_distance=Estimate.of(energy_distance(generated, first)),
        true_sum_energy_distance=Estimate.of(energy_distance(true_sum, first)),
        generated_sum_energy_distance=Estimate.of(energy_distance(generated_sum, first)),
    )


def _generate(
    model: CompVAE,
    device: torch.device,
    parts: Mapping[str, Tensor],
    batch: Tensor,
    batch_size: int,
) -> Tensor:
    there = {name: value.to(device) for name, value in parts.items()}
    return model.generate(there, batch.to(device), batch_size).cpu()


def _whole(law: Wholes, sets: Mapping[str, Tensor]) -> Tensor:
    """Draw a whole of each set of parts, ``[S, K, ...]`` each."""
    size, num_parts = next(iter(sets.values())).shape[:2]
    batch = torch.arange(size).repeat_interleave(num_parts)
    return law({name: value.flatten(0, 1) for name, value in sets.items()}, batch, size)


def _sum_of_parts(law: Wholes, sets: Mapping[str, Tensor]) -> Tensor:
    """Draw each part of each set as a whole of its own, and add them up set by set."""
    num_parts = next(iter(sets.values())).shape[1]
    alone = (
        _whole(law, {name: value[:, at : at + 1] for name, value in sets.items()})
        for at in range(num_parts)
    )
    return reduce(torch.add, alone)


def _sample(chunks: Sequence[Tensor], num_draws: int) -> Tensor:
    """Return wholes as ``[sets, draws, D]``, as far apart as told in :class:`SampledRow`."""
    wholes = torch.cat(list(chunks)).double().flatten(1)
    return wholes.unflatten(0, (-1, num_draws)) / wholes.shape[1] ** 0.5
