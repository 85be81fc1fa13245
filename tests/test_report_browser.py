import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.fakes_run import write_fake_run
from trm_bt.market.crises import Crisis
from trm_bt.report import build

pytestmark = pytest.mark.slow

webdriver = pytest.importorskip("selenium.webdriver")
webdriver_error = pytest.importorskip("selenium.common").WebDriverException

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
    own = Crisis('"><b>own</b>', pd.Timestamp("2010-06-01"), pd.Timestamp("2010-06-11"))
    build(folder, crises=[own], executor=1)
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
    """Return the addresses that the page requested, but for the browser's own tab."""
    events = [
        json.loads(row["message"])["message"] for row in browser.get_log("performance")
    ]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("chrome://")]


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
        path, _, place = link.removeprefix("file://").partition("#")
        assert Path(path).is_file(), link
        assert not place or f'id="{place}"' in Path(path).read_text(), link


CONTRAST = """
const channel = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map(v => channel(v / 255))
  .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
const ground = node => {
  const layers = [];
  for (; node; node = node.parentElement) {
    const [r, g, b, a = 1] = parts(getComputedStyle(node).backgroundColor);
    layers.push([r, g, b, a]);
    if (a === 1) break;
  }
  return layers.reverse().reduce((below, [r, g, b, a]) =>
    [r, g, b].map((v, at) => a * v + (1 - a) * below[at]), [255, 255, 255]);
};
const ratio = node => {
  const pair = [parts(getComputedStyle(node).color), ground(node)].map(luminance);
  return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
};
document.querySelectorAll('details').forEach(node => { node.open = true; });
const texts = 'p, td, th, dt, dd, a, small, h1, h2, .badge, li, pre, button, summary';
return Math.min(...[...document.querySelectorAll(texts)].map(ratio));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES[:2])
def test_text_is_readable_in_both_schemes(browser, folder, name, scheme):
    show(browser, folder / name, width=1440, scheme=scheme)
    assert browser.execute_script(CONTRAST) >= 4.5


def column_of(browser, key):
    """Return the figures of a column of the crises, top to bottom, None for none."""
    script = f"""return [...document.querySelectorAll('#crises tbody tr')].map(row => {{
      const cell = row.querySelector('[data-{key}]');
      return cell ? cell.getAttribute('data-{key}') : null; }})"""
    return browser.execute_script(script)


@pytest.mark.parametrize("key", ["trm-return", "spy-drawdown", "sessions", "start"])
def test_a_click_sorts_a_column_and_another_turns_it(browser, folder, key):
    show(browser, folder / "index.html", width=1440)
    head = f"#crises th[data-key='{key}']"
    is_text = key == "start"
    for direction, is_down in (("ascending", False), ("descending", True)):
        browser.execute_script(f'document.querySelector("{head} button").click()')
        told = column_of(browser, key)
        figures = [value if is_text else float(value) for value in told if value]
        assert len(figures) >= 2
        assert figures == sorted(figures, reverse=is_down)
        assert told[len(figures) :] == [None] * (13 - len(figures))
        found = f"return document.querySelector(\"{head}\").getAttribute('aria-sort')"
        assert browser.execute_script(found) == direction


def legend(browser, name):
    """Return the values that a chart tells, by label."""
    script = f"""return Object.fromEntries([...document.querySelectorAll(
      '#chart-{name} .u-series')].map(row => [row.querySelector('.u-label').textContent,
      row.querySelector('.u-value').textContent]))"""
    return browser.execute_script(script)


def test_pointing_at_a_chart_tells_the_values_of_the_session(browser, folder):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, folder / "index.html", width=1440)
    plot = browser.find_element(By.CSS_SELECTOR, "#chart-growth .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(browser).move_to_element_with_offset(plot, 30, 0).perform()
    growth, held = legend(browser, "growth"), legend(browser, "weights")
    equity = pd.read_parquet(folder / "equity.parquet")
    session = pd.Timestamp(growth["Session"])
    for name, text in (("trm", "TRM"), ("spy", "SPY"), ("sixty_forty", "60/40")):
        expected = equity.loc[session, name] / equity[name].iloc[0]
        assert float(growth[text]) == pytest.approx(expected, abs=6e-4)
    weights = pd.read_parquet(folder / "weights.parquet")
    row = weights[(weights["run"] == "out_of_sample") & (weights["session"] == session)]
    assert held["Session"] == growth["Session"]  # all charts share one cursor
    for asset in ("equity", "bond", "cash"):
        told = held[asset.capitalize()].removesuffix("%")
        assert float(told) == pytest.approx(100 * row[asset].iloc[0], abs=0.06)


def test_a_crisis_under_the_pointer_is_named(browser, folder):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, folder / "index.html", width=1440)
    plot = browser.find_element(By.CSS_SELECTOR, "#chart-growth .u-over")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    first, own, last = map(pd.Timestamp, ("2010-01-04", "2010-06-07", "2010-07-16"))
    away = round(((own - first) / (last - first) - 0.5) * plot.size["width"])
    ActionChains(browser).move_to_element_with_offset(plot, away, 0).perform()
    assert legend(browser, "growth")["Crisis"] == '"><b>own</b>'


LISTEN = """
const draw = CanvasRenderingContext2D.prototype.fillText;
window.written = [];
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.written.push(text);
  return draw.call(this, text, ...rest);
};
"""


def test_marks_of_an_axis_are_the_values_they_stand_at(browser, folder):
    show(browser, folder / "index.html", width=1440)
    browser.execute_script(LISTEN)
    narrower = {"width": 1300, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrower)
    later = "const done = arguments[0]; setTimeout(() => done(window.written), 500)"
    written = set(browser.execute_async_script(later))  # all charts are drawn again
    # The marks of a probability stand a quarter apart; one digit would call .25 .3.
    assert {"0.25", "0.75"} <= written
    assert not {"0.3", "0.8"} & written


def is_shown(browser, selector):
    """Tell whether an element takes any room, also where no script may run."""
    root = browser.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
    asked = {"nodeId": root, "selector": selector}
    node = browser.execute_cdp_cmd("DOM.querySelector", asked)
    try:
        box = browser.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": node["nodeId"]})
    except webdriver_error:
        return False
    return box["model"]["height"] > 0


def test_pictures_stand_in_where_no_script_runs_and_on_paper(browser, folder):
    show(browser, folder / "index.html", width=1440)
    assert is_shown(browser, "#chart-growth")
    assert not is_shown(browser, "#run ~ figure .still svg")
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    on_paper = {"media": "print", "features": [dark]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", on_paper)
    assert is_shown(browser, "#run ~ figure .still svg")
    assert not is_shown(browser, "#chart-growth")
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(ground) == "rgb(255, 255, 255)"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    disable = "Emulation.setScriptExecutionDisabled"
    browser.execute_cdp_cmd(disable, {"value": True})
    try:
        browser.execute_cdp_cmd("Page.reload", {})
        assert is_shown(browser, "#run ~ figure .still svg")
        assert not is_shown(browser, "#chart-growth")
    finally:
        browser.execute_cdp_cmd(disable, {"value": False})


def test_no_other_script_than_the_pages_own_may_run(browser, folder):
    show(browser, folder / "index.html", width=1440)
    browser.execute_script("""const script = document.createElement('script');
      script.textContent = 'window.wasRun = true'; document.body.append(script);""")
    assert browser.execute_script("return window.wasRun") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


def press(browser, words):
    browser.execute_script(
        """[...document.querySelectorAll('button')]
        .find(one => one.textContent === arguments[0]).click()""",
        words,
    )


def test_a_button_turns_the_page_dark_and_light_again(browser, folder):
    ground = "return getComputedStyle(document.body).backgroundColor"
    for name in PAGES[:2]:
        show(browser, folder / name, width=1440)
        browser.execute_script("localStorage.clear()")
        browser.refresh()
        assert browser.execute_script(ground) == "rgb(255, 255, 255)"
        press(browser, "Dark colours")
        assert browser.execute_script(ground) == "rgb(20, 22, 26)"
        press(browser, "Light colours")
        assert browser.execute_script(ground) == "rgb(255, 255, 255)"
        browser.execute_script("localStorage.clear()")


def test_a_crisis_of_the_list_fills_all_charts(browser, folder):
    show(browser, folder / "index.html", width=1440)
    browser.execute_script(LISTEN)
    browser.execute_script("""const list = document.querySelector('.ranges select');
      list.value = [...list.options].find(one => one.text === 'Flash crash').value;
      list.dispatchEvent(new Event('change'));""")
    later = "const done = arguments[0]; setTimeout(() => done(window.written), 500)"
    written = browser.execute_async_script(later)
    assert "2010" in written  # the year stays on the axis of a few months
    assert "Flash crash" in written


def test_arrow_keys_move_the_cursor_of_all_charts(browser, folder):
    from selenium.webdriver.common.keys import Keys

    show(browser, folder / "index.html", width=1440)
    chart = browser.find_element("id", "chart-growth")
    sessions = pd.read_parquet(folder / "equity.parquet").index
    chart.send_keys(*[Keys.ARROW_RIGHT] * 5)
    assert legend(browser, "growth")["Session"] == str(sessions[5].date())
    chart.send_keys(Keys.ARROW_LEFT)
    assert legend(browser, "weights")["Session"] == str(sessions[4].date())


AXE = """
const done = arguments[0];
document.querySelectorAll('details').forEach(one => { one.open = true; });
axe.run(document).then(all => done(all.violations.map(one => one.id + ": "
  + one.nodes.map(node => node.target.join(" ")).join(", "))));
"""


def violations(browser, page, *, width, scheme):
    """Return what axe-core finds on a page, its folded parts open."""
    library = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
    if not library.is_file():
        pytest.skip("axe-core is not installed: npm install axe-core, or set AXE_CORE")
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    show(browser, page, width=width, scheme=scheme)
    browser.execute_script(library.read_text(encoding="utf-8"))
    found = browser.execute_async_script(AXE)
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    return found


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser, folder, name, scheme, width):
    assert violations(browser, folder / name, width=width, scheme=scheme) == []
