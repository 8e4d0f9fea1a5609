"""Train a small model in 32 bits and under bf16 autocast, and compare the ELBOs.

    python benchmarks/compare_precision.py --problem sines --steps 3000 --seeds 3

Each seed trains once in each precision on the same data. The ELBO is that of fresh wholes, in 32
bits for both. On a GPU ``--tf32`` compares TF32 as well.
"""

import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(kw_only=True)
class Options:
    problem: Literal["dots", "sines"] = "sines"
    """Problem, with its small networks."""

    steps: int = 3000
    """Steps of each training."""

    seeds: int = 3
    """Trainings in each precision."""

    num_wholes: int = 2000
    """Fresh wholes that the ELBO is averaged over."""

    tf32: bool = False
    """Whether to train with TF32 products as well, which only GPUs have."""

    output: Path = Path("outputs/precision.json")
    """File for the ELBOs."""


if __name__ == "__main__":
    OPTIONS = tyro.cli(Options, description=__doc__)  # first, so that --help answers at once

import torch

from compvae_pyg import CompVAE, Dots, Sines
from compvae_pyg.problems import Problem
from compvae_pyg.training import Schedule, TrainConfig, train

PROBLEMS: dict[str, Problem] = {"dots": Dots(), "sines": Sines()}


def mean_elbo(problem: Problem, model: CompVAE, last: int, num_wholes: int) -> float:
    """Mean ELBO of fresh wholes of 1 to ``last`` parts, in nats."""
    generator = torch.Generator().manual_seed(1)
    total = 0.0
    for count in [100] * (num_wholes // 100):
        data = problem.sample(torch.randint(1, last + 1, (count,), generator=generator), generator)
        with torch.no_grad():
            terms = model.elbo(data.whole, problem.parts(data), data.batch, count)
        total += float(terms.elbo.mean())
    return total / (num_wholes // 100)


def main(options: Options) -> None:
    problem = PROBLEMS[options.problem]
    schedule = Schedule.of(problem, num_steps=options.steps)
    precisions = {"32-true": "highest", "bf16-mixed": "highest"}
    elbos: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for name, products in [*precisions.items(), *([("tf32", "high")] if options.tf32 else [])]:
            torch.set_float32_matmul_precision(products)
            torch.manual_seed(seed)
            model = problem.build("small")
            precision = "bf16-mixed" if name == "bf16-mixed" else "32-true"
            with tempfile.TemporaryDirectory() as folder:
                config = TrainConfig(output=folder, seed=seed, precision=precision)
                train(problem, model, schedule, config)
            torch.set_float32_matmul_precision("highest")
            torch.manual_seed(0)
            last = schedule.curriculum.last
            elbos.setdefault(name, []).append(mean_elbo(problem, model, last, options.num_wholes))
            print(f"seed {seed}, {name}: {elbos[name][-1]:.1f} nats", flush=True)
    for name, values in elbos.items():
        across = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        print(f"{name}: {statistics.mean(values):.1f}{across} nats over {len(values)} seeds")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(elbos, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(OPTIONS)
