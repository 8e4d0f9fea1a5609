"""Programs answer ``--help`` before they import what is slow, and end in a line when stopped."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tyro")

from compvae_pyg.problems import Digits, Dots, Sines
from compvae_pyg.training import Schedule

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("examples", "benchmarks")
    for path in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text() and path.name != "faraday.py"
)
SLOW = ("gradio", "lightning", "matplotlib", "numpy", "pandas", "sklearn", "torch", "tqdm")


def test_help_imports_nothing_slow(tmp_path):
    code = (
        "import contextlib, io, runpy, sys\n"
        "for program in sys.argv[1:]:\n"
        "    sys.argv = [program, '--help']\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        with contextlib.suppress(SystemExit):\n"
        "            runpy.run_path(program, run_name='__main__')\n"
        "    assert 'usage: ' in out.getvalue(), program\n"
        f"    print(program, sorted(set(sys.modules) & set({SLOW})))\n"
    )
    programs = [*PROGRAMS, "compvae_pyg/demo/__main__.py"]
    command = [sys.executable, "-c", code, *(str(ROOT / program) for program in programs)]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()] == ["[]"] * len(
        programs
    )


@pytest.mark.parametrize(
    ("program", "problem"), [("dots", Dots), ("sines", Sines), ("digits", Digits)]
)
def test_the_defaults_that_are_shown_are_those_of_the_problem(load_script, program, problem):
    pytest.importorskip("sklearn")
    path = f"examples/train_{program}.py"
    options = load_script(path).Options()
    assert options.num_parts == problem().evaluated_parts
    steps = re.findall(r"by default (\d+)(?:, or (\d+))?", (ROOT / path).read_text())[0]
    styles = ("staged", "paper")[: 1 + bool(steps[1])]
    shown = tuple(str(Schedule.of(problem(), style).num_steps) for style in styles)
    assert steps[: len(styles)] == shown


def test_ctrl_c_ends_in_a_line_while_a_program_starts(tmp_path):
    # When torch is first looked for, the signal comes.
    code = (
        "import os, runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "program = sys.argv[1]\n"
        "sys.argv = [program]\n"
        "runpy.run_path(program, run_name='__main__')\n"
    )
    for program in ("examples/encoder_in_your_gnn.py", "examples/train_dots.py"):
        command = [sys.executable, "-c", code, str(ROOT / program)]
        done = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "stopped\n"), program
    assert not any(tmp_path.iterdir())
