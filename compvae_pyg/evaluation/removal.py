"""What becomes of an observed whole when a part is taken away from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch_geometric.data import Batch

from compvae_pyg.evaluation.checks import check_counts, check_evaluation
from compvae_pyg.evaluation.elbo import mean_square
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator, evaluation_wholes
from compvae_pyg.evaluation.sines import sines_spectrum
from compvae_pyg.evaluation.site_accuracy import sites_shown
from compvae_pyg.evaluation.spectrum import Spectrum
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Dots, Sines

__all__ = ["DotsRemovalRow", "RemovalRow", "SinesRemovalRow", "evaluate_removal"]


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
        settled_rmse: The same where the parts that stay have settled: their latents are inferred
            once more, from the mean whole that they decode to.
        generated_rmse: Difference of a whole generated from the parts that stay, with intrinsic
            features of its own, to that truth: what is gained by having observed.
        kept_rmse: Difference of the reconstruction, with nothing taken away, to that truth: how
            much a part matters.
    """

    num_parts: int
    num_wholes: int
    reconstruction_rmse: Estimate
    removal_rmse: Estimate
    settled_rmse: Estimate
    generated_rmse: Estimate
    kept_rmse: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            "K": str(self.num_parts),
            "rec. rmse": f"{self.reconstruction_rmse.mean:.3f}",
            "removal rmse": f"{self.removal_rmse.mean:.3f}",
            "settled": f"{self.settled_rmse.mean:.3f}",
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


@dataclass(frozen=True)
class SinesRemovalRow(RemovalRow):
    r"""Curves of one number of waves, from which one wave is taken away.

    What a frequency has in a curve is :math:`c_\ell`, the sum of :math:`a e^{\mathrm{i} \kappa}`
    over its waves, by :func:`~compvae_pyg.evaluation.spectrum`. Where waves of one frequency are
    added up, no curve tells how much of it each of them is: of curves that have another wave of the
    frequency that goes, what is left there is not measured.

    Attributes:
        alone_rmse: ``removal_rmse`` of the curves that have no other wave of the frequency that
            goes.
        amplitude: Mean of :math:`|c_\ell|` at the frequency that goes, in the reconstruction,
            before anything is taken away.
        amplitude_left: That after the removal.
        leak: Mean of :math:`|c_\ell|` of the frequencies that a curve does not have, in the
            reconstruction: what there is where no wave is.
        others_error: Root mean square of the difference in :math:`c_\ell` of the reconstruction to
            the whole that was observed, at the frequencies of the waves that stay and that the wave
            that goes does not share.
        others_removal_error: That of the whole after the removal to the truth without the wave.
    """

    alone_rmse: Estimate
    amplitude: Estimate
    amplitude_left: Estimate
    leak: Estimate
    others_error: Estimate
    others_removal_error: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            **super().cells(),
            "alone": f"{self.alone_rmse.mean:.3f}",
            "amplitude": f"{self.amplitude.mean:.3f}",
            "left": f"{self.amplitude_left.mean:.3f}",
            "leak": f"{self.leak.mean:.3f}",
            "others off by": f"{self.others_error.mean:.3f}",
            "after removal": f"{self.others_removal_error.mean:.3f}",
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
        One row for each :math:`K`: of images with the accuracy of their sites, of curves with the
        amplitudes of their waves.

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
    settled = model.infer(removed, parts, batch, size).decode().mean
    generated = model.generate(parts, batch, size)
    values = {
        "reconstruction": mean_square(kept - data.whole),
        "removal": mean_square(removed - truth),
        "settled": mean_square(settled - truth),
        "generated": mean_square(generated - truth),
        "kept": mean_square(kept - truth),
    }
    if isinstance(problem, Dots):
        for name, images in (("true_accuracy", truth), ("removal_accuracy", removed)):
            shown = sites_shown(images, parts["color"], parts["pos"], batch).to(images.dtype)
            values[name] = set_sum(shown, batch, size) / (data.ptr.diff() - 1)
    else:
        values |= _wave_values(problem, data, stays, kept, removed)
    return values


def _wave_values(
    problem: Sines, data: Batch, stays: Tensor, kept: Tensor, removed: Tensor
) -> dict[str, Tensor]:
    """Return sums over the frequencies of each curve, and how many they are, ``[S]`` each."""
    size, number = data.num_graphs, data.ptr.diff()
    each = one_hot(data.category, problem.num_categories)
    there = set_sum(each[stays], data.batch[stays], size) > 0
    gone = each[~stays] > 0
    alone, others, absent = gone & ~there, there & ~gone, ~there & ~gone
    true, before = (sines_spectrum(problem, x, number) for x in (data.whole, kept))
    after = sines_spectrum(problem, removed, number - 1)

    def total(which: Tensor, value: Tensor) -> Tensor:
        return torch.where(which, value, 0.0).sum(dim=1)

    def square_error(waves: Spectrum) -> Tensor:
        return (waves.coefficient - true.coefficient).abs().square()

    return {
        "num_alone": alone.sum(dim=1).double(),
        "num_others": others.sum(dim=1).double(),
        "num_absent": absent.sum(dim=1).double(),
        "amplitude": total(alone, before.amplitude),
        "amplitude_left": total(alone, after.amplitude),
        "leak": total(absent, before.amplitude),
        "others_error": total(others, square_error(before)),
        "others_removal_error": total(others, square_error(after)),
    }


def _row(num_parts: int, num_wholes: int, values: dict[str, Tensor]) -> RemovalRow:
    rmse = {
        f"{name}_rmse": Estimate.root_mean(values[name])
        for name in ("reconstruction", "removal", "settled", "generated", "kept")
    }
    if "true_accuracy" in values:
        true, removal = values["true_accuracy"], values["removal_accuracy"]
        return DotsRemovalRow(
            num_parts,
            num_wholes,
            **rmse,
            true_accuracy=Estimate.of(true),
            removal_accuracy=Estimate.of(removal),
            accuracy_ratio=Estimate.ratio(removal, true),
        )
    alone, others = values["num_alone"], values["num_others"]
    return SinesRemovalRow(
        num_parts,
        num_wholes,
        **rmse,
        alone_rmse=Estimate.ratio(alone * values["removal"], alone).root(),
        amplitude=Estimate.ratio(values["amplitude"], alone),
        amplitude_left=Estimate.ratio(values["amplitude_left"], alone),
        leak=Estimate.ratio(values["leak"], values["num_absent"]),
        others_error=Estimate.ratio(values["others_error"], others).root(),
        others_removal_error=Estimate.ratio(values["others_removal_error"], others).root(),
    )
