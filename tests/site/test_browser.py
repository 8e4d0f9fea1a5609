"""The documentation site in a real browser: what is found, read, copied and downloaded there."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("selenium")

from browser import needs_browser, open_browser, until
from selenium.webdriver import ActionChains

import compvae_pyg

pytestmark = needs_browser

ROOT = Path(__file__).parents[2]
CAPTIONS = ["Start", "Tutorials", "How-tos", "Explanation", "Reference", "Results"]
# Contrast of a colour to another, as the guidelines for accessible pages define it; the first
# background that is not transparent counts.
CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = text => {
  const [r, g, b] = parse(text).map(v => {
    v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
let at = arguments[0];
const own = light(getComputedStyle(at).color);
let back = "rgb(255, 255, 255)";
for (; at; at = at.parentElement) {
  const found = getComputedStyle(at).backgroundColor;
  if ((parse(found)[3] ?? 1) > 0) { back = found; break; }
}
const pair = [own, light(back)].sort((a, b) => b - a);
return (pair[0] + 0.05) / (pair[1] + 0.05);
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of requests."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site without its notebooks' results, which take minutes: its folder and address."""
    for package in ("sphinx", "furo", "myst_nb", "sphinx_copybutton", "sphinxcontrib.katex"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-D", "nb_execution_mode=off"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [*command, "-d", folder / "doctrees", ROOT / "docs", folder / "html"],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    serve = functools.partial(Quiet, directory=str(folder / "html"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder / "html", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def wide(site):
    page = open_browser(1280)
    yield page
    page.quit()


@pytest.fixture(scope="module")
def narrow(site):
    page = open_browser(390)
    yield page
    page.quit()


def all_of(page, css):
    return page.find_elements("css selector", css)


def errors(page):
    """Return what a page complained of, but for the icon that it has not."""
    severe = [each["message"] for each in page.get_log("browser") if each["level"] == "SEVERE"]
    return [message for message in severe if "/favicon.ico" not in message]


def test_the_sidebar_leads_from_the_start_to_results(site, wide):
    _, address = site
    wide.get(f"{address}/index.html")
    captions = all_of(wide, ".sidebar-tree .caption-text")
    assert [each.get_attribute("textContent") for each in captions] == CAPTIONS
    shown = [each for each in all_of(wide, ".sidebar-tree a") if each.is_displayed()]
    # What people come for is first.
    assert [each.text for each in shown[:2]] == [
        "In your own graph neural network",
        "Train on your own data",
    ]
    links = [each.get_attribute("href") for each in all_of(wide, ".sidebar-tree a")]
    assert f"{address}/results.html" in links
    assert not [link for link in links if "/results/" in link]
    assert errors(wide) == []


def test_code_is_copied_without_its_prompts(site, wide):
    _, address = site
    wide.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": address},
    )
    read = "navigator.clipboard.readText().then(arguments[0], arguments[0])"

    def copied(name):
        wide.get(f"{address}/{name}")
        button = until(lambda: next(iter(all_of(wide, "div.highlight button.copybtn")), None))
        assert len(all_of(wide, "button.copybtn")) == len(all_of(wide, "div.highlight > pre"))
        # A page may write to the clipboard where somebody has clicked.
        ActionChains(wide).move_to_element(button).click().perform()
        until(lambda: "success" in button.get_attribute("class"), "nothing was copied")
        return wide.execute_async_script(read)

    assert copied("start/quickstart.html").strip() == "pip install '.[all]'"
    code = copied("generated/api/compvae_pyg.GraphBlock.html")
    assert code.startswith("block = GraphBlock(16, 32)\n") and ">>>" not in code
    assert "torch.Size" not in code  # what it prints


def test_names_and_words_are_found(site, wide):
    _, address = site
    for words, page in (("GraphBlock", "compvae_pyg.GraphBlock.html"), ("collapse", "trouble")):
        wide.get(f"{address}/index.html")
        field = until(lambda: next(iter(all_of(wide, "input[name=q]")), None))
        field.send_keys(words, "\n")
        until(
            lambda page=page: any(
                page in (link.get_attribute("href") or "")
                for link in all_of(wide, "#search-results li a")
            ),
            f"{words} is not found",
        )
    assert errors(wide) == []


def test_figures_and_formulas_are_legible_in_dark_mode(site, wide):
    _, address = site
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    wide.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        for name in ("start/concepts.html", "gallery.html", "performance.html"):
            wide.get(f"{address}/{name}")
            back = wide.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert back != "rgb(255, 255, 255)"
            figures = all_of(wide, "article img")
            assert figures, name
            # Drawn on white, they stay on white.
            for figure in figures:
                assert figure.value_of_css_property("background-color").startswith(
                    "rgba(255, 255, 255, 1"
                )
                assert figure.get_property("naturalWidth") > 0
            for element in all_of(wide, "article p, article td, article math")[:60]:
                assert wide.execute_script(CONTRAST, element) > 4.5, (name, element.text)
    finally:
        wide.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_formulas_are_drawn_and_not_typed(site, wide):
    _, address = site
    for name in (
        "start/concepts.html",
        "generated/api/compvae_pyg.CompVAE.html",
        "generated/api/compvae_pyg.distributions.code_distance.html",
    ):
        wide.get(f"{address}/{name}")
        formulas = all_of(wide, "article math")
        assert formulas, name
        for formula in formulas:
            box = formula.rect
            assert box["width"] > 3 and box["height"] > 3, name
        text = wide.find_element("css selector", "article").text
        assert not any(left in text for left in ("\\frac", "\\mathrm", "\\sum", "$$", ":math:"))
    # The letters come with the site, where the system has no maths font.
    faces = "return [...document.fonts].filter(f => f.family.includes('STIX')).map(f => f.status)"
    assert wide.execute_script(faces)
    assert errors(wide) == []


def test_no_page_is_wider_than_a_phone(site, narrow):
    folder, address = site
    pages = [path.relative_to(folder).as_posix() for path in folder.rglob("*.html")]
    api = sorted(page for page in pages if page.startswith(("generated/api", "_modules")))
    pages = sorted(set(pages) - set(api)) + api[::6]
    assert len(pages) > 50
    wider = {}
    for page in pages:
        narrow.get(f"{address}/{page}")
        root = "document.documentElement"
        sides = narrow.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth]")
        if sides[0] > sides[1]:
            wider[page] = sides
    assert not wider


def test_notebooks_can_be_downloaded(site, wide):
    _, address = site
    wide.get(f"{address}/examples.html")
    links = [each.get_attribute("href") for each in all_of(wide, "a.download")]
    assert sorted(link.rpartition("/")[2] for link in links) == [
        path.name for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    ]
    for link in links:
        assert json.loads(urlopen(link).read())["nbformat"] == 4


def test_public_names_have_pages_under_their_import_path(site, wide):
    _, address = site
    wide.get(f"{address}/generated/api/module-compvae_pyg.html")
    listed = [each.get_attribute("href") for each in all_of(wide, "article table a")]
    names = sorted({*compvae_pyg.__all__} - {"__version__"}, key=str.lower)
    pages = [f"{address}/generated/api/compvae_pyg.{name}.html" for name in names]
    assert listed == pages
    for name, page in zip(names[:3], pages[:3], strict=True):
        wide.get(page)
        assert all_of(wide, "h1")[0].text.startswith(name)
        assert all_of(wide, f"[id='compvae_pyg.{name}']")
        assert "Raises" in wide.find_element("css selector", "article").get_property("textContent")
