"""Where a result comes from: command, commit, machine and versions."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["origin"]

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "torch_geometric", "lightning", "torch_scatter", "numpy", "pytest-benchmark")


def origin(
    command: str, device: torch.device, packages: tuple[str, ...] = PACKAGES
) -> dict[str, Any]:
    return {
        "command": command,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", "compvae_pyg", "benchmarks/*.py")),
        "machine": (torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: v for name in packages if (v := _version(name)) is not None},
    }


def _git(*args: str) -> str:
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.processor())} ({torch.backends.cpu.get_cpu_capability()})"
