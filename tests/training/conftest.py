"""A problem small enough to be trained in milliseconds."""

import csv
import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from compvae_pyg.distributions import NormalNetwork
from compvae_pyg.models import (
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    Elbo,
    SeparateEmbedding,
)
from compvae_pyg.nn import pack
from compvae_pyg.problems import Problem, packed_batch
from compvae_pyg.training import (
    CompVAEModule,
    Curriculum,
    GeneratedData,
    LearningRate,
    Schedule,
    Stage,
    TrainConfig,
    train,
)
from compvae_pyg.training import module as training_module


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3 + 2, 2 * 4)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        return self.lin(torch.cat([w_sum, z], dim=1))


class Tiny(Problem):
    """Parts are points of the plane; a whole is a noisy count and sum of them, ``[4]``."""

    name = "tiny"
    part_fields = ("point",)
    event_shape = (4,)

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Any:
        batch, _ = pack(num_parts)
        point = torch.randn(len(batch), 2, generator=generator)
        whole = 0.1 * torch.randn(len(num_parts), 4, generator=generator)
        whole[:, :2].index_add_(0, batch, point)
        whole[:, 2] += num_parts
        return packed_batch({"point": point}, whole, num_parts)

    def parts(self, data: Any) -> Tensor:
        return data.point

    def build(self, preset: str = "linear") -> CompVAE:
        return CompVAE(
            CompVAEEncoder(4, 2, hidden_channels=6, w_channels=3, z_channels=2, num_blocks=1),
            CompVAEGenerator(
                NormalNetwork(nn.Linear(2, 6), 0.1),
                NormalNetwork(nn.Linear(3, 4), 0.1),
                NormalNetwork(Decoder(), 0.1, event_dims=1),
            ),
            SeparateEmbedding(nn.Identity(), nn.Identity()),
            self.event_shape,
        )

    def schedule(self, num_steps: int = 20) -> Schedule:
        return Schedule(
            num_steps=num_steps,
            batch_size=3,
            stages=(
                Stage("labels", 0.25, inferred="none", loss="squared_error"),
                Stage("parts", 0.35, inferred="parts", beta_w=(4.0, 1.0)),
                Stage("whole", 0.4, beta_z=(8.0, 2.0)),
            ),
            curriculum=Curriculum(first=2, last=5, every=4),
            learning_rate=LearningRate(initial=1e-2, final=1e-3, halving=6, warmup=3),
            max_grad_norm=5.0,
        )


class Faults:
    """Spoils the loss of a model at given steps, and keeps what it returned at each."""

    def __init__(self, model: CompVAE) -> None:
        self.model = model
        self.staged_elbo = training_module.staged_elbo
        self.not_finite: Collection[int] = ()
        self.steep: Collection[int] = ()
        self.crash: int | None = None
        self.before: Callable[[int], None] = lambda step: None
        self.terms: list[Elbo] = []
        self.wholes: list[Tensor] = []
        self.steep_at = next(iter(model.parameters()))
        training_module.staged_elbo = self

    def __call__(self, model: CompVAE, whole: Tensor, *args: Any, **kwargs: Any) -> Elbo:
        if model is not self.model:
            return self.staged_elbo(model, whole, *args, **kwargs)
        step = len(self.terms)
        self.before(step)
        if step == self.crash:
            raise OSError("power cut")
        terms = self.staged_elbo(model, whole, *args, **kwargs)
        if step in self.not_finite:
            terms = terms._replace(kl_w=terms.kl_w + math.inf)
        if step in self.steep:
            flat = torch.sqrt((0.0 * self.steep_at).sum())
            terms = terms._replace(kl_w=terms.kl_w + flat)
        self.terms.append(Elbo(*(t.detach() for t in terms[:3]), terms.likelihood))
        self.wholes.append(whole)
        return terms


class Recorder(L.Callback):
    """Copies what a step may change, after each step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.adam: list[dict[str, Any]] = []
        self.grad_norm: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        adam = trainer.optimizers[0].state_dict()
        self.weights.append({k: v.clone() for k, v in pl_module.state_dict().items()})
        self.adam.append(
            {
                f"{index}.{name}": value.clone()
                for index, state in adam["state"].items()
                for name, value in state.items()
            }
            | {"lr": adam["param_groups"][0]["lr"]}
        )
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.grad_norm.append(float(torch.stack([g.square().sum() for g in grads]).sum().sqrt()))


@pytest.fixture
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture
def model(tiny: Tiny) -> CompVAE:
    torch.manual_seed(1)
    return tiny.build()


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    staged_elbo = training_module.staged_elbo
    yield
    training_module.staged_elbo = staged_elbo


@pytest.fixture
def faults(model: CompVAE) -> Faults:
    return Faults(model)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def module(tiny: Tiny, model: CompVAE) -> CompVAEModule:
    return CompVAEModule(model, tiny.schedule(), tiny.parts, patience=4)


@pytest.fixture
def fit(tiny: Tiny, tmp_path: Path) -> Callable[..., L.Trainer]:
    """Train a module with a bare trainer."""

    def run(
        module: CompVAEModule,
        *callbacks: L.Callback,
        data: Any = None,
        val: Any = None,
        **kwargs: Any,
    ) -> L.Trainer:
        options = {
            "max_steps": module.schedule.num_steps,
            "log_every_n_steps": 5,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "default_root_dir": tmp_path,
            **kwargs,
        }
        trainer = L.Trainer(callbacks=list(callbacks), **options)
        if data is None:
            trainer.fit(module, datamodule=GeneratedData(tiny, module.schedule))
        else:
            trainer.fit(module, data, val)
        return trainer

    return run


@pytest.fixture
def run(tiny: Tiny) -> Callable[..., CompVAE]:
    """Call ``train`` on the tiny problem."""

    def call(output: Path, model: CompVAE | None = None, **kwargs: Any) -> CompVAE:
        if model is None:
            torch.manual_seed(1)
            model = tiny.build()
        schedule = kwargs.pop("schedule", tiny.schedule())
        more = {name: kwargs.pop(name) for name in ("callbacks", "logger") if name in kwargs}
        options = {
            "accelerator": "cpu",
            "checkpoint_every": 4,
            "log_every": 3,
            "progress": False,
            **kwargs,
        }
        return train(tiny, model, schedule, TrainConfig(output=output, **options), **more)

    return call


@pytest.fixture(scope="session")
def read_rows() -> Callable[[Path], list[dict[str, str]]]:
    def read(output: Path) -> list[dict[str, str]]:
        with (output / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def stored() -> list[Any]:
    """Twelve wholes of one to four parts, one by one."""
    sizes = torch.tensor([1, 3, 2, 2, 4, 1, 2, 3, 1, 1, 4, 2])
    return Tiny().sample(sizes, torch.Generator().manual_seed(7)).to_data_list()
