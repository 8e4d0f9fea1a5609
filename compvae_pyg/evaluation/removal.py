"""What becomes of an observed whole when a part is taken away from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.checks import check_counts, check_evaluation
from compvae_pyg.evaluation.elbo import mean_square
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator, evaluation_wholes
from compvae_pyg.evaluation.site_accuracy import sites_shown
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Dots, Sines

__all__ = ["DotsRemovalRow", "RemovalRow", "evaluate_removal"]


@dataclass(frozen=True)
class RemovalRow:
    """Wholes of one number of parts, observed, from which one part is taken away.

    The truth without it is drawn again from the parts that stay, with the intrinsic features they
    have in the whole that was observed. All differences are root mean squares.

    Attributes:
        num_parts: Number :math:`K` of parts of each whole that is observed.
        num_wholes: Number of wholes that the estimates come from.
        reconstruction_rmse: Difference of the reconstruction, before anything is taken away, to the
            whole that was observed.
        removal_rmse: Difference of the whole after the removal to the truth without the part.
        generated_rmse: Difference of a whole generated from the parts that stay, with intrinsic
            features of its own, to that truth: what is gained by having observed.
        kept_rmse: Difference of the reconstruction, with nothing taken away, to that truth: how
            much a part matters.
    """

    num_parts: int
    num_wholes: int
    reconstruction_rmse: Estimate
    removal_rmse: Estimate
    generated_rmse: Estimate
    kept_rmse: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            "K": str(self.num_parts),
            "rec. rmse": f"{self.reconstruction_rmse.mean:.3f}",
            "removal rmse": f"{self.removal_rmse.mean:.3f}",
            "generated": f"{self.generated_rmse.mean:.3f}",
            "not removed": f"{self.kept_rmse.mean:.3f}",
        }


@dataclass(frozen=True)
class DotsRemovalRow(RemovalRow):
    """Images of one number of sites, from which one site is taken away.

    Attributes:
        true_accuracy: :func:`~compvae_pyg.evaluation.site_accuracy` of the sites that stay, in the
            truth without the one that goes.
        removal_accuracy: That of the image after the removal.
        accuracy_ratio: The second over the first.
    """

    true_accuracy: Estimate
    removal_accuracy: Estimate
    accuracy_ratio: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            **super().cells(),
            "site accuracy": f"{self.removal_accuracy.mean:.3f}",
            "truth's": f"{self.true_accuracy.mean:.3f}",
            "ratio": f"{self.accuracy_ratio.mean:.3f} ± {self.accuracy_ratio.standard_error:.3f}",
        }


def evaluate_removal(
    model: CompVAE,
    problem: Dots | Sines,
    *,
    num_parts: Sequence[int] = (2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[RemovalRow]:
    r"""Take a part away from observed wholes, and compare with the truth without it.

    The latents of a whole and of its parts are inferred, one part is removed, and the rest is
    decoded (:meth:`Composition.remove`). Parts come in random order, so that the first one stands
    for any.

    The result depends on the arguments alone, a row does not depend on the other rows, and the
    global random number generators stay as they are.

    Args:
        model: The model, on the device that is to be used.
        problem: The ground truth.
        num_parts: Numbers :math:`K \geq 2` of parts, one row each.
        num_wholes: Number of wholes for each :math:`K`.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Returns:
        One row for each :math:`K`, of images with the accuracy of their sites.

    Raises:
        ValueError: If a number of parts is less than 2, or ``num_wholes`` or ``batch_size`` is not
            positive.

    Example:
        >>> from compvae_pyg import Sines
        >>> sines = Sines()
        >>> row, = evaluate_removal(sines.build("small"), sines, num_parts=[3], num_wholes=8)
        >>> row.kept_rmse.mean > 0.0
        True
    """
    check_evaluation(model, problem, seed=seed, num_wholes=num_wholes, batch_size=batch_size)
    check_counts(num_parts, "num_parts", at_least=2)
    rows = []
    for size in num_parts:
        source = evaluation_generator(seed, size)
        with isolated(model, seed) as device:
            chunks = [
                _measure(model, problem, data)
                for data in evaluation_wholes(problem, size, num_wholes, batch_size, source, device)
            ]
        values = {name: torch.cat([chunk[name] for chunk in chunks]).cpu() for name in chunks[0]}
        rows.append(_row(size, num_wholes, values))
    return rows


def _measure(model: CompVAE, problem: Dots | Sines, data: Batch) -> dict[str, Tensor]:
    size = data.num_graphs
    first = data.ptr[:-1]
    stays = torch.ones_like(data.batch, dtype=torch.bool).index_fill(0, first, False)
    batch = data.batch[stays]
    fields = {name: data[name][stays] for name in (*problem.part_fields, *problem.intrinsic_fields)}
    truth = problem.render(**fields, batch=batch, batch_size=size)
    composition = model.infer(data.whole, problem.parts(data), data.batch, size)
    kept = composition.decode().mean
    removed = composition.remove(first).decode().mean
    parts = {name: fields[name] for name in problem.part_fields}
    generated = model.generate(parts, batch, size)
    values = {
        "reconstruction": mean_square(kept - data.whole),
        "removal": mean_square(removed - truth),
        "generated": mean_square(generated - truth),
        "kept": mean_square(kept - truth),
    }
    if isinstance(problem, Dots):
        for name, images in (("true_accuracy", truth), ("removal_accuracy", removed)):
            shown = sites_shown(images, parts["color"], parts["pos"], batch).to(images.dtype)
            values[name] = set_sum(shown, batch, size) / (data.ptr.diff() - 1)
    return values


def _row(num_parts: int, num_wholes: int, values: dict[str, Tensor]) -> RemovalRow:
    rmse = {
        f"{name}_rmse": Estimate.root_mean(values[name])
        for name in ("reconstruction", "removal", "generated", "kept")
    }
    if "true_accuracy" not in values:
        return RemovalRow(num_parts, num_wholes, **rmse)
    true, removal = values["true_accuracy"], values["removal_accuracy"]
    return DotsRemovalRow(
        num_parts,
        num_wholes,
        **rmse,
        true_accuracy=Estimate.of(true),
        removal_accuracy=Estimate.of(removal),
        accuracy_ratio=Estimate.ratio(removal, true),
    )
