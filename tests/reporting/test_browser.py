"""The page in a real browser: headless Chromium, driven over the network of this machine only."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bombo.reporting.gather import read_ablation, read_run
from bombo.reporting.page import render

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
PACKAGES = ("chromium", "chromium-driver")
Browser = Any


def found_or_installed() -> tuple[str, str]:
    """Chromium and its driver, from the distribution's packages; root on Debian gets them installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    assert webdriver
    if not all(map(shutil.which, ("chromium", "chromedriver"))):
        if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip("there is no Chromium: apt-get install chromium chromium-driver")
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *PACKAGES]):
            try:
                done = subprocess.run(["apt-get", *words], env=quiet, capture_output=True, text=True, timeout=300)
            except subprocess.TimeoutExpired:
                pytest.skip("Chromium cannot be installed: apt-get takes more than 5 minutes")
            if done.returncode:
                pytest.skip(f"Chromium cannot be installed: {done.stderr.strip()[-200:]}")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium
    assert driver
    return chromium, driver


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, driver = found_or_installed()
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.fixture
def page(browser: Browser, tmp_path: Path, make_run: Any, make_ablation: Any) -> Iterator[Callable[..., Browser]]:
    """Opens the report of two runs, or of one, in a window of some width; in the end the console must be clean."""
    classes = ("cat", "dog", "<script>alert('grass')</script>")
    ablation = make_ablation(tmp_path / "abl", {"skip": 0.3, "b4m": 0.4, "bombo": 0.5, "oracle": 0.6}, classes=classes)
    runs = [
        read_run(make_run(tmp_path / f"pets-{i}", classes, quality=0.3 + 0.1 * i, followed=True), f"pets-{i}")
        for i in (1, 2)
    ]
    for name, shown in (("both", runs), ("one", runs[:1])):
        (tmp_path / f"{name}.html").write_text(render(shown, read_ablation(ablation)), encoding="utf-8")

    def opened(width: int = 1280, name: str = "both", **media: Any) -> Browser:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get((tmp_path / f"{name}.html").as_uri())
        return browser

    for log in ("browser", "performance"):
        browser.get_log(log)
    yield opened
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.get_log("browser") == []


def press(browser: Browser, key: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(key).perform()


def names(browser: Browser) -> list[str]:
    """First cells of the table of classes."""
    return browser.execute_script(
        "return [...document.querySelectorAll('table.classes tbody th')].map(e => e.innerText)"
    )


def shown(browser: Browser) -> set[str]:
    """What the pictures of the galleries show."""
    script = "return [...document.querySelectorAll('.views img')].filter(e => e.offsetWidth > 0).map(e => e.className)"
    return set(browser.execute_script(script))


def test_nothing_is_fetched_and_no_script_of_a_class_runs(page: Callable[..., Browser]) -> None:
    browser = page()
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    asked = {each["request"]["url"] for each in requests if each["documentURL"].startswith("file:")}
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert len([url for url in asked if url.startswith("file:")]) == 1
    assert "<script>alert('grass')</script>" in names(browser)


def test_tables_sort_by_mouse_and_by_key(page: Callable[..., Browser]) -> None:
    browser = page()
    assert names(browser)[0] == "cat"
    heading = browser.find_elements("css selector", "table.classes th[data-column]")[-1]  # IoU of the second run
    button = heading.find_element("css selector", "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert names(browser) == ["cat", "dog", "<script>alert('grass')</script>"]
    press(browser, "\ue007")  # Enter, on the button that has the focus
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(browser) == ["<script>alert('grass')</script>", "dog", "cat"]
    first = browser.find_element("css selector", "table.classes th[data-column='1'] button")  # AP50: the last has none
    first.click()
    assert names(browser) == ["cat", "dog", "<script>alert('grass')</script>"]
    first.click()
    assert names(browser) == ["dog", "cat", "<script>alert('grass')</script>"]
    assert len(browser.find_elements("css selector", "table.classes [aria-sort]")) == 1


def test_galleries_switch_by_key_by_click_and_by_button(page: Callable[..., Browser]) -> None:
    browser = page()
    assert shown(browser) == {"prediction"}
    for key, view in (("1", "image"), ("2", "annotation"), ("3", "prediction"), ("s", "image"), ("s", "annotation")):
        press(browser, key)
        assert shown(browser) == {view}
    browser.execute_script("document.querySelector('.views').scrollIntoView({block: 'center'})")
    browser.find_element("css selector", ".views").click()
    assert shown(browser) == {"prediction"}
    browser.find_element("css selector", "input[value=annotation]").click()
    assert shown(browser) == {"annotation"}


def test_without_scripts_galleries_switch_and_tables_stay_readable(page: Callable[..., Browser]) -> None:
    browser = page()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.refresh()
    assert browser.find_elements("css selector", "th button") == []
    browser.find_element("css selector", "input[value=image]").click()
    pictures = browser.find_elements("css selector", ".views img")
    assert {each.get_attribute("class") for each in pictures if each.is_displayed()} == {"image"}


LOOKS = {
    "desk": (1280, {}),
    "phone": (360, {}),
    "dark": (1280, {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    "paper": (760, {"media": "print"}),
}


@pytest.mark.parametrize(("width", "media"), LOOKS.values(), ids=LOOKS)
def test_it_fits_every_width(width: int, media: dict[str, Any], page: Callable[..., Browser], tmp_path: Path) -> None:
    browser = page(width, **media)
    wide, high = browser.execute_script("return [document.documentElement.scrollWidth, document.body.scrollHeight]")
    assert wide <= width
    clip = {"x": 0, "y": 0, "width": width, "height": high, "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture = tmp_path / "page.png"  # kept by pytest for a while: look at it
    picture.write_bytes(base64.b64decode(taken["data"]))
    assert picture.stat().st_size > 50_000
    overlapping = browser.execute_script(
        """return [...document.querySelectorAll('svg text.end')].filter(one => [...one.closest('svg').
        querySelectorAll('text.end')].some(other => other !== one && Math.abs(one.getBBox().y - other.getBBox().y) < 9
        )).length"""
    )
    assert overlapping == 0


@pytest.mark.parametrize("width", [1280, 360])
def test_no_bar_lies_under_a_number(width: int, page: Callable[..., Browser]) -> None:
    browser = page(width, "one")
    bars, covered = browser.execute_script(
        """const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        const bars = [...document.querySelectorAll('.bar')].map(bar => bar.getBoundingClientRect());
        const numbers = [...document.querySelectorAll('td')].filter(cell => cell.lastChild).map(cell => {
          const range = document.createRange();
          range.selectNode(cell.lastChild);
          return range.getBoundingClientRect();
        });
        return [bars.length, bars.filter(bar => numbers.some(number => overlap(bar, number))).length]"""
    )
    assert bars > 0
    assert covered == 0
