"""Settings of the documentation site; `make docs` builds it."""

import importlib
import pkgutil
import re
import shutil
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
    "sphinx_copybutton",
    "sphinxcontrib.katex",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["formulas.css"]
# Of examples in docstrings, the code alone is copied.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
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
MODULES = ["compvae_pyg"] + [
    f"compvae_pyg.{name}"
    for name in (
        *("nn", "distributions", "models", "networks", "problems", "training", "data"),
        *("evaluation", "reports", "plots", "simulation", "demo.app"),
    )
]


ALIASES: dict[str, str] = {}


def public_modules() -> list[ModuleType]:
    """Return the modules of the package that users import from, those of each problem included."""
    names = [*MODULES]
    problems = importlib.import_module("compvae_pyg.problems")
    for found in pkgutil.iter_modules(problems.__path__, "compvae_pyg.problems."):
        if found.ispkg:
            names += [found.name, f"{found.name}.figures"]
    return [importlib.import_module(name) for name in names]


def names_of(module: ModuleType) -> list[str]:
    """Return the public names of a module that have their page under its path.

    A name of the package itself has it there, and what is a problem's own under the problem.
    """
    others = set(compvae_pyg.__all__) if module is not compvae_pyg else {"__version__"}
    if module.__name__ == "compvae_pyg.problems":
        own = (each for each in public_modules() if each.__name__.count(".") == 2)
        others |= {name for each in own for name in each.__all__}
    return [name for name in module.__all__ if name not in others]


def page_of(path: str) -> str:
    """Return the directive of a name's page."""
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, type):
        return f".. autoclass:: {path}\n   :members:\n   :show-inheritance:\n"
    if isinstance(value, FunctionType):
        return f".. autofunction:: {path}\n"
    # Constants and aliases have no docstrings.
    return f".. py:data:: {path}\n   :value: {value!r}\n"


def write_api_pages() -> None:
    """Write a page for each public name, under its import path, and one for each module."""
    folder = GENERATED / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.md"):
        page.unlink()
    for module in public_modules():
        path, lines, tree = module.__name__, [], []
        for name in sorted(names_of(module), key=str.lower):
            full = f"{path}.{name}"
            text = f"# {name}\n\n```{{eval-rst}}\n{page_of(full)}```\n"
            (folder / f"{full}.md").write_text(text, encoding="utf-8")
            doc = getattr(getattr(module, name), "__doc__", None) or ""
            first = doc.strip().partition("\n")[0] if callable(getattr(module, name)) else ""
            first = re.sub(r":\w+:`~?([^`<]*)(?:<[^>]*>)?`", r"`\1`", first).replace("``", "`")
            lines.append(f"| [`{name}`]({full}.md) | {first} |")
            tree.append(full)
        head = (module.__doc__ or "").strip().partition("\n")[0]
        listing = "\n".join(["| | |", "|:--|:--|", *lines])
        toc = "\n".join(["```{toctree}", ":hidden:", "", *tree, "```"])
        text = f"# {path}\n\n{head}\n\n{listing}\n\n{toc}\n"
        (folder / f"module-{path}.md").write_text(text, encoding="utf-8")


def aliases() -> dict[str, str]:
    """Return where each public name has its page, by all paths that it may be named under."""
    out = {}
    for module in public_modules():
        for name in names_of(module):
            value, path = getattr(module, name), f"{module.__name__}.{name}"
            for other in public_modules():
                if getattr(other, name, None) is value:
                    out[f"{other.__name__}.{name}"] = path
            out[f"{getattr(value, '__module__', module.__name__)}.{name}"] = path
    return out


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
    domain, target = env.get_domain("py"), node["reftarget"]
    owner, found = target, []
    while owner and not found:  # of a method, the class is what may have another path
        path = ALIASES.get(owner, "") + target.removeprefix(owner)
        found = [(n, e) for n, e in domain.objects.items() if n == path]
        owner = owner.rpartition(".")[0]
    if not found:
        end = "." + target.removeprefix("compvae_pyg.")
        entries = domain.objects.items()
        found = [(name, entry) for name, entry in entries if name.endswith(end)]
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


def leave_out_results(app, doctree) -> None:
    """Let folders of results stay out of the sidebar; the page of results lists them."""
    if app.env.docname.startswith("results/"):
        app.env.metadata[app.env.docname]["orphan"] = ""


def copy_fonts(app, error) -> None:
    """Bring a font with all letters of formulas along, which many systems have none with."""
    import matplotlib

    if error is None and app.builder.format == "html":
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        for name in ("STIXGeneral.ttf", "STIXGeneralItalic.ttf"):
            shutil.copy(fonts / name, Path(app.outdir) / "_static" / name)


def setup(app) -> None:
    """Connect the above with the build."""
    write_api_pages()
    ALIASES.update(aliases())
    write_readme_page()
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("source-read", fit_links)
    app.connect("build-finished", copy_fonts)
    app.connect("doctree-read", align_rows)
    app.connect("doctree-read", leave_out_results)
    app.connect("missing-reference", find_by_short_name)
