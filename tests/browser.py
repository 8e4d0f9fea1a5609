"""The system's own browser, without a window, for the tests of what is shown in one."""

import shutil
import time

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException

BROWSER = next(
    filter(None, map(shutil.which, ("google-chrome", "chromium", "chromium-browser"))), None
)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chrome or Chromium, and chromedriver"
)

PATIENCE = 180.0  # seconds


def open_browser(width):
    """Open a browser whose pages have a width in pixels; that of a phone is touched."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"):
        options.add_argument(argument)
    if width < 500:  # windows have a least width; a phone's has none
        metrics = {"width": width, "height": 844, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is named, so that Selenium looks for none and downloads none.
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def until(found, message="nothing came"):
    """Return what comes, once it does."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            result = found()
        except StaleElementReferenceException:  # the page has just drawn it anew
            result = None
        if result:
            return result
        time.sleep(0.1)
    raise AssertionError(message)
