"""The site as `make docs` builds it, notebooks run, and as a browser shows it."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.doc_pages import DOCS, NOTEBOOKS
from tests.test_report_browser import browser, show, violations  # noqa: F401

pytestmark = pytest.mark.slow

pytest.importorskip("sphinx", reason="the site is built with the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site; the build executes every notebook, once."""
    out = tmp_path_factory.mktemp("site")
    builder = Path(sys.executable).with_name("sphinx-build")
    options = ("--fail-on-warning", "--keep-going", "--quiet")
    done = subprocess.run(
        [builder, *options, "--doctree-dir", out / "doctrees", DOCS, out / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def pages(site: Path) -> dict[Path, str]:
    """Return the text of every page that was built."""
    return {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}


def test_every_source_is_a_page_and_every_notebook_has_run(site):
    for source in DOCS.rglob("*.md"):
        assert (site / source.relative_to(DOCS)).with_suffix(".html").is_file()
    for source in NOTEBOOKS:
        page = (site / source.relative_to(DOCS)).with_suffix(".html")
        assert "cell_output" in page.read_text(encoding="utf-8"), source


def test_a_page_has_one_title_no_empty_heading_and_dashes_of_type(site):
    for page, text in pages(site).items():
        assert text.count("<h1") == 1, page
        assert not re.findall(r"<th[^>]*>(?:<p></p>)?</th>", text), page
        assert not re.findall(r"</\w+>\)? -- ", text), page


def test_nothing_is_loaded_from_outside(site):
    for page, text in pages(site).items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"([^\"]+)", text)
        loaded += re.findall(
            r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"([^\"]+)", text
        )
        assert not [name for name in loaded if re.match(r"(https?:)?//", name)], page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", text), style
        assert not re.findall(r"@import", text), style


def test_links_and_anchors_within_the_site_lead_somewhere(site):
    built = pages(site)
    anchors = {page: set(re.findall(r" id=\"([^\"]+)", built[page])) for page in built}
    for page, text in built.items():
        for link in re.findall(r"<a[^>]* href=\"([^\"]+)", text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / unquote(name)).resolve() if name else page
            assert target.is_file(), (page, link)
            if anchor and target in anchors:
                assert unquote(anchor) in anchors[target], (page, link)


def test_search_knows_the_words_of_the_pages(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for word in ("rebalance_band", "trmalloc", "trmpandasdata"):
        assert word in index, word


def test_a_search_from_disk_lists_pages_and_is_quiet(site, browser):  # noqa: F811
    show(browser, site / "search.html", width=1440)
    browser.get_log("browser")
    browser.get((site / "search.html").as_uri() + "?q=rebalance_band")
    found = browser.execute_async_script("""
      const done = arguments[0], links = () =>
        [...document.querySelectorAll("#search-results li a")].map(one => one.href);
      const look = () => Search.status.innerText.includes("found")
        ? done(links()) : setTimeout(look, 50);
      look();""")
    assert (site / "drop_in.html").as_uri() in {link.split("?")[0] for link in found}
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site, browser, width, scheme):  # noqa: F811
    found = {}
    for page in sorted(site.rglob("*.html")):
        wrong = violations(browser, page, width=width, scheme=scheme)
        if not browser.execute_script(
            "return document.documentElement.scrollWidth <= innerWidth"
        ):
            wrong.append("wider than the window")
        if wrong:
            found[str(page.relative_to(site))] = wrong
    assert found == {}
