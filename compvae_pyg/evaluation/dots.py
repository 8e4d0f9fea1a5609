"""How well a model composes images of coloured sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import mean_square, measure_wholes
from compvae_pyg.evaluation.energy import SampledRow, check_samples, compare_samples
from compvae_pyg.evaluation.estimate import Estimate, pair
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.evaluation.site_accuracy import sites_shown
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Dots

__all__ = ["DotsRow", "evaluate_dots"]

_BLACK, _MIDDLE, _WHITE = 0.25, 0.5, 0.75


@dataclass(frozen=True)
class DotsRow(SampledRow):
    """Images of one number of sites: what was asked for, and what the bound says.

    True and generated images are compared on the same sites.

    Attributes:
        true_accuracy: :func:`~compvae_pyg.evaluation.site_accuracy` of images by the ground truth.
        generated_accuracy: That of images generated from the prior given the sites.
        accuracy_ratio: The second over the first.
        true_rmse: Root mean squared difference of two true images of the same sites, which differ
            in their intensities: the yardstick for ``generated_rmse``.
        generated_rmse: Root mean squared difference of a generated to a true image.
        true_glitches: Share of the pixels at which another true image of the same sites is black,
            all channels below 1/4, where this one has a channel above 1/2, or white, all above
            3/4, where this one has a channel below 1/2: the yardstick for ``generated_glitches``.
        generated_glitches: That of generated images (paper, section 5.2).
    """

    true_accuracy: Estimate
    generated_accuracy: Estimate
    accuracy_ratio: Estimate
    true_rmse: Estimate
    generated_rmse: Estimate
    true_glitches: Estimate
    generated_glitches: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        elbo = super().cells()
        return {
            "K": elbo.pop("K"),
            "site accuracy": f"{self.generated_accuracy.mean:.3f}",
            "truth's": f"{self.true_accuracy.mean:.3f}",
            "ratio": f"{self.accuracy_ratio.mean:.3f} ± {self.accuracy_ratio.standard_error:.3f}",
            "rmse to truth": f"{self.generated_rmse.mean:.3f}",
            "two truths'": f"{self.true_rmse.mean:.3f}",
            "glitches, % (two truths')": pair(
                self.generated_glitches.scaled(100.0), self.true_glitches.scaled(100.0), 2
            ),
            "energy dist. (two truths')": pair(
                self.generated_energy_distance, self.true_energy_distance, 3
            ),
            **elbo,
        }


def evaluate_dots(
    model: CompVAE,
    problem: Dots,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    num_part_sets: int = 8,
    num_draws: int = 64,
    num_weighted: int = 64,
    num_samples: int = 64,
    seed: int = 0,
    batch_size: int = 250,
) -> list[DotsRow]:
    r"""Compare generated to true images of the same sites, and estimate the bound.

    The result depends on the arguments alone: images, sites and latents are drawn from ``seed``, a
    row does not depend on the other rows, and the global random number generators stay as they
    are.

    Args:
        model: The model, on the device that is to be used.
        problem: The ground truth.
        num_parts: Numbers :math:`K` of sites, one row each.
        num_wholes: Number of images for each :math:`K`.
        num_part_sets: Number of sets of :math:`K` sites that samples are compared for.
        num_draws: Number of images of each sample.
        num_weighted: Number of images that importance sampling is applied to; of fewer, to all.
        num_samples: Number of importance samples.
        seed: Seed of the images and of the latents.
        batch_size: Number of images at a time; bounds the memory.

    Returns:
        One row for each :math:`K`.

    Raises:
        ValueError: If one of the numbers is not positive.

    Example:
        >>> dots = Dots()
        >>> row, = evaluate_dots(
        ...     dots.build("small"), dots, num_parts=[1], num_wholes=8, num_draws=2, num_samples=2
        ... )
        >>> row.true_accuracy
        Estimate(mean=1.0, standard_error=0.0)
    """
    check_samples(num_part_sets, num_draws)
    measured = measure_wholes(
        model,
        problem,
        lambda data, source: _composition_values(model, problem, data, source),
        num_parts=num_parts,
        num_wholes=num_wholes,
        num_weighted=num_weighted,
        num_samples=num_samples,
        seed=seed,
        batch_size=batch_size,
    )
    rows = []
    for bound, values in measured:
        source = evaluation_generator(seed, bound.num_parts, "samples")
        sites = problem.sample(torch.full((num_part_sets,), bound.num_parts), source)
        sampled = compare_samples(
            model,
            lambda source, parts, batch, size: problem.draw(
                parts["color"], parts["pos"], batch, size, source
            ),
            problem.parts(sites),
            bound,
            num_draws=num_draws,
            source=source,
            seed=seed,
            batch_size=batch_size,
        )
        row = DotsRow(
            **vars(sampled),
            true_accuracy=Estimate.of(values["true_accuracy"]),
            generated_accuracy=Estimate.of(values["generated_accuracy"]),
            accuracy_ratio=Estimate.ratio(values["generated_accuracy"], values["true_accuracy"]),
            true_rmse=Estimate.root_mean(values["true_square"]),
            generated_rmse=Estimate.root_mean(values["generated_square"]),
            true_glitches=Estimate.of(values["true_glitches"]),
            generated_glitches=Estimate.of(values["generated_glitches"]),
        )
        rows.append(row)
    return rows


def _composition_values(
    model: CompVAE, problem: Dots, data: Batch, source: torch.Generator
) -> dict[str, Tensor]:
    generated = model.generate(problem.parts(data), data.batch, data.num_graphs)
    redrawn = problem.draw(data.color, data.pos, data.batch, data.num_graphs, source)
    return {
        "true_accuracy": _accuracy_per_image(data.whole, data),
        "generated_accuracy": _accuracy_per_image(generated, data),
        "true_square": mean_square(redrawn - data.whole),
        "generated_square": mean_square(generated - data.whole),
        "true_glitches": _glitches(redrawn, data.whole),
        "generated_glitches": _glitches(generated, data.whole),
    }


def _accuracy_per_image(images: Tensor, data: Batch) -> Tensor:
    shown = sites_shown(images, data.color, data.pos, data.batch).to(images.dtype)
    return set_sum(shown, data.batch, data.num_graphs) / data.ptr.diff()


def _glitches(images: Tensor, truth: Tensor) -> Tensor:
    """Return the share of pixels that are black or white and should not be, ``[S]``."""
    black = (images < _BLACK).all(dim=1) & (truth > _MIDDLE).any(dim=1)
    white = (images > _WHITE).all(dim=1) & (truth < _MIDDLE).any(dim=1)
    return (black | white).flatten(1).double().mean(dim=1)
