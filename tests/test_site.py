"""The documentation site and its pictures."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import compvae_pyg

DOCS = Path(__file__).parents[1] / "docs"


def test_every_picture_is_drawn_by_the_script(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = runpy.run_path(str(DOCS / "pictures" / "draw.py"))
    pictures["main"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (DOCS / "pictures").glob("*.png"))


def test_every_public_name_has_an_entry_on_one_page():
    pytest.importorskip("sphinx")
    pytest.importorskip("matplotlib")
    conf = runpy.run_path(str(DOCS / "conf.py"))
    pages = {module.__name__: conf["names_of"](module) for module in conf["public_modules"]()}
    found = {name for names in pages.values() for name in names}
    for package in (compvae_pyg, *conf["public_modules"]()):
        assert {*package.__all__} - {"__version__"} <= found, package.__name__
    assert "plot_compositions" in pages["compvae_pyg.problems.digits.figures"]
    assert "Dots" in pages["compvae_pyg.problems.dots"]
    assert "Dots" not in pages["compvae_pyg.problems"]


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
