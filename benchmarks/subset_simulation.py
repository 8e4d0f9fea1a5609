"""The accuracy of subset simulation, beside the one that it states, as a Markdown table.

    python benchmarks/subset_simulation.py

Two scores of 20 standard normal numbers whose tails have closed forms: their sum, and the largest
of their absolute values, which is exceeded in 40 directions. Each line is many runs of one setting.
"""

import math
from dataclasses import dataclass

import tyro


@dataclass
class Options:
    runs: int = 1000
    """Number of runs of each setting."""

    num_samples: tuple[int, ...] = (500, 1000, 2000, 4000)
    """Numbers of samples of each level."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch
from torch import Tensor

from compvae_pyg.evaluation import Estimate
from compvae_pyg.simulation import RareEvent, subset_simulation

CHANNELS = 20


def tail(level: float) -> float:
    return 0.5 * math.erfc(level / math.sqrt(2.0))


def total(noise: Tensor) -> Tensor:
    return noise.sum(dim=1) / math.sqrt(CHANNELS)


def peak(noise: Tensor) -> Tensor:
    return noise.abs().amax(dim=1)


def of_peak(probability: float) -> float:
    return -math.expm1(CHANNELS * math.log1p(-2.0 * probability))


CASES = {
    "sum": (total, {1e-3: 3.090232306, 1e-6: 4.753424309}),
    "peak": (peak, {of_peak(tail(level)): level for level in (4.0, 5.5)}),
}


def main(options: Options) -> None:
    print(
        "| score | probability | samples a level | scores | mean / truth | spread | stated "
        "| covered by 95 % |"
    )
    print("|:--|--:|--:|--:|--:|--:|--:|--:|")
    for name, (score, levels) in CASES.items():
        for truth, level in levels.items():
            for num_samples in options.num_samples:
                generator = torch.Generator().manual_seed(0)
                runs = [
                    subset_simulation(
                        score,
                        CHANNELS,
                        level=level,
                        num_samples=num_samples,
                        dtype=torch.float64,
                        generator=generator,
                        progress=False,
                    )
                    for _ in range(options.runs)
                ]
                print(
                    f"| {name} | {truth:.1e} | {num_samples} | {' | '.join(cells(runs, truth))} |"
                )


def cells(runs: list[RareEvent], truth: float) -> list[str]:
    ratio = torch.tensor([run.probability for run in runs], dtype=torch.float64) / truth
    stated = torch.tensor([run.coefficient_of_variation for run in runs])
    mean = Estimate.of(ratio)
    covered = sum(low < truth < high for low, high in (run.interval() for run in runs))
    return [
        f"{sum(run.num_evaluations for run in runs) / len(runs):.0f}",
        f"{mean.mean:.3f} ± {mean.standard_error:.3f}",
        f"{ratio.std():.2f}",
        f"{stated.square().mean().sqrt():.2f}",
        f"{covered / len(runs):.3f}",
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(OPTIONS)
