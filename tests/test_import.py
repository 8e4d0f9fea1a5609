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


def test_warnings_stay_as_a_program_asked_and_no_extra_is_loaded():
    # What the dependencies load is theirs.
    code = """
import sys, warnings, numpy, torch, torch_geometric.nn
loaded, asked = set(sys.modules), list(warnings.filters)
from compvae_pyg import CompVAE
"""
    extras = f"sorted((set(sys.modules) - loaded) & set({EXTRAS}))"
    assert fresh(f"{code}print(warnings.filters == asked, {extras})") == "True []"
