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


def test_the_warnings_that_a_program_asks_for_stay_as_it_asked():
    code = (
        "import torch_geometric.nn, warnings; before = list(warnings.filters); "
        "from compvae_pyg import CompVAE"
    )
    assert fresh(f"{code}; print(warnings.filters == before)") == "True"


def test_no_extra_is_loaded():
    # What the dependencies load is theirs.
    code = "import sys, numpy, torch, torch_geometric.nn; before = set(sys.modules)"
    loaded = f"sorted((set(sys.modules) - before) & set({EXTRAS}))"
    assert fresh(f"{code}; from compvae_pyg import CompVAE; print({loaded})") == "[]"
