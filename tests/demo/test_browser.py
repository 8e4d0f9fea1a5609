"""The demo in a real browser, the system's own, without a window."""

import shutil
import time
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio")
webdriver = pytest.importorskip("selenium.webdriver")
BROWSER = next(
    filter(None, map(shutil.which, ("google-chrome", "chromium", "chromium-browser"))), None
)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chrome or Chromium, and chromedriver"
)

PATIENCE = 60.0  # seconds


@pytest.fixture(scope="module")
def address():
    from compvae_pyg.demo.app import build_app

    app = build_app()
    _, local, _ = app.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield local
    app.close()


@pytest.fixture
def page(address):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is named, so that Selenium looks for none and downloads none.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(address)
    yield driver
    driver.quit()


def element(page, css):
    return until(lambda: next(iter(page.find_elements("css selector", css)), None))


def picture(page, name):
    return element(page, f"#{name} img").get_attribute("src")


def until(found, message="nothing came"):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError(message)


def choose(page, group, text):
    labels = element(page, f"#{group}").find_elements("css selector", "label")
    next(label for label in labels if label.text.strip() == text).click()


def enter(page, slider, number):
    """Type a number into the field beside a slider."""
    field = element(page, f"#{slider} input[type=number]")
    keys = webdriver.Keys
    field.send_keys(keys.CONTROL, "a")
    field.send_keys(number, keys.TAB)


def offset(image, share):
    """Turn shares of a picture's width and height into pixels from its middle."""
    sides = (image.size["width"], image.size["height"])
    return [int((part - 0.5) * side) for part, side in zip(share, sides, strict=True)]


def click_at(page, name, *share):
    image = element(page, f"#{name} img")
    action = webdriver.ActionChains(page)
    action.move_to_element_with_offset(image, *offset(image, share)).click().perform()


def drag(page, name, start, end):
    image = element(page, f"#{name} img")
    action = webdriver.ActionChains(page)
    action.move_to_element_with_offset(image, *offset(image, start)).click_and_hold()
    action.move_to_element_with_offset(image, *offset(image, end)).release().perform()


def changed(page, name, before):
    return until(lambda: (now := picture(page, name)) != before and now, f"{name} stayed as it was")


def own_errors(page, address):
    """Return what the page complained of; files of other hosts are not its own."""
    return [
        entry["message"]
        for entry in page.get_log("browser")
        if entry["level"] == "SEVERE"
        and ("http" not in entry["message"] or address in entry["message"])
    ]


def test_sites_come_change_and_go(page, address):
    model, truth = picture(page, "model-image"), picture(page, "true-image")
    choose(page, "tool", "add")
    click_at(page, "model-image", 0.85, 0.85)
    added = changed(page, "model-image", model)
    changed(page, "true-image", truth)

    choose(page, "color", "black")
    choose(page, "tool", "recolour")
    click_at(page, "true-image", 0.85, 0.85)
    recolored = changed(page, "model-image", added)

    choose(page, "tool", "move")
    drag(page, "model-image", (0.85, 0.85), (0.15, 0.85))
    moved = changed(page, "model-image", recolored)

    choose(page, "tool", "delete")
    click_at(page, "model-image", 0.15, 0.85)
    # The first three sites are as they were, and so is the image, to the bit.
    deleted = changed(page, "model-image", moved)
    first, last = (urlopen(source).read() for source in (model, deleted))
    assert first == last

    page.find_element("css selector", "#new-z").click()
    redrawn = changed(page, "model-image", deleted)
    truth = picture(page, "true-image")
    enter(page, "noise", "0")
    changed(page, "model-image", redrawn)
    changed(page, "true-image", truth)
    assert own_errors(page, address) == []


def test_frequencies_make_another_curve(page, address):
    picture(page, "model-image")  # the page is there
    tabs = page.find_elements("css selector", "button[role=tab]")
    next(tab for tab in tabs if tab.text == "Sines").click()

    def curves():
        return element(page, "#curves svg, #curves canvas").screenshot_as_base64

    until(lambda: page.find_elements("css selector", "#curves svg path, #curves canvas"))
    time.sleep(1.0)  # the plot draws itself
    before = curves()
    element(page, "#present-8 input").click()
    until(lambda: curves() != before, "the curves stayed as they were")
    time.sleep(1.0)
    before = curves()
    enter(page, "count-8", "5")
    until(lambda: curves() != before, "the curves do not grow with the amount")
    assert own_errors(page, address) == []
