"""What the suites share: the device, sizes of runs, and what a result must say of its origin."""

import sys
from typing import Any

import pytest
import torch

from benchmarks.origin import origin
from compvae_pyg.runtime import check_compiler, keep_freed_memory


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compvae")
    group.addoption("--device", default="cpu", help="where the suites run: cpu or cuda")
    group.addoption("--bf16", action="store_true", help="training steps under bf16 autocast")
    group.addoption("--no-compile", action="store_true", help="leave out what is compiled")
    group.addoption("--threads", type=int, help="threads of torch; by default its own choice")


def pytest_configure(config: pytest.Config) -> None:
    threads = config.getoption("--threads")
    if threads is not None:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    device = torch.device(request.config.getoption("--device"))
    if device.type == "cpu":
        keep_freed_memory()  # as training does
    return device


@pytest.fixture(scope="session")
def compiling(request: pytest.FixtureRequest, device: torch.device) -> bool:
    """Whether to measure compiled networks as well."""
    if request.config.getoption("--no-compile"):
        return False
    try:
        check_compiler(device)
    except ValueError as error:
        pytest.exit(f"{error}; pass --no-compile to leave out what is compiled", returncode=1)
    return True


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_compiled(compiling: bool) -> None:
    """Forget what the test before compiled: torch compiles a function a few times at most."""
    if compiling:
        torch.compiler.reset()


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: Any) -> None:
    command = " ".join(["python -m pytest", *sys.argv[1:]])
    output_json["origin"] = origin(command, torch.device(config.getoption("--device")))
