"""What the README and the how-to pages show."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("code", BLOCKS)
def test_each_block_runs_as_it_stands(code):
    exec(compile(code, "README.md", "exec"), {})


def test_the_blocks_of_the_page_on_compositions_run_one_after_the_other():
    page = (ROOT / "docs" / "compositions.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) >= 7
    names = {}
    for code in blocks:
        exec(compile(code, "compositions.md", "exec"), names)
    assert repr(names["seen"]) in page
    for name in ("seen", "back"):
        assert names[name].w.shape[1] == 512
    assert (names["back"].w == names["first"].w).all()
    assert (names["w"].grad != 0).any() and names["wholes"].shape == (2, 200)


def test_the_blocks_of_the_page_on_your_own_problem_run(tmp_path, monkeypatch):
    for name in ("sklearn", "lightning", "safetensors"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "your-own-problem.md").read_text(encoding="utf-8")
    own, networks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    # What the page promises, without empty lines.
    assert len([line for line in own.split("\n") if line.strip()]) <= 40
    names = {}
    short = own.replace("steps = 3_600", "steps = 8")
    assert short != own
    exec(compile(short, "your-own-problem.md", "exec"), names)
    assert names["model"].generate(names["parts"]).shape == (1, 1, 24, 24)
    exec(compile(networks, "your-own-problem.md", "exec"), names)
    mine = names["mine"]
    mine.save_pretrained("mine")
    assert type(mine).from_pretrained("mine").event_shape == (50,)
    assert mine.generate(names["category"], names["batch"]).shape == (2, 50)


def test_each_local_link_leads_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
