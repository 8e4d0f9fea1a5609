"""The demo in a real browser, the system's own, without a window."""

import re
import time
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio")
pytest.importorskip("selenium")

from browser import needs_browser, open_browser, until
from selenium import webdriver
from selenium.webdriver.common.actions.pointer_input import PointerInput

from compvae_pyg.problems.dots.demo import TOOLS

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address():
    from compvae_pyg.demo.app import build_app

    app = build_app()
    _, local, _ = app.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield local
    app.close()


@pytest.fixture(params=[1280, 390], ids=["1280 px", "390 px"])
def page(address, request):
    driver = open_browser(request.param)
    driver.get(address)
    yield driver
    driver.quit()


def element(page, css):
    return until(lambda: next(iter(page.find_elements("css selector", css)), None))


def picture(page, name):
    return element(page, f"#{name} img").get_attribute("src")


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


def pointer(page, name, start, end, kind="mouse"):
    """Press at a place of a picture, and let go at another."""
    image = element(page, f"#{name} img")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", image)
    device = PointerInput(kind, kind)
    action = webdriver.ActionChains(page, devices=[device])
    input_ = action.w3c_actions.pointer_action
    x, y = offset(image, start)
    input_.move_to(image, x, y).pointer_down()
    if start != end:
        for share in (0.5, 1.0):
            place = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
            input_.move_to(image, *offset(image, place))
    input_.pointer_up()
    action.w3c_actions.perform()


def click_at(page, name, *share):
    pointer(page, name, share, share)


def drag(page, name, start, end, kind="mouse"):
    pointer(page, name, start, end, kind)


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

    # A drag moves a site whatever the tool, with a mouse and with a finger.
    ends, touched = [(0.85, 0.85), (0.15, 0.85)], recolored
    for tool in TOOLS:
        choose(page, "tool", tool)
        for name, kind in (("model-image", "mouse"), ("true-image", "touch")):
            drag(page, name, *ends, kind=kind)
            touched = changed(page, "model-image", touched)
            ends.reverse()
    drag(page, "model-image", *ends)
    touched = changed(page, "model-image", touched)

    # A click beside all sites deletes none.
    choose(page, "tool", "delete")
    click_at(page, "model-image", 0.97, 0.97)
    time.sleep(2.0)
    assert picture(page, "model-image") == touched
    click_at(page, "model-image", 0.15, 0.85)
    # The first three sites are as they were, and so is the image, to the bit.
    deleted = changed(page, "model-image", touched)
    first, last = (urlopen(source).read() for source in (model, deleted))
    assert first == last

    strip = picture(page, "samples")
    page.find_element("css selector", "#new-z button, button#new-z").click()
    redrawn = changed(page, "model-image", deleted)
    changed(page, "samples", strip)
    truth = picture(page, "true-image")
    enter(page, "noise", "0")
    changed(page, "model-image", redrawn)
    changed(page, "true-image", truth)
    assert own_errors(page, address) == []


def test_sites_are_moved_by_keyboard_and_an_empty_scene_is_empty(page, address):
    before = picture(page, "model-image")
    site = element(page, "#site input")
    assert "red" in until(lambda: site.get_attribute("value"))
    slider = element(page, "#x input[type=range]")
    slider.send_keys(webdriver.Keys.ARROW_RIGHT)
    changed(page, "model-image", before)
    until(lambda: "(-0.45, " in (element(page, "#site input").get_attribute("value") or ""))

    page.find_element("css selector", "#clear button, button#clear").click()
    until(lambda: "no sites" in (element(page, "#model-image img").get_attribute("alt") or ""))
    images = [urlopen(picture(page, name)).read() for name in ("model-image", "true-image")]
    assert images[0] == images[1]
    assert own_errors(page, address) == []


def test_all_have_names_and_nothing_is_wider_than_the_page(page, address):
    picture(page, "model-image")
    for tab, pictures, said in (
        ("Dots", ("model-image", "true-image", "samples"), "1: red at (-0.50, -0.40)"),
        ("Sines", ("curves", "draws"), "1 of frequency 2"),
        ("Households", ("street-day", "street-peak"), "with a heat pump"),
    ):
        open_tab(page, tab)
        for name in pictures:
            until(lambda name=name, said=said: said in told(page, name), f"{name} has no text")
        shown = page.find_elements("css selector", "[role=tabpanel] img")
        assert all(image.get_attribute("alt") for image in shown if image.is_displayed())
        assert all(
            plot.find_elements("xpath", "ancestor-or-self::*[@role='img'][@aria-label]")
            for plot in page.find_elements("css selector", "[role=tabpanel] .vega-embed")
            if plot.is_displayed()
        )
        width = page.execute_script("return document.documentElement.clientWidth")
        assert page.execute_script("return document.documentElement.scrollWidth") <= width, tab
    # What is selected is read to its end, and curves come before the waves that they are made of.
    open_tab(page, "Dots")
    cut = "return arguments[0].scrollWidth > arguments[0].clientWidth"
    assert not page.execute_script(cut, element(page, "#site input"))
    open_tab(page, "Sines")
    tops = [element(page, name).rect["y"] for name in ("#curves", "#present-0")]
    assert tops[0] <= tops[1]
    sliders = page.find_elements("css selector", "input[type=range]")
    labels = [slider.get_attribute("aria-label") for slider in sliders]
    assert len(labels) == 25 and len(set(labels)) == 25 and all(labels), labels


def told(page, name):
    """Return the text of a picture or of a plot, for those who do not see it."""
    plot = element(page, f"#{name}")
    images = plot.find_elements("css selector", "img")
    text = images[0].get_attribute("alt") if images else plot.get_attribute("aria-label")
    return text or ""


def is_flat(page, name):
    """Tell whether all lines of a plot are at one height."""
    paths = page.find_elements("css selector", f"#{name} .mark-line path")
    drawn = " ".join(path.get_attribute("d") for path in paths)
    return len(set(re.findall(r"[-\d.e]+,([-\d.e]+)", drawn))) == 1


def test_a_street_follows_its_homes_and_its_weather(page, address):
    picture(page, "model-image")
    open_tab(page, "Households")

    def said(text):
        until(lambda: text in told(page, "street-day"), f"the street has not {text}")
        return float(re.search(r"peak of ([\d.]+) kW", told(page, "street-day"))[1])

    def plots():
        return [
            element(page, f"#{name} canvas, #{name} svg").screenshot_as_base64
            for name in ("street-day", "street-peak")
        ]

    cold = said("300 homes, 80 with a heat pump")
    time.sleep(1.0)  # the plots draw themselves
    before = plots()
    enter(page, "homes-1", "165")
    assert said("400 homes, 80 with") > cold
    until(lambda: all(a != b for a, b in zip(before, plots(), strict=True)), "plots stay")
    enter(page, "homes-3-pump", "65")
    colder = said("450 homes, 130 with")

    # On a warm day there is more light, and less to heat.
    def daylight():
        return float(element(page, "#daylight input[type=number]").get_attribute("value") or 0)

    assert daylight() < 80.0
    enter(page, "temperature", "12")
    until(lambda: daylight() > 100.0, "the daylight does not follow")
    until(lambda: said("450 homes") < 0.8 * colder, "the peak does not follow the weather")
    # By keyboard, and for a day that no training has seen.
    text = told(page, "street-day")
    element(page, "#temperature input[type=range]").send_keys(webdriver.Keys.ARROW_LEFT)
    until(lambda: told(page, "street-day") != text, "the slider does not move by keyboard")
    enter(page, "temperature", "24")
    until(lambda: daylight() > 200.0)
    time.sleep(2.0)  # what each key of the number asked for has been answered
    enter(page, "daylight", "15")
    until(lambda: "a guess" in element(page, "#street-said").text, "no word of a strange day")
    text = told(page, "street-day")
    element(page, "#weekend input").click()
    until(lambda: told(page, "street-day") != text, "the weekend changes nothing")

    for residents in range(1, 6):
        for pump in ("", "-pump"):
            enter(page, f"homes-{residents}{pump}", "0")
    until(lambda: "no homes" in told(page, "street-peak"), "the street is not empty")
    for name in ("street-day", "street-peak"):
        until(lambda name=name: is_flat(page, name), f"{name} shows a load without homes")
    assert own_errors(page, address) == []


def test_frequencies_make_another_curve(page, address):
    picture(page, "model-image")  # the page is there
    open_tab(page, "Sines")

    def curves():
        return element(page, "#curves svg, #curves canvas").screenshot_as_base64

    until(lambda: page.find_elements("css selector", "#curves svg path, #curves canvas"))
    until(lambda: "frequency 2" in told(page, "curves"))
    until(lambda: page.find_elements("css selector", "#curves .mark-line path"))
    assert not is_flat(page, "curves")
    time.sleep(1.0)  # the plot draws itself
    before = curves()
    element(page, "#present-8 input").click()
    until(lambda: curves() != before, "the curves stayed as they were")
    time.sleep(1.0)
    before = curves()
    enter(page, "count-8", "5")
    until(lambda: curves() != before, "the curves do not grow with the count")
    # To say how many there are of a frequency is to say that there are some.
    assert not element(page, "#present-0 input").is_selected()
    enter(page, "count-0", "3")
    until(lambda: element(page, "#present-0 input").is_selected(), "a count checks no box")
    # Without any, the curves are flat.
    for category in (0, 1, 4, 8):
        element(page, f"#present-{category} input").click()
    until(lambda: "no waves" in told(page, "curves"))
    for name in ("curves", "draws"):
        until(lambda name=name: is_flat(page, name), f"{name} are not flat without waves")
    names = [
        " ".join(each.text for each in page.find_elements("css selector", f"#count-{n} label"))
        for n in range(10)
    ]
    assert all(f"frequency {n + 1}" in name for n, name in enumerate(names)), names
    assert own_errors(page, address) == []


def open_tab(page, name):
    """Open a tab, which a narrow page may have behind a menu."""
    tabs = page.find_elements("css selector", "button[role=tab]")
    next(tab for tab in tabs if tab.get_attribute("textContent").strip() == name).click()
