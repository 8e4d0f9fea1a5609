"""Single homes by Faraday (opensynth-energy), beside those of a model of this library.

Faraday (Chai & Chadney, 2024) is a variational autoencoder of single homes' days, with a Gaussian
mixture over its latents and labels, which are integers. It is trained here on single homes of the
simulated pool, with their kinds, the day's temperature in whole degrees, and weekends for labels,
and both are measured on days that are held out, with the distance of their curves to those that it
was trained with. It has no sums: there is nothing to compare beyond one home.

It is to be installed, in an environment of its own, since it needs NumPy 2.0 or older:

    pip install opensynth-energy==1.0.0 '.[train,hub]'
    python benchmarks/faraday.py
"""

import argparse
import contextlib
import json
import logging
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import pytorch_lightning as pl
import torch
from opensynth.models.faraday import FaradayModel, FaradayVAE
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from compvae_pyg import CompVAE
from compvae_pyg.evaluation.ensembles import compare_curves, nearest_distances
from compvae_pyg.problems.households import Households

LABELS = ("residents", "heat_pump", "temperature", "weekend")


class Homes(Dataset):
    """Single homes on days of training, in units of their own, with labels."""

    def __init__(self, number):
        data = Households().sample(torch.ones(number, dtype=torch.long))
        self.mean, self.std = data.whole.mean(), data.whole.std()
        self.load = (data.whole - self.mean) / self.std
        temperature, weekend = data.context[:, 0].round(), data.context[:, 3]
        rows = (data.residents, data.heat_pump, temperature, weekend)
        self.labels = torch.stack([row.float() for row in rows], dim=1)

    def __len__(self):
        return len(self.load)

    def __getitem__(self, indices):
        labels = dict(zip(LABELS, self.labels[indices].split(1, dim=1), strict=True))
        return {"kwh": self.load[indices], "features": labels}


class Batches:
    """What Faraday takes for a data module."""

    def __init__(self, data, batch_size):
        batches = BatchSampler(RandomSampler(data), batch_size, drop_last=True)
        self.loader = DataLoader(data, batch_size=None, sampler=batches)

    def train_dataloader(self):
        return self.loader


def train(data, epochs, components):
    vae = FaradayVAE(class_dim=len(LABELS), tmax=epochs)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    pl.Trainer(max_epochs=epochs, accelerator="cpu", **quiet).fit(
        vae, Batches(data, 500).train_dataloader()
    )
    faraday = FaradayModel(vae.eval(), components, max_epochs=30, covariance_reg=1e-3)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # for its own logs
        faraday.train_gmm(Batches(data, min(len(data), 10_000)))
    return faraday


@torch.no_grad()
def draw(faraday, data, number):
    """Draw single homes in kW, and their labels, ``[n, 4]``."""
    out = faraday.sample_gmm(number)
    labels = torch.cat([out["features"][name] for name in LABELS], dim=1)
    return out["kwh"] * data.std + data.mean, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=20_000, help="days of homes to train with")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--components", type=int, default=50, help="of the mixture")
    parser.add_argument("--num-wholes", type=int, default=2_000, help="of each kind")
    parser.add_argument("--output", type=Path, default=Path("outputs/faraday.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.manual_seed(0)
    data, held_out = Homes(options.homes), Households().held_out()
    began = time.process_time()
    faraday = train(data, options.epochs, options.components)
    seconds = time.process_time() - began
    load, labels = draw(faraday, data, 40 * options.num_wholes)
    model = CompVAE.from_pretrained("households-small").requires_grad_(False)
    rows = []
    for kind, of in held_out.kinds(6).items():
        truth, other = (held_out.ensembles(1, options.num_wholes, of=of) for _ in range(2))
        home = torch.tensor([of["residents"], of["heat_pump"]])
        same, seen = ((x[:, :2] == home).all(dim=1) for x in (labels, data.labels))
        seen = data.load[seen] * data.std + data.mean
        samples = {
            "faraday": load[same][: options.num_wholes],
            "households-small": model.generate(held_out.pack(other), observation_noise=True),
            "true": other.whole,
        }
        for name, sample in samples.items():
            found = compare_curves(sample, truth.whole, 1)
            found["nearest_one_percent"] = float(nearest_distances(sample, seen).quantile(0.01))
            rows.append({"kind": kind, "sample": name, "num_wholes": len(sample), **found})
            shown = ("mean_error", "q95_error", "energy_variance_ratio", "energy_distance")
            text = ", ".join(f"{key} {found[key]:.3f}" for key in shown)
            print(f"{kind:24s} {name:16s} n={len(sample):5d}  {text}", flush=True)
    names = ("torch", "numpy", "opensynth-energy")
    used = {name: version(name) for name in names}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"command": sys.argv, "training_seconds": seconds, "versions": used, "rows": rows}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
