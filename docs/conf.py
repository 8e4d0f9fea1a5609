"""Settings of the documentation site; `make docs` builds it."""

import importlib
import pkgutil
import re
from pathlib import Path
from types import FunctionType, ModuleType

from docutils import nodes
from sphinx.util.nodes import make_refnode

import compvae_pyg

project = "compvae_pyg"
author = "compvae_pyg contributors"
copyright = author
version = release = compvae_pyg.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.katex",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["formulas.css"]
# Formulas become MathML, which browsers draw by themselves: no fonts, and nothing from elsewhere.
katex_options = 'output: "mathml"'
katex_css_path = "katex-math.css"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
# The site shows what comes out when it is built: notebooks are run, and one that fails, fails it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes"]
# A name of ours that the site does not have is an error. Other libraries' names, private ones in
# signatures, and whatever else a signature holds, are not looked up: the site builds without a
# network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:class", r"(?!compvae_pyg\.).*"),
    (r"py:class", r"compvae_pyg\.\w+\.\w+\.\w+"),
    (r"py:class", r"compvae_pyg\.runtime\.\w+"),  # types of the functions that it takes
    (r"py:.*", r"(?!compvae_pyg\.)[a-z_]\w*\..*"),
]

HERE = Path(__file__).parent
GENERATED = HERE / "generated"


def public_modules() -> list[ModuleType]:
    """Return the modules of the package with public names, those of each problem included."""
    out = []
    for parent in (compvae_pyg, importlib.import_module("compvae_pyg.problems")):
        for found in pkgutil.iter_modules(parent.__path__, f"{parent.__name__}."):
            if parent is compvae_pyg or found.ispkg:
                out.append(importlib.import_module(found.name))
            if parent is not compvae_pyg and found.ispkg:
                out.append(importlib.import_module(f"{found.name}.figures"))
    return [module for module in out if hasattr(module, "__all__")]


def names_of(module: ModuleType) -> list[str]:
    """Return the public names of a module; what is a problem's own is on its own page."""
    if module.__name__ != "compvae_pyg.problems":
        return list(module.__all__)
    own = {
        name for each in public_modules() if each.__name__.count(".") == 2 for name in each.__all__
    }
    return [name for name in module.__all__ if name not in own]


def write_api_pages() -> None:
    """Write a page for each public module of the package."""
    folder = GENERATED / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.md"):
        page.unlink()
    for module in public_modules():
        name, short = module.__name__, module.__name__.partition(".")[2]
        # Constants and aliases have no docstrings by which their module could list them.
        constants = [
            f".. py:data:: {name}.{each}\n   :value: {getattr(module, each)!r}\n\n"
            for each in names_of(module)
            if not isinstance(getattr(module, each), type | FunctionType)
        ]
        members = ", ".join(names_of(module))
        listing = f".. automodule:: {name}\n   :members: {members}\n   :show-inheritance:\n\n"
        (folder / f"{short}.md").write_text(
            f"# {name}\n\n```{{eval-rst}}\n{listing}{''.join(constants)}```\n",
            encoding="utf-8",
        )


def write_readme_page() -> None:
    """Make a page of the README, whose links are those of the folder above."""
    text = (HERE.parent / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!\w+:|#)", "](../../", text).replace("](../../docs/", "](../")
    text = text.replace("# compvae_pyg", "# README", 1)
    (GENERATED / "readme.md").write_text(text, encoding="utf-8")


def fit_links(app, docname: str, source: list[str]) -> None:
    """Let links to the README lead to its page, and leave out those to what has no page."""
    here = (HERE / docname).parent

    def keep_if_here(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        elsewhere = target.suffix == ".md" and not target.is_relative_to(HERE)
        return link[1] if elsewhere or target.is_dir() else link[0]

    text = re.sub(r"\]\(((?:\.\./)*)\.\./README\.md", r"](\1generated/readme.md", source[0])
    source[0] = re.sub(r"(?<!!)\[([^][]+)\]\((?!\w+:|#)([^)#]+)\)", keep_if_here, text)


def find_by_short_name(app, env, node, contnode):
    """Resolve names as the package exports them, and as they are called within it."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    end = "." + node["reftarget"].removeprefix("compvae_pyg.")
    found = [
        (name, entry)
        for name, entry in domain.objects.items()
        if name.endswith(end) and not entry.aliased
    ]
    if len(found) != 1:
        return None
    name, entry = found[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)


def skip_fields(app, kind, name: str, member, skip: bool, options) -> bool | None:
    """Leave out the fields of named tuples, which the docstring of their class describes."""
    return True if type(member).__name__ == "_tuplegetter" else None


def align_rows(app, doctree) -> None:
    """Put formulas of several rows into the environment that aligns them."""
    for formula in doctree.findall(nodes.math_block):
        text = formula.astext()
        if r"\\" in text and r"\begin" not in text:
            formula[:] = [nodes.Text(rf"\begin{{aligned}}{text}\end{{aligned}}")]


def setup(app) -> None:
    """Connect the above with the build."""
    write_api_pages()
    write_readme_page()
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("source-read", fit_links)
    app.connect("doctree-read", align_rows)
    app.connect("missing-reference", find_by_short_name)
