import os
import subprocess
import sys

import pytest

pytest.importorskip("matplotlib")


def test_importing_neither_needs_a_display_nor_touches_global_state():
    code = "import sys; from compvae_pyg import plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
