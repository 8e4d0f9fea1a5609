"""How well a model composes curves of sine waves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.elbo import measure_wholes
from compvae_pyg.evaluation.energy import SampledRow, check_samples, compare_samples
from compvae_pyg.evaluation.estimate import Estimate, pair
from compvae_pyg.evaluation.sampling import evaluation_generator
from compvae_pyg.evaluation.spectrum import Spectrum, spectrum
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import Sines

__all__ = ["SinesRow", "evaluate_sines", "sines_spectrum"]

# Amplitudes further above their mean, in standard deviations, occur once in 30,000 waves.
_REACH = 4.0


@dataclass(frozen=True)
class SinesRow(SampledRow):
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

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        elbo = super().cells()
        return {
            "K": elbo.pop("K"),
            "amplitude (truth's)": pair(self.generated_amplitude, self.true_amplitude, 2),
            "its sd (truth's)": pair(self.generated_amplitude_std, self.true_amplitude_std, 2),
            "leak (truth's)": pair(self.generated_leak, self.true_leak, 2),
            "outside (truth's)": pair(self.generated_outside, self.true_outside, 2),
            "clipped (truth's)": pair(self.generated_clipped, self.true_clipped, 2),
            "energy dist. (two truths')": pair(
                self.generated_energy_distance, self.true_energy_distance, 3
            ),
            "of summed parts": f"{self.generated_sum_energy_distance.mean:.3f}",
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
    num_weighted: int = 64,
    num_samples: int = 64,
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
        num_weighted: Number of curves that importance sampling is applied to; of fewer, to all.
        num_samples: Number of importance samples.
        seed: Seed of the curves and of the latents.
        batch_size: Number of curves at a time; bounds the memory.

    Returns:
        One row for each :math:`K`. Where no curve has a category exactly once, or none lacks one,
        the estimates of that are ``nan``.

    Raises:
        ValueError: If one of the numbers is not positive.

    Example:
        >>> sines = Sines()
        >>> model = sines.build("small")
        >>> row, = evaluate_sines(
        ...     model, sines, num_parts=[4], num_wholes=8, num_draws=2, num_samples=2
        ... )
        >>> row.true_leak.mean < 1e-3
        True
    """
    check_samples(num_part_sets, num_draws)
    measured = measure_wholes(
        model,
        problem,
        lambda data, _: _composition_values(model, problem, data),
        num_parts=num_parts,
        num_wholes=num_wholes,
        num_weighted=num_weighted,
        num_samples=num_samples,
        seed=seed,
        batch_size=batch_size,
    )
    rows = []
    for bound, values in measured:
        source = evaluation_generator(seed, bound.num_parts)
        sets = (num_part_sets, bound.num_parts)
        category = torch.randint(problem.num_categories, sets, generator=source)
        sampled = compare_samples(
            model,
            lambda source, parts, batch, size: problem.draw(parts["category"], batch, size, source),
            {"category": category.flatten()},
            bound,
            num_draws=num_draws,
            source=source,
            seed=seed,
            batch_size=batch_size,
        )
        rows.append(
            SinesRow(
                **vars(sampled),
                **_spectrum_estimates(values, "true"),
                **_spectrum_estimates(values, "generated"),
            )
        )
    return rows


def sines_spectrum(problem: Sines, whole: Tensor, num_parts: Tensor) -> Spectrum:
    """Find the waves of curves of a problem, as far as amplitudes that occur reach.

    Args:
        problem: The ground truth, whose parameters are used.
        whole: Curves, ``[S, 200]``.
        num_parts: Number of waves of each curve, ``[S]``.

    Example:
        >>> sines = Sines(amplitude_std=0.0)
        >>> data = sines.sample(torch.tensor([1]))
        >>> sines_spectrum(sines, data.whole, torch.tensor([1])).amplitude.max()
        tensor(1.0000, dtype=torch.float64)
    """
    return spectrum(
        whole,
        num_parts,
        num_categories=problem.num_categories,
        nonlinearity=problem.nonlinearity,
        period=problem.period,
        reach=problem.amplitude_mean + _REACH * problem.amplitude_std,
    )


def _composition_values(model: CompVAE, problem: Sines, data: Batch) -> dict[str, Tensor]:
    """Return sums over the categories of each curve, ``[S]`` each."""
    generated = model.generate(problem.parts(data), data.batch, data.num_graphs)
    category = torch.nn.functional.one_hot(data.category, problem.num_categories)
    times = set_sum(category, data.batch, data.num_graphs)
    once, absent = (times == 1).double(), (times == 0).double()
    values = {"once": once.sum(dim=1), "absent": absent.sum(dim=1)}
    for name, whole in (("true", data.whole), ("generated", generated)):
        waves = sines_spectrum(problem, whole, data.ptr.diff())
        values |= {
            f"{name}_once": (once * waves.amplitude).sum(dim=1),
            f"{name}_once_square": (once * waves.amplitude.square()).sum(dim=1),
            f"{name}_absent": (absent * waves.amplitude).sum(dim=1),
            f"{name}_outside": waves.outside,
            f"{name}_clipped": waves.clipped,
        }
    return values


def _spectrum_estimates(values: dict[str, Tensor], name: str) -> dict[str, Any]:
    once, total = values["once"], values[f"{name}_once"]
    amplitude = Estimate.ratio(total, once)
    # The sum of squared deviations from the mean: its own error does not count, to first order.
    square = values[f"{name}_once_square"] - 2.0 * amplitude.mean * total
    variance = Estimate.ratio(square + amplitude.mean**2 * once, once)
    return {
        f"{name}_amplitude": amplitude,
        f"{name}_amplitude_std": variance.root(),
        f"{name}_leak": Estimate.ratio(values[f"{name}_absent"], values["absent"]),
        f"{name}_outside": Estimate.of(values[f"{name}_outside"]),
        f"{name}_clipped": Estimate.of(values[f"{name}_clipped"]),
    }
