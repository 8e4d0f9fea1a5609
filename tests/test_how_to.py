"""The how-to pages whose blocks of code stand alone."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = [
    pytest.param(page, code, id=f"{page}-{number}")
    for page in ("likelihood.md", "rare-wholes.md")
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    )
]


def test_there_are_blocks_to_run():
    assert len(BLOCKS) == 5


@pytest.mark.parametrize(("page", "code"), BLOCKS)
def test_each_block_runs_as_it_stands(page, code):
    exec(compile(code, page, "exec"), {})
