"""The documentation site and its pictures."""

import ast
import inspect
import re
import runpy
import subprocess
import sys
from functools import cache
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
            path = f"{module.__name__}.{name}"
            assert path in pages or known.get(path) in pages, path
    assert "compvae_pyg.CompVAE" in pages and "compvae_pyg.models.CompVAE" not in pages
    assert "compvae_pyg.problems.dots.COLORS" in pages
    assert known["compvae_pyg.models.CompVAE"] == "compvae_pyg.CompVAE"


@pytest.fixture(scope="module")
def documented(conf):
    """Public functions and classes, by their import path."""
    found = {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in conf["public_modules"]()
        for name in conf["names_of"](module)
    }
    return {path: v for path, v in found.items() if isinstance(v, type | FunctionType)}


def test_every_public_name_has_an_example(documented):
    assert not [path for path, value in documented.items() if ">>> " not in (value.__doc__ or "")]


def raises(node):
    """Whether code raises an error of its own: by a check, or itself."""
    for inner in ast.walk(node):
        called = ast.unparse(inner.func) if isinstance(inner, ast.Call) else ""
        if called.rpartition(".")[2].startswith("check_"):
            return True
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            return True
    return False


@cache
def sources(file):
    """The functions and classes of a file, by name."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def unsaid(value):
    """Yield what raises errors of which no docstring speaks, its own or that of its class."""
    tree = sources(inspect.getsourcefile(inspect.unwrap(value)))[value.__name__]
    if "Raises:" in (ast.get_docstring(tree) or ""):
        return
    for node in tree.body if isinstance(tree, ast.ClassDef) else [tree]:
        own = isinstance(node, ast.FunctionDef) and "Raises:" in (ast.get_docstring(node) or "")
        if not own and raises(node):
            yield getattr(node, "name", tree.name)


def test_docstrings_say_what_is_raised(documented):
    assert not {path: found for path, v in documented.items() if (found := [*unsaid(v)])}
    assert [*unsaid(documented["compvae_pyg.PackedParts"])] == []
    assert [*unsaid(raising)] == ["raising"]


def raising(size):
    """Return half of a size."""
    if size < 0:
        raise ValueError(f"size must not be negative (got {size})")
    return size / 2


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
