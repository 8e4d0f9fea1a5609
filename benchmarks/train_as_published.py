"""Train the paper's layers by the published schedule, each step one CUDA graph.

    python benchmarks/train_as_published.py dots --seconds 7200
    python examples/evaluate.py outputs/dots-narrow

Layers at 1/8 of the published width keep a GPU waiting for the host, which starts their kernels one
by one; a graph starts them all at once. In the paper all wholes of a batch have equally many parts
(``per="batch"``), so that there are as many graphs as numbers of parts. Without a GPU the same
steps are taken one kernel at a time. Prints a line now and then; leaves the model and metrics.csv.
"""

import csv
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import tyro

SHOWN = ("elbo_nats", "kl_w_bits", "kl_z_bits", "rmse", "seconds")


def main(
    problem: tyro.conf.Positional[Literal["dots", "sines"]],
    /,
    preset: Literal["narrow", "paper"] = "narrow",
    steps: int = 500_000,
    seconds: float = 7200.0,
    log_every: int = 250,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Train until so many steps are done, or so many seconds are over."""
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import Dots, Sines
    from compvae_pyg.optim import gradient_norm, skip_step
    from compvae_pyg.training import GeneratedDataset, Schedule
    from compvae_pyg.training.objective import measured, named

    source: Any = Dots() if problem == "dots" else Sines()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = source.build(preset).to(device)
    schedule = Schedule.of(source, "paper", steps, preset=preset)
    schedule = replace(schedule, curriculum=replace(schedule.curriculum, per="batch"))
    data = GeneratedDataset(source, schedule, seed, device=device)
    on_gpu = device.type == "cuda"
    rate = torch.tensor(schedule.learning_rate.at(0), device=device)
    adam = torch.optim.Adam(
        model.parameters(), lr=rate, betas=schedule.betas, fused=True, capturable=on_gpu
    )
    # Sums over steps of kl_w, kl_z, log-likelihood and squared error; numbers of steps and skipped.
    sums = torch.zeros(6, device=device)

    def step(batch: Any) -> None:
        terms = model.elbo(batch.whole, source.pack(batch))
        loss = -terms.elbo.mean()
        adam.zero_grad()
        loss.backward()
        good = torch.isfinite(gradient_norm(model.parameters()) + loss.detach())
        skip_step(adam, ~good)
        adam.step()
        values = torch.where(good, measured(terms, batch.whole).mean(dim=1), 0.0)
        sums.add_(torch.cat([values, torch.stack([good, ~good]).float()]))

    times, graphs = Counter[int](), dict[int, tuple[torch.cuda.CUDAGraph, Any]]()
    side = torch.cuda.Stream() if on_gpu else None

    def take(batch: Any) -> None:
        size = int(batch._store._num_nodes[0])
        times[size] += 1
        if side is None:
            step(batch)
        elif times[size] <= 3:  # so that everything is allocated before it is captured
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                step(batch)
            torch.cuda.current_stream().wait_stream(side)
        else:
            if size not in graphs:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    step(batch)
                graphs[size] = graph, batch
            graph, fixed = graphs[size]
            if fixed is not batch:
                for name in ("whole", *source.part_fields):
                    fixed[name].copy_(batch[name])
            graph.replay()

    folder = output or Path("outputs") / f"{problem}-{preset}"
    folder.mkdir(parents=True, exist_ok=True)
    start, done = time.monotonic(), 0
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer: Any = None
        while done < steps and time.monotonic() - start < seconds:
            rate.fill_(schedule.learning_rate.at(done))
            take(data[done])
            done += 1
            if done % log_every and done < steps:
                continue
            *values, number, skipped = sums.tolist()
            sums[:5] = 0.0
            largest = schedule.curriculum.max_parts(done - 1)
            stage = schedule.at(done - 1).stage.name
            row: dict[str, Any] = {"step": done, "stage": stage, "max_parts": largest}
            row["learning_rate"] = schedule.learning_rate.at(done - 1)
            found = named(*(value / max(1.0, number) for value in values))
            row |= {n if n.endswith("_bits") else f"{n}_nats": v for n, v in found.items()}
            row["rmse"] = row.pop("mse_nats") ** 0.5
            row |= {"skipped_steps": int(skipped), "seconds": time.monotonic() - start}
            if writer is None:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            text = (f"{name} {row[name]:.5g}" for name in SHOWN)
            print(f"step {done}, to {largest} parts:", ", ".join(text), flush=True)
    model.to("cpu").save_pretrained(folder)
    print(f"{done} steps in {time.monotonic() - start:.0f} s; the model is in {folder}")


if __name__ == "__main__":
    tyro.cli(main)
