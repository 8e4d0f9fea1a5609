"""Train the small sines without one of their choices at a time, and measure what it brings.

    python benchmarks/ablate_sines.py [NAME ...]
    python benchmarks/reproduction.py

Short trainings, for differences and not for quality. Each prints its table, and leaves NAME.json in
docs/results/sines-ablations, of which the second command makes the table of docs/sines.md.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro


@dataclass
class Options:
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """What is left out, a training each; by default each choice, and nothing."""

    steps: int = 2800
    """Steps of each training."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from compvae_pyg import CompVAE, Sines
from compvae_pyg.evaluation import evaluate, format_table, write_evaluation
from compvae_pyg.networks import category_curves
from compvae_pyg.training import Schedule, TrainConfig, train

FOLDER = Path(__file__).parents[1] / "docs" / "results" / "sines-ablations"
SIZES = (1, 4, 16, 30)
SEED = 11  # of the evaluation; no choice was made on it


class OneNetwork(nn.Module):
    """Reads all groups at once, in place of a network that reads one at a time."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        groups, hidden = decoder.which.shape
        weights = decoder.waves.in_features
        self.net = nn.Sequential(
            nn.Linear(groups * hidden, 2 * hidden),
            nn.ELU(),
            nn.Linear(2 * hidden, 2 * hidden),
            nn.ELU(),
            nn.Linear(2 * hidden, weights),
        )
        self.groups = groups

    def forward(self, h: Tensor) -> Tensor:
        return self.net(h.unflatten(0, (-1, self.groups)).flatten(1))


class LearnedSize(nn.Module):
    """A decoder whose size is a learned function of the sum, where none of its numbers counts."""

    def __init__(self, decoder: nn.Module, w_channels: int) -> None:
        super().__init__()
        self.decoder, self.size = decoder, nn.Linear(w_channels, 1)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        size = 0.5 + nn.functional.softplus(self.size(w_sum))
        return self.decoder(torch.cat([w_sum[:, :-1], size], dim=1), z)


def plain(model: CompVAE) -> None:
    decoder: Any = model.generator.decoder
    decoder.net.groups = OneNetwork(decoder.net)


def overlapping(model: CompVAE) -> None:
    prior: Any = model.generator.w_prior
    channels = prior.net.loc.shape[1] - 1
    for loc, log_variance in zip(prior.net.loc, prior.net.log_variance, strict=True):
        counted, *wide = torch.randperm(channels)[:4].tolist()
        log_variance[:-1], loc[:-1] = log_variance[:-1].min(), 0.0
        loc[counted], log_variance[wide] = 1.0, 0.0


def uncounted(model: CompVAE) -> None:
    generator: Any = model.generator
    generator.w_prior.net.loc[:, -1] = 0.0
    generator.decoder.net = LearnedSize(generator.decoder.net, generator.w_prior.net.loc.shape[1])


def alone(ones: Tensor, row: Tensor, dim: int, size: int, reduce: str) -> Tensor:
    return ones.new_ones(size)


def nothing(model: CompVAE) -> None:
    pass


def staged(schedule: Schedule, **options: Any) -> Schedule:
    return replace(schedule, stages=tuple(replace(s, **options) for s in schedule.stages))


def same(schedule: Schedule) -> Schedule:
    return schedule


# By what is left out: how the networks are changed, and the schedule.
VARIANTS: dict[str, tuple[Callable[[CompVAE], None], Callable[[Schedule], Schedule]]] = {
    "nothing": (nothing, same),
    "matching": (nothing, lambda schedule: staged(schedule, code_matching=(0.0, 0.0))),
    "moments": (nothing, lambda schedule: staged(schedule, fit_prior=0.0)),
    "groups": (plain, same),
    "start": (overlapping, same),
    "count": (uncounted, same),
    "multiplicity": (nothing, same),
    "noise": (nothing, lambda schedule: staged(schedule, noise=(1.0, 1.0))),
    "few": (
        nothing,
        lambda schedule: replace(
            schedule, curriculum=replace(schedule.curriculum, log_uniform=False)
        ),
    ),
}


def main(options: Options) -> None:
    sines = Sines()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in options.names or VARIANTS:
        change, of = VARIANTS[name]
        torch.manual_seed(0)
        model = sines.build("small")
        change(model)
        category_curves.scatter = alone if name == "multiplicity" else scatter  # type: ignore
        schedule = of(Schedule.of(sines, num_steps=options.steps))
        with tempfile.TemporaryDirectory() as output:
            train(sines, model, schedule, TrainConfig(output=output, accelerator="cpu"))
        few: Any = {"num_weighted": 1, "num_samples": 1, "num_classified": 0, "num_part_sets": 24}
        rows = evaluate(model, sines, num_parts=SIZES, num_draws=150, seed=SEED, **few)
        print(f"without {name}:\n{format_table(rows)}", flush=True)
        write_evaluation(FOLDER / f"{name}.json", rows, seed=SEED)


if __name__ == "__main__":
    main(OPTIONS)
