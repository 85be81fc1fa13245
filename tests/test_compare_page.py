"""The page of a comparison: what it shows, and that a browser likes it."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.comparisons import comparison, small_comparison
from tests.test_report_browser import (
    CONTRAST,
    browser,  # noqa: F401 # a fixture
    requested,
    show,
    violations,
)
from trm_bt.cli.tables import compare_table
from trm_bt.evaluation.assessment import ComparisonRecord, SignificanceSettings
from trm_bt.evaluation.significance import assess
from trm_bt.evaluation.verdict import verdict
from trm_bt.report.compare_page import render_comparison
from trm_bt.report.contents import ComparisonContent
from trm_bt.report.sections.performance import performance


def record_of(held, **changes):
    assessed = assess(held, [], SignificanceSettings(n_draws=100, n_random=20))
    return ComparisonRecord(
        **vars(assessed) | changes,
        run="<b>mine</b>",
        bars={"source": "random walks", "derived": True},
        is_same_bars=True,
        cash="earned nothing",
        cost_bps=10.0,
        rebalance_band=0.0,
        verdict=verdict(assessed),
    )


def page_of(held, **changes):
    content = ComparisonContent(record_of(held, **changes), held.equity, held.excess)
    return render_comparison(content)


@pytest.mark.slow
def test_headings_and_figures_are_whole_at_120_columns():
    out = io.StringIO()
    record = record_of(comparison())
    Console(file=out, width=120).print(compare_table(record))
    lines = out.getvalue().splitlines()
    headings = ["strategy", "Sharpe", "lead", "p", "MDE", "CAGR", "volatility"]
    headings += ["drawdown", "turnover", "costs", "regret", "accuracy"]
    assert any(re.findall(r"[\w]+", line) == headings for line in lines)
    for name, row in record.strategies.items():
        (shown,) = [line for line in lines if line.split()[:1] == [name]]
        assert f"{row.volatility_annual:.1%}" in shown
        assert len(shown) <= 120
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    left_out = {"lightgbm": "needs lightgbm"}
    path.write_text(page_of(comparison(), left_out=left_out), encoding="utf-8")
    return path


def test_everyone_has_a_row_under_its_kind(page):
    text = page.read_text()
    places = [
        text.index(words)
        for words in ("Ours", "Fixed mixes", "Rules on past", "Known only afterwards")
    ]
    assert places == sorted(places)
    for name in ("Exposure-matched mix", "Mean variance of eight", "Oracle"):
        assert f'<td data-name="{name}">{name}' in text
    assert "Left out: LightGBM needs lightgbm." in text
    assert "&lt;b&gt;mine" in text
    assert "derived bars" in text


@pytest.mark.slow
def test_a_short_span_has_no_tests_and_no_rolling_picture(page):
    short = page_of(small_comparison(n_sessions=40))
    assert page.read_text().count("<svg") == 6
    assert short.count("<svg") == 5
    assert "Significance" not in short
    assert 'id="costs"' not in short


def test_a_span_without_a_known_label_has_a_page_too():
    held = small_comparison(n_sessions=5)
    assert held.labels.empty
    assert page_of(held).count("<svg") == 5


@pytest.mark.slow
@pytest.mark.parametrize(("n_sessions", "n_charts"), [(252, 1), (253, 2)])
def test_the_rolling_lead_needs_more_than_the_year_it_looks_back_on(
    n_sessions, n_charts
):
    held = comparison()
    excess = held.excess.iloc[:n_sessions]
    content = ComparisonContent(record_of(held), held.equity, excess)
    section = performance(content)
    assert section.count("<svg") == n_charts


@pytest.mark.parametrize("width", [390, 1300])
def test_a_browser_finds_the_page_quiet_and_fitting(browser, page, width):  # noqa: F811
    show(browser, page, width=width)
    assert browser.get_log("browser") == []
    asked = [url for url in requested(browser) if not url.startswith("data:")]
    assert asked == [page.as_uri()]
    root = "return document.documentElement."
    assert browser.execute_script(f"{root}scrollWidth <= {root[7:]}clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_text_is_readable_in_both_schemes(browser, page, scheme):  # noqa: F811
    show(browser, page, width=1300, scheme=scheme)
    assert browser.execute_script(CONTRAST) >= 4.5


@pytest.mark.slow
def test_the_growth_chart_has_the_best_benchmark():
    held = comparison()
    record = record_of(held)
    content = ComparisonContent(record, held.equity, held.excess)
    texts = [text for text, _ in content.legend]
    assert any("the best benchmark in hindsight" in text for text in texts)
    assert record.best_benchmark in content.colours
    other = next(n for n in held.strategies if n not in content.colours)
    changed = ComparisonContent(
        replace(record, best_benchmark=other), held.equity, held.excess
    )
    assert changed.colours[other] == "best"
    assert "var(--best)" in performance(changed)


def test_a_click_sorts_the_strategies(browser, page):  # noqa: F811
    show(browser, page, width=1300)
    column = """return [...document.querySelectorAll('#benchmark-table tbody tr')]
      .map(row => row.querySelector('[data-sharpe]').dataset.sharpe)"""
    head = "#benchmark-table th[data-key='sharpe'] button"
    browser.execute_script(f'document.querySelector("{head}").click()')
    figures = [float(text) for text in browser.execute_script(column) if text]
    assert figures == sorted(figures)
    assert len(figures) > 10


def test_the_first_column_stays_on_a_phone(browser, page):  # noqa: F811
    show(browser, page, width=390)
    left = browser.execute_script("""
      const box = document.querySelector('#benchmark-table').parentElement;
      box.scrollLeft = 400;
      const cell = box.querySelector('tbody tr td').getBoundingClientRect();
      return [cell.left - box.getBoundingClientRect().left, cell.width];""")
    assert left[0] == 0
    assert left[1] < 390 / 2


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, page, width, scheme):  # noqa: F811
    assert violations(browser, page, width=width, scheme=scheme) == []
