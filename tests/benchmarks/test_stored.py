import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_parts(tmp_path):
    pytest.importorskip("pyarrow")
    rows = []
    for parts_each in (10, 200):  # of 20,000 wholes
        command = [sys.executable, "-m", "benchmarks.stored", "--row-group", "100000"]
        command += ["--parts", str(20_000 * parts_each), "--parts-each", str(parts_each)]
        command += ["--batch-size", str(2560 // parts_each), "--folder", tmp_path]
        command += ["--output", tmp_path / "stored.json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("parts per second") == 2
        rows += json.loads((tmp_path / "stored.json").read_text())["rows"]
    few, many = rows
    grown = 12 * (many["parts"] - few["parts"]) / 2**20  # a label and a number each
    for phase in ("unpacking", "epoch"):
        name = f"{phase}_peak_megabytes"
        assert many[name] - few[name] < 0.3 * grown, (few[name], many[name], grown)
