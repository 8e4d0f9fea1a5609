import importlib
import importlib.util
import io
import itertools
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import settings
from known_models import GroundTruthModel, RecordingDecoder, WrongColourModel
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from compvae_pyg import Dots

# Threads of OpenMP do not survive a fork. In the processes that tests fork, Lightning would set as
# many as there are cores.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile(
    "repeatable", max_examples=25, deadline=None, derandomize=True, database=None
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


@pytest.fixture(scope="session")
def batch_of() -> Callable[[Sequence[int]], Tensor]:
    """From the sizes of sets to the ``batch`` vector of their members."""

    def build(sizes: Sequence[int]) -> Tensor:
        owners = [s for s, size in enumerate(sizes) for _ in range(size)]
        return torch.tensor(owners, dtype=torch.long)

    return build


@pytest.fixture(scope="session")
def refuses() -> Callable[[type[BaseException], str], AbstractContextManager[None]]:
    """Check that a block raises an error of this type, in one line that has this name in it."""

    @contextmanager
    def check(error: type[BaseException], name: str) -> Iterator[None]:
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value)
        assert message and "\n" not in message
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message), message

    return check


@pytest.fixture(scope="session")
def load_script() -> Iterator[Callable[[str], ModuleType]]:
    """Import a program of the repository by its path, which is in no package."""
    loaded = []

    def load(path: str) -> ModuleType:
        name = Path(path).stem
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / path)
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up while they are made.
        sys.modules[name] = module
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def dense_law() -> Callable[[Tensor, Tensor, Tensor, str], MultivariateNormal]:
    """The coupled law of one set in one coordinate, ``[K]`` each, as a dense Gaussian."""

    def build(loc: Tensor, scale: Tensor, logits: Tensor, coupling: str) -> MultivariateNormal:
        rho = torch.softmax(torch.cat([logits, logits.new_zeros(1)]), dim=0)[:-1]
        mixing = torch.eye(len(loc), dtype=loc.dtype) - rho.unsqueeze(1)
        if coupling == "paper":
            root = scale.unsqueeze(1) * mixing
        else:
            root = mixing * scale
        return MultivariateNormal(loc, root @ root.T)

    return build


@pytest.fixture(autouse=True)
def validation() -> Iterator[None]:
    """Put back the validation of distributions, which compiling turns off for good."""
    validates = Distribution._validate_args
    yield
    Distribution.set_default_validate_args(validates)


@pytest.fixture
def compiling() -> None:
    """Skip where torch cannot compile or export the layers as one graph."""
    release = tuple(int(number) for number in torch.__version__.split(".")[:2])
    if release < (2, 8):
        pytest.skip(f"torch.compile and torch.export are supported from torch 2.8 (got {release})")


@pytest.fixture
def compile_once(compiling: None) -> Iterator[Callable[[Callable, str], Callable]]:
    """Compile a function as one graph for all shapes, with the random numbers of eager mode.

    A graph break and a second compilation are errors.
    """
    import torch._dynamo.config
    import torch._inductor.config

    def compile_with(function: Callable, backend: str) -> Callable:
        return torch.compile(function, backend=backend, fullgraph=True, dynamic=True)

    torch.compiler.reset()
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        torch._inductor.config.patch(fallback_random=True),
    ):
        yield compile_with
    torch.compiler.reset()


@pytest.fixture
def slow_clock(monkeypatch):
    """Let bars believe that a minute passes whenever they ask for the time."""
    minutes = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: 60.0 * next(minutes))


@pytest.fixture
def quick_classifier(monkeypatch):
    """Let evaluations train classifiers for a few steps, where it does not matter how well."""
    module = importlib.import_module("compvae_pyg.evaluation.samples")
    quick = partial(module.classifier_accuracy, num_steps=5)
    monkeypatch.setattr(module, "classifier_accuracy", quick)


@pytest.fixture
def record_decoder(monkeypatch):
    """Replace a model's decoder by one that records its arguments."""

    def replace(model):
        recorded = RecordingDecoder(model.generator.decoder)
        monkeypatch.setitem(model.generator._modules, "decoder", recorded)
        return recorded

    return replace


@pytest.fixture
def ground_truth_model():
    return GroundTruthModel()


@pytest.fixture
def wrong_colour_model():
    return WrongColourModel()


@pytest.fixture(scope="session")
def dots():
    return Dots()


@pytest.fixture(scope="session")
def untrained(dots):
    torch.manual_seed(3)
    return dots.build("small")


@pytest.fixture(scope="session")
def drawn():
    """A figure as it would be saved, [height, width, 3] in [0, 1]; not blank."""

    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    def render(figure):
        assert isinstance(figure, Figure)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        file.seek(0)
        image = imread(file)[..., :3]
        assert image.std() > 0.05, "a blank page"
        return image

    return render


@pytest.fixture(scope="session")
def shows():
    """Whether a share of an image's pixels has a colour."""

    def near(image, rgb, share=1e-4):
        return (np.abs(image - np.asarray(rgb)).max(axis=-1) < 0.02).mean() > share

    return near


@pytest.fixture(scope="session")
def run_example() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run an example in a folder, as from a command line, on one thread."""

    def run(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        env["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parents[1]), env.get("PYTHONPATH", "")]
        )
        return subprocess.run(
            [sys.executable, str(Path(__file__).parents[1] / "examples" / name), *arguments],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
