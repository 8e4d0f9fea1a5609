"""How well a model composes images of coloured sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import ElboRow, elbo_estimates, elbo_values, mean_square
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.measuring import measure_wholes
from compvae_pyg.evaluation.site_accuracy import sites_shown
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Dots, render_dots

__all__ = ["DotsRow", "evaluate_dots", "redraw_dots"]


@dataclass(frozen=True)
class DotsRow(ElboRow):
    """Images of one number of sites: what was asked for, and what the bound says.

    True and generated images are compared on the same sites.

    Attributes:
        true_accuracy: :func:`~compvae_pyg.evaluation.site_accuracy` of images by the ground truth.
        generated_accuracy: That of images generated from the prior given the sites.
        accuracy_ratio: The second over the first.
        true_rmse: Root mean squared difference of two true images of the same sites, which differ
            in their intensities: the yardstick for ``generated_rmse``.
        generated_rmse: Root mean squared difference of a generated to a true image.
    """

    true_accuracy: Estimate
    generated_accuracy: Estimate
    accuracy_ratio: Estimate
    true_rmse: Estimate
    generated_rmse: Estimate

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
            **elbo,
        }


def redraw_dots(dots: Dots, data: Batch, generator: torch.Generator | None = None) -> Tensor:
    """Draw other true images of the same sites, with intensities of their own.

    Args:
        dots: The problem.
        data: Sites, packed.
        generator: Source of the intensities, on any device; by default the global one.

    Returns:
        Images ``[S, 3, 32, 32]``.

    Example:
        >>> dots = Dots()
        >>> data = dots.sample(torch.tensor([2, 3]))
        >>> redraw_dots(dots, data).shape
        torch.Size([2, 3, 32, 32])
    """
    low, high = dots.intensity_range
    device = data.pos.device if generator is None else generator.device
    uniform = torch.rand(data.pos.shape[0], generator=generator, device=device)
    intensity = (low + (high - low) * uniform).to(data.pos.device)
    return render_dots(data.color, data.pos, intensity, data.batch, data.num_graphs)


def evaluate_dots(
    model: CompVAE,
    problem: Dots,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    num_wholes: int = 1000,
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
        seed: Seed of the images and of the latents.
        batch_size: Number of images at a time; bounds the memory.

    Returns:
        One row for each :math:`K`.

    Raises:
        ValueError: If a number of sites, ``num_wholes`` or ``batch_size`` is not positive.

    Example:
        >>> dots = Dots()
        >>> row, = evaluate_dots(dots.build("small"), dots, num_parts=[1], num_wholes=8)
        >>> row.true_accuracy
        Estimate(mean=1.0, standard_error=0.0)
    """
    measured = measure_wholes(
        model,
        problem,
        lambda data, source: {
            **elbo_values(model, problem, data),
            **_composition_values(model, problem, data, source),
        },
        num_parts=num_parts,
        num_wholes=num_wholes,
        seed=seed,
        batch_size=batch_size,
    )
    return [
        DotsRow(
            num_parts=size,
            num_wholes=num_wholes,
            **elbo_estimates(values),
            true_accuracy=Estimate.of(values["true_accuracy"]),
            generated_accuracy=Estimate.of(values["generated_accuracy"]),
            accuracy_ratio=Estimate.ratio(values["generated_accuracy"], values["true_accuracy"]),
            true_rmse=Estimate.root_mean(values["true_square"]),
            generated_rmse=Estimate.root_mean(values["generated_square"]),
        )
        for size, values in measured
    ]


def _composition_values(
    model: CompVAE, problem: Dots, data: Batch, source: torch.Generator
) -> dict[str, Tensor]:
    generated = model.generate(problem.parts(data), data.batch, data.num_graphs)
    redrawn = redraw_dots(problem, data, source)
    return {
        "true_accuracy": _accuracy_per_image(data.whole, data),
        "generated_accuracy": _accuracy_per_image(generated, data),
        "true_square": mean_square(redrawn - data.whole),
        "generated_square": mean_square(generated - data.whole),
    }


def _accuracy_per_image(images: Tensor, data: Batch) -> Tensor:
    shown = sites_shown(images, data.color, data.pos, data.batch).to(images.dtype)
    return set_sum(shown, data.batch, data.num_graphs) / data.ptr.diff()
