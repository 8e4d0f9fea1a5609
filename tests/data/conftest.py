"""Wholes in files, and a model small enough to be trained on them in milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compvae_pyg.distributions import NormalNetwork
from compvae_pyg.models import CompVAE, CompVAEEncoder, CompVAEGenerator, SeparateEmbedding
from compvae_pyg.networks import DataUnits, Normalization


class OfKind(nn.Module):
    """A row of a table for the kind of each part, and its size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kind = nn.Embedding(3, channels)
        self.size = nn.Linear(1, channels)

    def forward(self, parts: Any) -> Tensor:
        return self.kind(parts["kind"]) + self.size(parts["size"].unsqueeze(1))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3 + 2, 2 * 4)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        return self.lin(torch.cat([w_sum, z], dim=1))


@pytest.fixture(scope="session")
def build() -> Callable[[], CompVAE]:
    """Make the model: wholes are ``[4]``, parts have a ``kind`` and a ``size``."""

    def make() -> CompVAE:
        torch.manual_seed(1)
        units = Normalization("whole", (4,))
        return CompVAE(
            CompVAEEncoder(4, 5, hidden_channels=6, w_channels=3, z_channels=2, num_blocks=1),
            CompVAEGenerator(
                NormalNetwork(OfKind(6), 0.1),
                NormalNetwork(nn.Linear(3, 4), 0.1),
                DataUnits(NormalNetwork(Decoder(), 0.1, event_dims=1), units),
            ),
            SeparateEmbedding(units, OfKind(5)),
            (4,),
        )

    return make


@pytest.fixture(scope="session")
def tables() -> Callable[[int], tuple[dict[str, Any], dict[str, Any]]]:
    """Columns of wholes and of parts: of 0 to 4 parts, ids that rise, and days of some wholes."""

    def make(count: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        random = np.random.default_rng(seed)
        sizes = random.integers(0, 5, count)
        sizes[0] = 2
        owner = np.repeat(np.arange(count), sizes)
        kind = random.integers(0, 3, len(owner))
        size = random.standard_normal(len(owner)).astype(np.float32)
        whole = 40.0 + random.standard_normal((count, 4)).astype(np.float32)
        np.add.at(whole, (owner, kind), 3.0 * size)
        ids = 10 * np.arange(count) + 7
        day = [f"day {d}" for d in random.integers(0, 1 + count // 4, count)]
        wholes = {"id": ids, "day": day, "whole": list(whole)}
        return wholes, {"id": ids[owner], "kind": kind, "size": size}

    return make


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Write columns as tables into a folder."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    def to(folder: Path, wholes: dict[str, Any], parts: dict[str, Any], **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, columns in (("wholes", wholes), ("parts", parts)):
            pq.write_table(pa.table(columns), folder / f"{name}.parquet", **options)
        return folder

    return to


@pytest.fixture
def folder(tmp_path: Path, tables: Any, write: Any) -> Path:
    """Forty wholes in small groups of rows."""
    return write(tmp_path / "data", *tables(40), row_group_size=16)
