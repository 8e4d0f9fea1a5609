"""How well a model composes curves of sine waves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import ElboRow, elbo_estimates, elbo_values
from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.measuring import measure_wholes
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.evaluation.spectrum import energy_distance, spectrum
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Sines

__all__ = ["SinesRow", "evaluate_sines"]

# Amplitudes further above their mean, in standard deviations, occur once in 30,000 waves.
_REACH = 4.0


@dataclass(frozen=True)
class SinesRow(ElboRow):
    """Curves of one number of waves: what was asked for, and what the bound says.

    True and generated curves are of the same waves. Amplitudes are those of
    :func:`~compvae_pyg.evaluation.spectrum`, up to four standard deviations above their mean.

    Attributes:
        true_amplitude: Mean amplitude of the categories that a curve has exactly once, true curves.
        generated_amplitude: That of curves generated from the prior given the waves.
        true_amplitude_std: Standard deviation of the same amplitudes, true curves.
        generated_amplitude_std: That of generated curves.
        true_leak: Mean amplitude of the categories that a curve does not have, true curves.
        generated_leak: That of generated curves.
        true_outside: Share of the energy outside the frequencies of all categories, true curves.
        generated_outside: That of generated curves.
        true_clipped: Share of the samples that were clipped for all this, true curves.
        generated_clipped: That of generated curves.
        true_energy_distance: :func:`~compvae_pyg.evaluation.energy_distance` of two samples of true
            curves of the same waves, mean over several such sets of waves: the yardstick for
            ``generated_energy_distance``. Two curves are as far apart as the root of their mean
            squared difference.
        generated_energy_distance: That of a sample of generated curves to one of true curves.
    """

    true_amplitude: Estimate
    generated_amplitude: Estimate
    true_amplitude_std: Estimate
    generated_amplitude_std: Estimate
    true_leak: Estimate
    generated_leak: Estimate
    true_outside: Estimate
    generated_outside: Estimate
    true_clipped: Estimate
    generated_clipped: Estimate
    true_energy_distance: Estimate
    generated_energy_distance: Estimate

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        elbo = super().cells()
        return {
            "K": elbo.pop("K"),
            "amplitude (truth's)": _pair(self.generated_amplitude, self.true_amplitude),
            "its sd (truth's)": _pair(self.generated_amplitude_std, self.true_amplitude_std),
            "leak (truth's)": _pair(self.generated_leak, self.true_leak),
            "outside (truth's)": _pair(self.generated_outside, self.true_outside),
            "clipped (truth's)": _pair(self.generated_clipped, self.true_clipped),
            "energy dist. (two truths')": _pair(
                self.generated_energy_distance, self.true_energy_distance, digits=3
            ),
            **elbo,
        }


def evaluate_sines(
    model: CompVAE,
    problem: Sines,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 16, 24, 30),
    num_wholes: int = 1000,
    num_part_sets: int = 8,
    num_draws: int = 250,
    seed: int = 0,
    batch_size: int = 250,
) -> list[SinesRow]:
    r"""Compare generated to true curves of the same waves, and estimate the bound.

    The result depends on the arguments alone: curves, waves and latents are drawn from ``seed``, a
    row does not depend on the other rows, and the global random number generators stay as they
    are.

    Args:
        model: The model, on the device that is to be used.
        problem: The ground truth.
        num_parts: Numbers :math:`K` of waves, one row each.
        num_wholes: Number of curves for each :math:`K`.
        num_part_sets: Number of sets of :math:`K` waves that samples are compared for.
        num_draws: Number of curves of each sample.
        seed: Seed of the curves and of the latents.
        batch_size: Number of curves at a time; bounds the memory.

    Returns:
        One row for each :math:`K`. Where no curve has a category exactly once, or none lacks one,
        the estimates of that are ``nan``.

    Raises:
        ValueError: If a number of waves, ``num_wholes``, ``num_part_sets``, ``num_draws`` or
            ``batch_size`` is not positive.

    Example:
        >>> sines = Sines()
        >>> model = sines.build("small")
        >>> row, = evaluate_sines(model, sines, num_parts=[4], num_wholes=8, num_draws=2)
        >>> row.true_leak.mean < 1e-3
        True
    """
    if min(num_part_sets, num_draws) < 1:
        raise ValueError(
            f"num_part_sets and num_draws must be at least 1 (got {num_part_sets} and {num_draws})"
        )
    measured = measure_wholes(
        model,
        problem,
        lambda data, _: {
            **elbo_values(model, problem, data),
            **_composition_values(model, problem, data),
        },
        num_parts=num_parts,
        num_wholes=num_wholes,
        seed=seed,
        batch_size=batch_size,
    )
    return [
        SinesRow(
            num_parts=size,
            num_wholes=num_wholes,
            **elbo_estimates(values),
            **_spectrum_estimates(values, "true"),
            **_spectrum_estimates(values, "generated"),
            **_energy_distances(model, problem, size, num_part_sets, num_draws, seed, batch_size),
        )
        for size, values in measured
    ]


def _composition_values(model: CompVAE, problem: Sines, data: Batch) -> dict[str, Tensor]:
    """Return sums over the categories of each curve, ``[S]`` each."""
    generated = model.generate(problem.parts(data), data.batch, data.num_graphs)
    category = torch.nn.functional.one_hot(data.category, problem.num_categories)
    times = set_sum(category, data.batch, data.num_graphs)
    once, absent = (times == 1).double(), (times == 0).double()
    values = {"once": once.sum(dim=1), "absent": absent.sum(dim=1)}
    for name, whole in (("true", data.whole), ("generated", generated)):
        waves = spectrum(
            whole,
            data.ptr.diff(),
            num_categories=problem.num_categories,
            nonlinearity=problem.nonlinearity,
            period=problem.period,
            reach=problem.amplitude_mean + _REACH * problem.amplitude_std,
        )
        values |= {
            f"{name}_once": (once * waves.amplitude).sum(dim=1),
            f"{name}_once_square": (once * waves.amplitude.square()).sum(dim=1),
            f"{name}_absent": (absent * waves.amplitude).sum(dim=1),
            f"{name}_outside": waves.outside,
            f"{name}_clipped": waves.clipped,
        }
    return values


def _spectrum_estimates(values: dict[str, Tensor], name: str) -> dict[str, Estimate]:
    once, total = values["once"], values[f"{name}_once"]
    amplitude = Estimate.ratio(total, once)
    # The sum of squared deviations from the mean: its own error does not count, to first order.
    square = values[f"{name}_once_square"] - 2.0 * amplitude.mean * total
    variance = Estimate.ratio(square + amplitude.mean**2 * once, once)
    return {
        f"{name}_amplitude": amplitude,
        f"{name}_amplitude_std": _root(variance),
        f"{name}_leak": Estimate.ratio(values[f"{name}_absent"], values["absent"]),
        f"{name}_outside": Estimate.of(values[f"{name}_outside"]),
        f"{name}_clipped": Estimate.of(values[f"{name}_clipped"]),
    }


def _energy_distances(
    model: CompVAE,
    problem: Sines,
    num_parts: int,
    num_part_sets: int,
    num_draws: int,
    seed: int,
    batch_size: int,
) -> dict[str, Estimate]:
    """Compare samples of curves of a few sets of waves."""
    source = evaluation_generator(seed, num_parts)
    sets = torch.randint(problem.num_categories, (num_part_sets, num_parts), generator=source)
    category = sets.repeat_interleave(num_draws, dim=0)
    first, second, generated = [], [], []
    with isolated(model, seed) as device:
        for chunk in category.split(batch_size):
            count = chunk.shape[0]
            batch = torch.arange(count).repeat_interleave(num_parts)
            waves = chunk.flatten()
            first.append(problem.draw(waves, batch, count, source))
            second.append(problem.draw(waves, batch, count, source))
            parts = {"category": waves.to(device)}
            generated.append(model.generate(parts, batch.to(device), count).cpu())
    # Scaled so that the distance of two curves is the root of their mean squared difference.
    true, other, drawn = (
        torch.cat(curves).double().view(num_part_sets, num_draws, -1) / problem.num_samples**0.5
        for curves in (first, second, generated)
    )
    return {
        "true_energy_distance": Estimate.of(energy_distance(other, true)),
        "generated_energy_distance": Estimate.of(energy_distance(drawn, true)),
    }


def _root(estimate: Estimate) -> Estimate:
    """Return the root of an estimate, its error to first order."""
    root = math.sqrt(max(estimate.mean, 0.0))
    return Estimate(root, estimate.standard_error / (2.0 * root) if root > 0.0 else 0.0)


def _pair(generated: Estimate, true: Estimate, digits: int = 2) -> str:
    # The sum turns a negative zero into a positive one.
    own, truth = (round(estimate.mean, digits) + 0.0 for estimate in (generated, true))
    return f"{own:.{digits}f} ({truth:.{digits}f})"
