"""The page in a real browser: offline, quiet, quick, and usable with keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.browser import console_errors, missing_browser, open_browser, requests_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing_browser()), reason=f"no browser: {missing_browser()}"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Chrome, report: Path) -> Path:
    """The report, freshly loaded, with empty logs."""
    path = report / "index.html"
    browser.get(path.resolve().as_uri())
    return path


def wait_for(browser: Chrome, script: str) -> None:
    """Wait up to 10 s until a JavaScript expression holds."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda b: b.execute_script(f"return Boolean({script})"))


def test_it_asks_for_nothing_and_complains_of_nothing_even_when_all_figures_live(browser: Chrome, page: Path) -> None:
    browser.execute_script(
        "document.querySelectorAll('.plot').forEach((p) => p.dispatchEvent(new Event('pointerenter')))"
    )
    wait_for(browser, "[...document.querySelectorAll('.plot')].every((p) => p.dataset.live === 'yes')")
    assert requests_of(browser, page) == []
    assert console_errors(browser) == []


def test_a_live_figure_is_as_large_as_the_still_one(browser: Chrome, page: Path) -> None:
    box = "document.querySelector('#figure-accuracy svg').getBoundingClientRect()"
    size = f"return [{box}.width, {box}.height]"
    still = browser.execute_script(size)
    browser.execute_script("document.querySelector('#figure-accuracy .plot').focus()")
    wait_for(browser, "document.querySelector('#figure-accuracy .plot').dataset.live === 'yes'")
    assert browser.execute_script(size) == pytest.approx(still, abs=4)


def test_arrow_keys_read_the_marks_of_a_figure(browser: Chrome, page: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    plot = browser.find_element(By.CSS_SELECTOR, "#figure-accuracy .plot")
    browser.execute_script("arguments[0].focus()", plot)
    wait_for(browser, "document.querySelector('#figure-accuracy .plot').dataset.live === 'yes'")
    reading = browser.find_element(By.CSS_SELECTOR, "#figure-accuracy .reading")
    plot.send_keys(Keys.ARROW_RIGHT)
    first = reading.text
    plot.send_keys(Keys.ARROW_RIGHT)
    assert first.startswith("P1V-1-dense-multiscale: ")
    assert reading.text.startswith("P1V-2-dense-noscale: ")


def test_the_table_sorts_filters_and_says_how_many(browser: Chrome, page: Path) -> None:
    from selenium.webdriver.common.by import By

    table = browser.find_element(By.ID, "table-experiments")
    heading = table.find_elements(By.CSS_SELECTOR, "thead th")[1]
    shown = "document.querySelectorAll('#table-experiments tbody tr:not([hidden])')"
    rows = f"return [...{shown}].map((row) => row.cells[1].dataset.value)"
    for direction, reverse in (("ascending", False), ("descending", True)):
        heading.find_element(By.TAG_NAME, "button").click()
        assert heading.get_attribute("aria-sort") == direction
        values = browser.execute_script(rows)
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=reverse)
        assert values[-1] == "", "an experiment that was not run stays last"
    total = len(browser.execute_script(rows))
    table.find_element(By.CSS_SELECTOR, "[data-filter]").send_keys("/P1AV-C[12]/")
    assert len(browser.execute_script(rows)) == 2
    assert table.find_element(By.CLASS_NAME, "count").text == f"2 of {total} rows"
    table.find_element(By.CSS_SELECTOR, "[data-invert]").click()
    assert len(browser.execute_script(rows)) == total - 2


def test_only_differences_show_until_asked(browser: Chrome, page: Path) -> None:
    from selenium.webdriver.common.by import By

    visible = "return document.querySelectorAll('#table-configurations tbody tr:not([hidden])').length"
    few = browser.execute_script(visible)
    browser.find_element(By.CSS_SELECTOR, "#table-configurations [data-hide]").click()
    assert 5 <= few < 20 < browser.execute_script(visible)


def test_the_picker_shows_one_matrix_and_print_shows_all(browser: Chrome, page: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    figures = "[...document.querySelectorAll('.picker figure')]"
    shown = f"return {figures}.filter((figure) => getComputedStyle(figure).display !== 'none').length"
    assert browser.execute_script(shown) == 1
    Select(browser.find_element(By.CSS_SELECTOR, ".picker select")).select_by_visible_text("all of them")
    assert browser.execute_script(shown) == 7
    Select(browser.find_element(By.CSS_SELECTOR, ".picker select")).select_by_index(2)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert browser.execute_script(shown) == 7
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_no_page_is_wider_than_a_telephone(browser: Chrome, page: Path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name_and_takes_focus(browser: Chrome, page: Path) -> None:
    nameless = browser.execute_script(
        """return [...document.querySelectorAll('button, select, input, a, [tabindex="0"]')].filter((e) => {
             const name = e.ariaLabel || e.textContent.trim() || e.closest('label')?.textContent.trim();
             const visible = e.getClientRects().length;
             e.focus({preventScroll: true});
             return !name || (visible && document.activeElement !== e && e.tabIndex < 0);
           }).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
