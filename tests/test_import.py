"""What importing the package does, and what it does not."""

import os
import subprocess
import sys

EXTRAS = (
    "gradio",
    "huggingface_hub",
    "lightning",
    "matplotlib",
    "pyarrow",
    "pytorch_lightning",
    "safetensors",
    "scipy",
    "sklearn",
    "tyro",
)


def fresh(code, *options):
    """Run code in an interpreter of its own, and return what it says."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *options, "-c", code]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def test_no_warning_is_raised_even_by_what_is_imported_first():
    fresh("from compvae_pyg import CompVAE", "-W", "error")


_CODE = """
import locale, logging, os, random, signal, sys, warnings, numpy, torch, torch_geometric.nn
from torch.distributions import Distribution
def settings():
    return [
        list(warnings.filters), Distribution._validate_args, torch.is_grad_enabled(),
        torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().tolist(),
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
        numpy.random.get_state()[1].tolist(), random.getstate(), numpy.geterr(), dict(os.environ),
        os.getcwd(), locale.setlocale(locale.LC_ALL), sys.getrecursionlimit(),
        logging.root.level, list(logging.root.handlers),
        [signal.getsignal(number) for number in signal.valid_signals()],
    ]
def watch(event, given):
    writes = event == "open" and (given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.startswith(("socket.", "os.mkdir", "os.rename", "subprocess.")):
        touched.append((event, given))
loaded, before, touched = set(sys.modules), settings(), []
sys.addaudithook(watch)
from compvae_pyg import CompVAE
"""


def test_it_loads_no_extra_writes_nothing_asks_nobody_and_leaves_all_settings():
    # What the dependencies load is theirs.
    extras = f"sorted((set(sys.modules) - loaded) & set({EXTRAS}))"
    assert fresh(f"{_CODE}print(settings() == before, touched, {extras})", "-B") == "True [] []"
