import json
import shutil
from pathlib import Path

import pytest

from tests.fakes_run import write_fake_run
from trm_bt.report import build

webdriver = pytest.importorskip("selenium.webdriver")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PAGES = ("index.html", "tearsheets/flash_crash.html", "tearsheets/out_of_sample.html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_fake_run(folder, start="2010-01-04", end="2010-07-16")
    build(folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("no Chromium with a chromedriver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def show(browser, path, *, width, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get_log("performance")
    browser.get(path.as_uri())


def requested(browser):
    """Return the addresses that the page asked for."""
    events = [
        json.loads(row["message"])["message"] for row in browser.get_log("performance")
    ]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quiet_and_fits(browser, folder, name, width):
    show(browser, folder / name, width=width)
    assert browser.get_log("browser") == []
    asked = [url for url in requested(browser) if not url.startswith("data:")]
    assert asked == [(folder / name).as_uri()]
    root = "return document.documentElement."
    assert browser.execute_script(f"{root}scrollWidth <= {root[7:]}clientWidth")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_that_exist(browser, folder, name):
    show(browser, folder / name, width=1440)
    links = browser.execute_script("return [...document.links].map(link => link.href)")
    assert links
    for link in links:
        assert Path(link.removeprefix("file://")).is_file(), link


CONTRAST = """
const channel = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const luminance = colour => {
  const c = colour.match(/[\\d.]+/g).map(v => channel(v / 255));
  return .2126 * c[0] + .7152 * c[1] + .0722 * c[2];
};
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour;
  }
  return 'rgb(255, 255, 255)';
};
const ratio = node => {
  const pair = [getComputedStyle(node).color, ground(node)].map(luminance);
  return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
};
const texts = 'p, td, th, dt, dd, a, small, h1, h2, .badge, li, pre';
return Math.min(...[...document.querySelectorAll(texts)].map(ratio));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES[:2])
def test_text_is_readable_in_both_schemes(browser, folder, name, scheme):
    show(browser, folder / name, width=1440, scheme=scheme)
    assert browser.execute_script(CONTRAST) >= 4.5
