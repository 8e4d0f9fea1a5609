"""How the package is laid out: which file needs which, and how few a bound passes."""

import ast
import io
import sys
import tokenize
from pathlib import Path

import torch

import compvae_pyg
from compvae_pyg import Dots, Problem

PACKAGE = Path(compvae_pyg.__file__).parent
# Each imports from those to the left of it alone. Figures and demo of a problem lie above all of
# them, and the problem imports them when it is asked for them.
FLOORS = (
    ("nn", "files", "hub_requests", "progress"),
    ("distributions",),
    ("models",),
    ("networks",),
    ("problems", "simulation"),
)


def modules():
    """Source files by the names under which they are imported."""
    out = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def imports(path, known):
    """What a file imports of the package, anywhere in it, for checks of types as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full in known:
                    yield full
                elif node.module in known:
                    yield node.module


def circle(graph):
    """Return modules that need each other, in a circle, if there are any."""
    done = set()

    def visit(module, way):
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return None
        done.add(module)
        found = (visit(needed, [*way, module]) for needed in sorted(graph.get(module, ())))
        return next((loop for loop in found if loop), None)

    return next((loop for loop in (visit(module, []) for module in sorted(graph)) if loop), None)


def of_package(cls):
    return cls.__module__.startswith("compvae_pyg.problems.")


def lies_above(name):
    return name.startswith("compvae_pyg.problems.") and name.endswith((".figures", ".demo"))


def test_no_module_needs_itself_through_others():
    known = modules()
    assert len(known) > 40
    graph = {name: set(imports(path, known)) for name, path in known.items()}
    assert (
        circle({name: {n for n in needed if not lies_above(n)} for name, needed in graph.items()})
        is None
    )
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_imports_run_downwards():
    known = modules()
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    for name, path in known.items():
        folder = name.split(".")[1] if "." in name else ""
        if folder not in floor_of or lies_above(name):
            continue
        for needed in imports(path, known):
            if lies_above(needed):
                assert needed.rpartition(".")[0] == name.rpartition(".")[0], (name, needed)
                continue
            assert needed != "compvae_pyg", f"{name} imports from the package itself"
            upper = needed.split(".")[1]
            assert upper == folder or floor_of.get(upper, 99) < floor_of[folder], (name, needed)


def test_training_evaluation_figures_and_demo_name_no_problem():
    """Examples in docstrings may."""
    names = {cls.__name__ for cls in Problem.__subclasses__() if of_package(cls)}
    assert {"Dots", "Sines", "Digits"} <= names
    for name, path in modules().items():
        if name.split(".")[1:2] in [
            [f] for f in ("data", "demo", "evaluation", "plots", "reports", "training")
        ]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert not used & names, name


CORE = (
    *("nn/packed.py", "nn/graph_block.py", "distributions/sum_controlled_normal.py"),
    *("models/encoder.py", "models/generator.py", "models/compvae.py"),
)


def lines_of_code(path):
    """Lines without docstrings, blank ones and comments."""
    text = path.read_text(encoding="utf-8")
    lines, blank = set(), {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank | {tokenize.DEDENT, tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_the_core_is_read_in_a_thousand_lines():
    """Packed parts, graph block, coupled normal, encoder, generator and CompVAE."""
    assert 500 < sum(lines_of_code(PACKAGE / name) for name in CORE) <= 1000


def test_the_model_is_read_in_a_dozen_files():
    assert len(list((PACKAGE / "models").glob("*.py"))) <= 12


def test_a_bound_passes_ten_files_of_which_two_check():
    dots = Dots()
    model, data = dots.build("small"), dots.sample(torch.tensor([2, 3]))
    parts, passed = dots.parts(data), set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            passed.add(path.relative_to(PACKAGE).as_posix())

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        model.elbo(data.whole, parts, data.batch, 2)
    finally:
        sys.setprofile(before)
    assert len(passed) <= 10, sorted(passed)
    assert len([name for name in passed if "check" in name]) <= 2
