from pathlib import Path

import pytest

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_page_are_of_the_committed_results(load_script):
    script = load_script("benchmarks/households.py")
    page = (ROOT / "docs" / "households.md").read_text(encoding="utf-8")
    for mark, table in script.tables().items():
        assert f"<!-- {mark} -->\n\n{table}\n\n<!-- end -->" in page, mark
