"""The documentation site and its pictures."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_every_picture_is_drawn_by_the_script(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = runpy.run_path(str(DOCS / "pictures" / "draw.py"))
    pictures["main"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (DOCS / "pictures").glob("*.png"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "furo", "myst_nb", "sphinxcontrib.katex"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    result = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    api = (tmp_path / "html" / "generated" / "api" / "models.html").read_text(encoding="utf-8")
    assert 'id="compvae_pyg.models.CompVAE.elbo"' in api
    # What a section of a docstring says is set, not left as it was typed.
    assert "Shapes" in api and not re.search(r"\*\* ?(?:input|output)|:math:|`", api)
    # A page is whole without a network: what it loads lies beside it.
    for page in (tmp_path / "html").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script|img)[^>]+src="https?:|<link[^>]+stylesheet"[^>]+"https?:', text
        )
    assert "<img" in (tmp_path / "html" / "notebooks" / "compose-dots.html").read_text("utf-8")
