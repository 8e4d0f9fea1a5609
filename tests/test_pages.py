"""What pages and notebooks show: code that runs, shapes as stated, links that lead somewhere."""

import ast
import json
import re
import tokenize
from io import StringIO
from pathlib import Path

import pytest

from compvae_pyg import CompVAE

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(page.parts)
    ),
]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(page, language):
    """Return the code blocks of a page, or the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        return ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


WITH_CODE = [page for page in (*PAGES, *NOTEBOOKS) if blocks(page, "python")]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def run(code, names, name):
    """Run a block. A comment that ends in a shape, as in ``x.sum(0)  # [3]``, has to be true."""
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(StringIO(code).readline)
        if token.type == tokenize.COMMENT
    }
    for statement in ast.parse(code).body:
        told = re.search(r"\[(\d+(?:, \d+)*)\]$", comments.get(statement.end_lineno, ""))
        if told and isinstance(statement, ast.Expr):  # its value is to be had
            target = ast.Name("_", ast.Store(), lineno=1, col_offset=0)
            statement = ast.copy_location(ast.Assign([target], statement.value), statement)
        exec(compile(ast.Module([statement], []), name, "exec"), names)
        if told and isinstance(statement, ast.Assign):
            value = names[ast.unparse(statement.targets[0])]
            shape = [int(size) for size in told[1].split(", ")]
            line = ast.unparse(statement.value)
            actual = list(getattr(value, "shape", value))  # of a tensor, or a shape itself
            assert actual == shape, f"{name}: {line} has shape {actual}"


# Trainings and simulations that a page shows whole and that are cut short here.
SHORTER = {
    "docs/your-own-problem.md": (
        ("= 10_800,", "= 8,"),
        ("staged(4_000,", "staged(20,"),
        ("num_wholes=100, num_classified=200", "num_wholes=3, num_samples=2, num_classified=6"),
        ('"num_steps": 3_000', '"num_steps": 20'),
    ),
    "docs/notebooks/street-peaks.ipynb": (("NUMBER = 2_000", "NUMBER = 200"), ("=500,", "=100,")),
    "docs/your-own-data.md": ((', group="day"), 4_000', ', group="day"), 26'),),
}
NEEDED = {
    "docs/your-own-problem.md": ("sklearn", "lightning", "matplotlib"),
    "docs/your-own-data.md": ("lightning", "pyarrow"),
}


def run_page(page):
    """Run the blocks of a page one after the other, and return the names that they leave."""
    for package in ("safetensors", *NEEDED.get(name_of(page), ())):
        pytest.importorskip(package)
    names, shorter = {}, SHORTER.get(name_of(page), ())
    for long, _ in shorter:
        assert long in page.read_text(encoding="utf-8")
    for code in blocks(page, "python"):
        for long, short in shorter:
            code = code.replace(long, short)
        run(code, names, name_of(page))
    return names


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = run_page(page)
    if page.name == "your-own-problem.md":
        own = blocks(page, "python")[1]
        # What the page promises, without empty lines.
        assert len([line for line in own.split("\n") if line.strip()]) <= 40
        assert (tmp_path / "outputs" / "own" / "drawn.png").is_file()
        assert names["loaded"].config["options"] == {"z": 4}
    if page.name == "your-own-data.md":
        # From Parquet to a trained, validated and saved model.
        own = blocks(page, "python")[1]
        assert len([line for line in own.split("\n") if line.strip()]) <= 15
        (figures,) = (tmp_path / "outputs" / "homes").rglob("version_0/metrics.csv")
        assert {"train/elbo", "val/elbo"} <= set(figures.read_text().splitlines()[0].split(","))
        assert CompVAE.from_pretrained("outputs/homes/model").event_shape == (24,)


def test_what_the_page_on_data_says_is_tested_is_there():
    tests = (ROOT / "tests" / "training" / "test_lightning.py").read_text(encoding="utf-8")
    stored = (ROOT / "tests" / "data" / "test_stored.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`([^|]*) \|", page)
    assert len(named) > 20
    for name, mark in named:
        assert f"def {name}(" in (stored if mark == " *" else tests)


def test_a_wrong_shape_or_a_failing_block_would_be_seen():
    names = {}
    run("import torch\nx = torch.zeros(2, 3)  # zeros, [2, 3]", names, "page")
    with pytest.raises(AssertionError, match=r"has shape \[2, 3\]"):
        run("x + 1  # [3, 2]", names, "page")
    with pytest.raises(NameError):
        run("y", names, "page")


def test_the_pages_that_teach_have_code():
    assert {"README.md", "docs/compositions.md", "docs/start/quickstart.md"} <= {
        name_of(page) for page in WITH_CODE
    }


def test_the_first_screen_of_the_readme_has_what_it_is_a_program_a_figure_and_two_commands():
    screen = (ROOT / "README.md").read_text(encoding="utf-8").split("\n")[:60]
    assert max(map(len, screen)) <= 120
    text = "\n".join(screen)
    for part in ("```python", "![", "× 1.8", "make dots", "make test"):
        assert part in text


def test_what_the_page_on_compositions_says_of_compositions():
    page = ROOT / "docs" / "compositions.md"
    names = run_page(page)
    assert repr(names["seen"]) in page.read_text(encoding="utf-8")
    assert (names["back"].w == names["first"].w).all()
    assert (names["w"].grad != 0).any()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_name_what_there_is(page):
    for command in "\n".join(blocks(page, "bash")).splitlines():
        for target in re.findall(r"^make ([a-z]+)", command):
            assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), command
        for program in re.findall(r"python ((?:examples|benchmarks|docs)/\S+)", command):
            assert (ROOT / program).is_file(), command


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebooks_hold_no_results(notebook):
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_local_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
