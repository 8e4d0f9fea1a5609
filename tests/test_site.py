"""The documentation site and its pictures."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_every_picture_is_drawn_by_the_script(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = runpy.run_path(str(DOCS / "pictures" / "draw.py"))
    pictures["main"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (DOCS / "pictures").glob("*.png"))


@pytest.fixture(scope="module")
def conf():
    for package in ("sphinx", "matplotlib", "lightning", "sklearn"):
        pytest.importorskip(package)
    return runpy.run_path(str(DOCS / "conf.py"))


def test_every_public_name_has_a_page_under_its_import_path(conf):
    modules = conf["public_modules"]()
    pages = {f"{module.__name__}.{name}" for module in modules for name in conf["names_of"](module)}
    known = conf["aliases"]()
    for module in modules:
        for name in {*module.__all__} - {"__version__"}:
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            assert path in pages or known.get(path) in pages, path
            # One page for each, but for plain values that two names share.
            assert path == known.get(path, path) or callable(value), path
    assert "compvae_pyg.CompVAE" in pages and "compvae_pyg.models.CompVAE" not in pages
    assert "compvae_pyg.problems.dots.COLORS" in pages
    assert known["compvae_pyg.models.CompVAE"] == "compvae_pyg.CompVAE"


def test_every_public_name_has_an_example(conf):
    without = [
        f"{module.__name__}.{name}"
        for module in conf["public_modules"]()
        for name in conf["names_of"](module)
        if isinstance(value := getattr(module, name), type | FunctionType)
        and ">>> " not in (value.__doc__ or "")
    ]
    assert not without


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "furo", "myst_nb", "sphinx_copybutton", "sphinxcontrib.katex"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    result = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    pages = tmp_path / "html" / "generated" / "api"
    api = (pages / "compvae_pyg.CompVAE.html").read_text(encoding="utf-8")
    assert 'id="compvae_pyg.CompVAE.elbo"' in api
    api = (pages / "compvae_pyg.GraphBlock.html").read_text(encoding="utf-8")
    # What a section of a docstring says is set, not left as it was typed.
    assert "Shapes" in api and not re.search(r"\*\* ?(?:input|output)|:math:|`", api)
    # A page is whole without a network: what it loads lies beside it.
    for page in (tmp_path / "html").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:script|img)[^>]+src="https?:|<link[^>]+stylesheet"[^>]+"https?:', text
        )
    assert "<img" in (tmp_path / "html" / "notebooks" / "compose-dots.html").read_text("utf-8")
