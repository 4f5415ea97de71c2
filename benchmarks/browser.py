"""A headless Chromium that loads a page and tells what it asked for, what it complained of and how long it took."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

READY = """
const done = arguments[arguments.length - 1];
const measure = () => requestAnimationFrame(() => requestAnimationFrame(() => {
  const load = performance.getEntriesByType("navigation")[0].loadEventEnd;
  const paint = Math.max(0, ...performance.getEntriesByType("paint").map((entry) => entry.startTime));
  done(Math.max(load, paint));
}));
document.readyState === "complete" ? measure() : addEventListener("load", measure);
"""


def missing_browser() -> str:
    """Why there is no browser to test in, or an empty string if there is one."""
    if find_spec("selenium") is None:
        return "selenium is not installed (pip install -e '.[dev]')"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install chromium chromium-driver)"
    return ""


@contextmanager
def open_browser(width: int = 1280, height: int = 1000) -> Iterator[Chrome]:
    """A headless browser that logs its requests and its console."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def requests_of(browser: Chrome, page: Path) -> list[str]:
    """Addresses the page asked for since the last call, besides itself and data it carries."""
    address = page.resolve().as_uri()
    asked = []
    for entry in browser.get_log("performance"):
        message: dict[str, Any] = json.loads(entry["message"])["message"]
        if message["method"] != "Network.requestWillBeSent":
            continue
        url = message["params"]["request"]["url"]
        # Chromium asks chrome:// addresses of its own on start; only what our document asks for counts.
        ours = message["params"].get("documentURL", "").startswith(address)
        if ours and not url.startswith((address, "data:", "blob:")):
            asked.append(url)
    return asked


def console_errors(browser: Chrome) -> list[str]:
    """Messages of level SEVERE since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def ready_ms(browser: Chrome, page: Path, loads: int = 5) -> float:
    """Median time from navigation to loaded and painted, after one load that is not counted."""
    times = []
    for _ in range(loads + 1):
        browser.get(page.resolve().as_uri())
        times.append(float(browser.execute_async_script(READY)))
    return statistics.median(times[1:])
