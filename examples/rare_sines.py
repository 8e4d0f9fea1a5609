"""Estimate the peak that one curve in ten thousand exceeds, and draw such curves.

For given parts, CompVAE is a function of standard normal noise. Subset simulation moves in the
space of that noise, level by level, to where the peak is high: it finds the 99.99 % quantile of the
peak, and curves beyond it, with a few thousand curves where independent samples would be millions.
The same is done with the ground truth, so that the two tails can be compared.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from compvae_pyg.command_line import one_line_errors


@dataclass(kw_only=True)
class Options:
    output: Path = Path("outputs/rare-sines")
    """Folder for the figure and the numbers."""

    model: str = "sines-small"
    """A shipped model, or the folder of one of your own."""

    categories: tuple[int, ...] = (*range(10), 0, 2, 4, 6, 8, 9)
    """Categories of the waves that make a curve."""

    probability: float = 1e-4
    """Probability that a peak exceeds the level."""

    num_samples: int = 2000
    """Number of curves of each level of the simulation."""

    seed: int = 0
    """Seed of all noise."""


@dataclass(frozen=True)
class Tail:
    source: str
    level: float
    probability: float
    interval: tuple[float, float]
    num_ancestors: int
    num_evaluations: int


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch
    from torch import Tensor

    from compvae_pyg import CompVAE, Sines
    from compvae_pyg.evaluation import write_evaluation
    from compvae_pyg.plots import plot_rare_curves
    from compvae_pyg.problems import render_sines
    from compvae_pyg.simulation import rare_wholes, subset_simulation

    model, sines = CompVAE.from_pretrained(options.model), Sines()
    category = torch.tensor(options.categories)
    generator = torch.Generator().manual_seed(options.seed)

    def peak(whole: Tensor) -> Tensor:
        return whole.amax(dim=1)

    rare = rare_wholes(
        model,
        {"category": category},
        peak,
        probability=options.probability,
        num_samples=options.num_samples,
        generator=generator,
    )

    # The ground truth is a function of noise as well: of an amplitude and a phase for each wave.
    num_waves = len(category)

    def true_curves(noise: Tensor) -> Tensor:
        amplitude, phase = noise.view(-1, 2, num_waves).unbind(dim=1)
        return render_sines(
            category.repeat(len(noise)),
            sines.amplitude_mean + sines.amplitude_std * amplitude.flatten(),
            sines.phase_std * phase.flatten(),
            torch.arange(len(noise)).repeat_interleave(num_waves),
            len(noise),
        )

    truth = subset_simulation(
        lambda noise: peak(true_curves(noise)),
        2 * num_waves,
        probability=options.probability,
        num_samples=options.num_samples,
        generator=generator,
    )

    rows = [summary("model", rare), summary("truth", truth)]
    for row in rows:
        low, high = row.interval
        print(
            f"{row.source}: a peak over {row.level:.3f} has probability {row.probability:.2e} "
            f"(95 %: {low:.2e} to {high:.2e}), from {row.num_evaluations} curves"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    write_evaluation(options.output / "evaluation.json", rows, seed=options.seed)

    ordinary = model.generate(
        {"category": category.repeat(3)},
        torch.arange(3).repeat_interleave(num_waves),
        generator=generator,
    )
    # Samples of one chain are alike; the first ones are of different chains.
    some = rare.whole[:3]
    figure = plot_rare_curves(ordinary, some, rare.level, {"model": rare, "truth": truth})
    figure.savefig(options.output / "rare.png")
    print(f"\nIn {options.output}: evaluation.json and rare.png")


def summary(source, event):
    return Tail(
        source,
        event.level,
        event.probability,
        event.interval(),
        event.num_ancestors,
        event.num_evaluations,
    )


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
