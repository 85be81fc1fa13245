import html
import itertools
import json
import logging
import os
import re
import shutil
import warnings
from contextlib import contextmanager
from multiprocessing import get_all_start_methods
from xml.etree import ElementTree

import backtrader as bt
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.fakes_run import write_fake_run
from trm_bt.errors import ConfigError, RunError
from trm_bt.executors import opened
from trm_bt.feeds.backtrader import add_bars
from trm_bt.files import staged_folder
from trm_bt.market.crises import Crisis
from trm_bt.report import build, pages, show, tearsheet
from trm_bt.report.colours import LIGHT
from trm_bt.report.contents import Sheet
from trm_bt.report.return_charts import growth_chart
from trm_bt.report.returns import find_benchmark, find_returns, with_base
from trm_bt.report.sections.measures import measures
from trm_bt.report.templating import percent, safe_name
from trm_bt.strategies.baselines import FixedMix

HOSTILE = "../<script>alert(1)</script>"
ANNUAL = re.compile(
    r"sharpe|sortino|calmar|cagr|volatil|annual|\(ann\.\)|risk-adjusted|alpha|treynor"
    r"|rolling|yearly|year|expected|\bmonth|quarter|information ratio|serenity|\b1Y\b",
    re.IGNORECASE,
)


def visible(page):
    """Return what a page shows, the text inside its drawings included."""
    body = re.sub(r"<(style|script)\b.*?</\1>|<!--.*?-->", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "\n", body))


def random_returns(n_sessions, seed=0):
    sessions = pd.bdate_range("2010-01-04", periods=n_sessions)
    moves = np.random.default_rng(seed).normal(0.0004, 0.01, n_sessions)
    return pd.Series(moves, sessions)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A built run over three crises, one of which has a hostile name."""
    folder = tmp_path_factory.mktemp("run")
    write_fake_run(folder, start="2008-09-12", end="2012-06-30")
    rename_crisis(folder, "european_debt_crisis", HOSTILE)
    with staged_folder(folder / "tearsheets") as earlier:
        (earlier / "left_over.html").write_text("from an earlier build")
    told = []
    build(folder, progress=lambda *state: told.append(state))
    return folder, told


def rename_crisis(folder, name, new):
    """Give a crisis of a run folder another name, wherever it is written."""
    text = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(text.replace(name, new))
    table = pd.read_parquet(folder / "crisis_equity.parquet")
    renamed = table.rename(index={name: new}, level="crisis")
    renamed.to_parquet(folder / "crisis_equity.parquet")
    for stem in ("weights", "decisions"):
        table = pd.read_parquet(folder / f"{stem}.parquet")
        table["run"] = table["run"].replace(name, new)
        table.to_parquet(folder / f"{stem}.parquet")


def page_of(run, name):
    return (run[0] / name).read_text(encoding="utf-8")


def test_every_covered_crisis_has_a_tearsheet(run):
    folder, told = run
    assert {path.name for path in (folder / "tearsheets").iterdir()} == {
        "out_of_sample.html",
        "financial_crisis.html",
        "flash_crash.html",
        "script_alert_1_script.html",
        "manifest.json",
    }
    assert told == [("report", i, 5) for i in range(1, 6)]


def test_figures_that_quantstats_draws_wrongly_are_left_out(run):
    text = visible(page_of(run, "tearsheets/out_of_sample.html"))
    assert "Max Drawdown" in text
    assert "Daily Returns (Cumulative Sum)" not in text  # back at 0 on each weekend
    assert "Rolling Beta" not in text  # 0 where it is not known yet


@pytest.mark.parametrize("names", [("brexit",), ("mine", "mine")])
def test_a_window_with_a_name_that_is_taken_is_refused(run, names):
    day = pd.Timestamp("2010-06-01")
    before = page_of(run, "index.html")
    own = [Crisis(name, day, day) for name in names]
    with pytest.raises(ConfigError, match=f"the name '{names[0]}' is taken"):
        build(run[0], crises=own)
    assert page_of(run, "index.html") == before


@pytest.mark.skipif(
    "forkserver" not in get_all_start_methods(), reason="there is no fork server"
)
def test_processes_of_the_pages_have_one_thread_each_and_ours_keeps_its_own():
    before = dict(os.environ)
    with opened(2, 2, preload=["json"]) as pool:
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
    assert dict(os.environ) == before


def test_no_temporary_file_is_left(run):
    assert not [path for path in run[0].rglob("*") if path.name.startswith(".")]


def test_pages_ask_for_nothing_outside(run):
    for path in run[0].rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        asked = re.findall(
            r"""(?:src|href|url|@import)\s*[=(]\s*["']?([^"'> )]+)""", page
        )
        outside = [link for link in asked if re.match(r"(https?:)?//", link)]
        assert outside == [], path.name
        assert "default-src 'none'" in page
        is_index = path.name == "index.html"
        assert page.count("<script") == (4 if is_index else 1)


def test_hostile_names_are_text(run):
    for name in ("index.html", "tearsheets/script_alert_1_script.html"):
        page = page_of(run, name)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("name", ["out_of_sample", "financial_crisis", "flash_crash"])
def test_every_page_names_source_model_span_proxies_and_seed(run, name):
    text = visible(page_of(run, f"tearsheets/{name}.html"))
    assert "derived from S&P 500 and treasury-yield history" in text
    assert "(proxy)" in text
    assert "repriced from yields; 59 sessions without a yield" in text
    assert "Seed" in text
    summary = json.loads(page_of(run, "summary.json"))
    entry = next(c for c in summary["crises"] if c["name"] in (name, "flash_crash"))
    assert entry["model"] in text
    assert entry["trained_until"] in text


def test_a_short_window_shows_nothing_annualised(run):
    text = visible(page_of(run, "tearsheets/flash_crash.html"))
    assert "fewer than 60 sessions" in text
    assert "Max Drawdown" in text
    told = re.sub(r"so nothing is annualised.*?figure\.", "", text)
    told = re.sub(r"a quarter before and after", "", told, flags=re.IGNORECASE)
    told = told.replace("not annualised", "")
    facts = re.sub(r"\nBars\n.*?Seed", "", told, flags=re.DOTALL)
    assert ANNUAL.findall(facts) == []


def test_a_long_window_shows_the_whole_sheet_and_leaves_out_ratios_without_cash(run):
    page = page_of(run, "tearsheets/financial_crisis.html")
    assert "ignore what cash earned, and are left out" in visible(page)
    # context, volatility, years, drawdowns; no Sharpe ratio without cash
    assert page.count("<svg") == 4
    head, *rows = page[page.index('id="measures"') :].split("<tr")[1:]
    assert re.findall(r'<th scope="col">(.*?)</th>', head) == [
        *("Metric", "TRM", "SPY", "60/40")
    ]
    names = re.findall(r'<th scope="row">(.*?)</th>', "".join(rows))
    assert len(names) == len(set(names))  # nothing is measured twice
    is_rule = ["<td colspan" in row for row in rows]
    assert not any(pair == (True, True) for pair in itertools.pairwise(is_rule))
    assert {"Beta to SPY", "Beta to 60/40"} <= set(names)


def test_each_benchmark_is_measured_against():
    ours, spy, mix = (random_returns(300, seed=n) for n in range(3))
    ours = 0.6 * spy + 0.3 * mix + 0.1 * ours
    names = dict(zip(("TRM", "SPY", "60/40"), (ours, spy, mix), strict=True))
    sheet = Sheet("it", *(one.rename(name) for name, one in names.items()))
    rows = dict(re.findall(r'"row">(.*?)</th><td>(.*?)</td>', str(measures(sheet))))
    for name, other in (("SPY", spy), ("60/40", mix)):
        (variance, both), (_, other_variance) = np.cov(ours, other)
        beta, gap = both / other_variance, ours - other
        expected = {
            "R^2": both**2 / variance / other_variance,
            "Information Ratio": gap.mean() / gap.std(ddof=1),
            "Beta": beta,
            "Alpha": 252 * (ours.mean() - beta * other.mean()),
            "Correlation": 100 * both / np.sqrt(variance * other_variance),
            "Treynor Ratio": 100 * ((1 + ours).prod() - 1) / beta,
        }
        for metric, value in expected.items():
            shown = rows[f"{metric} to {name}"].rstrip("%")
            found = float(shown.replace("\N{MINUS SIGN}", "-"))
            assert found == pytest.approx(value, abs=0.0051), f"{metric} to {name}"


def test_each_portfolio_is_measured_as_it_is_alone():
    trending = random_returns(300).rolling(5).mean().fillna(0.0)  # is autocorrelated
    portfolios = [trending, random_returns(300, seed=1), -random_returns(300, seed=2)]
    named = [one.rename(str(number)) for number, one in enumerate(portfolios)]

    def columns(sheet):
        rows = re.findall(r'"row">(.*?)</th>((?:<td>.*?</td>)+)', str(measures(sheet)))
        return {name: re.findall("<td>(.*?)</td>", cells) for name, cells in rows}

    together = columns(Sheet("it", *named))
    for number, one in enumerate(named):
        for name, (figure,) in columns(Sheet("it", one)).items():
            assert together[name][number] == figure, name


def test_tearsheets_say_what_cash_earned(run):
    for name in ("out_of_sample", "flash_crash"):
        page = page_of(run, f"tearsheets/{name}.html")
        assert "<dt>Cash</dt><dd>earned 3-month constant-maturity treas" in page


@pytest.mark.parametrize(
    ("n_sessions", "is_short", "n_figures"),
    [
        pytest.param(59, True, 2, id="short"),
        pytest.param(60, False, 3, id="long enough for all but half-year figures"),
    ],
)
def test_sixty_sessions_are_the_border(n_sessions, is_short, n_figures, tmp_path):
    returns = -random_returns(n_sessions).abs()  # under water from the first session
    flat = returns * 0
    page = tearsheet(returns, tmp_path / "page.html", benchmark=flat).read_text()
    text = visible(page)
    assert "Benchmark is constant here" in text
    assert ("Sharpe" not in text) is is_short
    assert ("CAGR" not in text) is is_short
    assert page.count("<svg") == n_figures
    deepest = 100 * ((1 + returns).prod() - 1)
    printed = re.search(r"Max Drawdown\s+\N{MINUS SIGN}([\d.]+)%", text)
    assert -float(printed[1]) == pytest.approx(deepest, abs=0.006)


def test_quantstats_draws_nothing(monkeypatch, tmp_path):
    drawn, begin = [], plt.figure
    monkeypatch.setattr(
        plt, "figure", lambda *a, **k: drawn.append(a) or begin(*a, **k)
    )
    tearsheet(
        random_returns(300),
        tmp_path / "page.html",
        benchmark=random_returns(300, seed=1),
    )
    assert drawn == []


@pytest.mark.parametrize(
    "returns",
    [
        pytest.param(random_returns(80) * 0, id="zero"),
        pytest.param(random_returns(80) * 0 + 1e-4, id="constant"),
        pytest.param(random_returns(1), id="one-session"),
    ],
)
def test_returns_that_never_vary_make_a_page_that_says_so(returns, tmp_path):
    page = tearsheet(returns, tmp_path / "page.html").read_text()
    assert "the same in every session" in page


def test_a_crisis_is_shown_alone_and_in_its_context(run):
    page = page_of(run, "tearsheets/flash_crash.html")
    text = " ".join(visible(page).split())
    equity = pd.read_parquet(run[0] / "equity.parquet")
    sessions = equity.index
    base = sessions.searchsorted(pd.Timestamp("2010-05-06")) - 1
    assert f"From the close before the crisis, {sessions[base].date()}" in text
    shown = f"{sessions[base - 62].date()} to {sessions[base + 2 + 63].date()}"
    assert "2 sessions of crisis; charts and QuantStats' measures include up" in text
    assert shown in text
    spy = equity["spy"]
    assert percent(spy.iloc[base + 2] / spy.iloc[base] - 1) in text
    assert page.count("data:image/png") == 10  # a row of colours a feature


def test_every_colour_of_a_tearsheet_follows_the_scheme(run):
    for name in ("flash_crash", "out_of_sample"):
        page = page_of(run, f"tearsheets/{name}.html")
        drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
        assert "var(--trm)" in drawn
        assert not [colour for colour in LIGHT.values() if colour in drawn]


def test_tearsheets_lead_to_the_crisis_before_and_after(run):
    def ways(name):
        page = page_of(run, f"tearsheets/{name}.html")
        head = page[page.index("<header") : page.index("</header>")]
        return re.findall(r'<a href="(.*?)"', head)

    index, hostile = "../index.html", "script_alert_1_script.html"
    assert ways("out_of_sample") == [index]
    assert ways("financial_crisis") == [index, "flash_crash.html"]
    assert ways("flash_crash") == [index, "financial_crisis.html", hostile]


def test_marks_of_an_axis_stand_once():
    days = pd.bdate_range("2020-01-01", periods=60)
    for high in (1.003, 1.2, 3.0, 40.0, 5000.0):
        growth = pd.DataFrame({"it": np.geomspace(1.0, high, 60)}, days)
        page = growth_chart(growth, {"it": "trm"})
        marks = re.findall(r"<text[^>]*>([\d.]+)</text>", page)
        assert len(marks) == len(set(marks)) >= 2


@pytest.mark.slow
def test_the_untouched_page_of_quantstats_is_one_link_away(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    build(tmp_path, executor=1, quantstats="full")
    page = (tmp_path / "tearsheets/flash_crash.html").read_text()
    assert 'href="quantstats-flash_crash.html"' in page
    untouched = (tmp_path / "tearsheets/quantstats-flash_crash.html").read_text()
    assert "Flash crash" in untouched
    assert "Key Performance Metrics" in untouched


@pytest.mark.slow
def test_a_portfolio_that_never_moves_has_its_pages(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    for name in ("equity", "crisis_equity"):
        table = pd.read_parquet(tmp_path / f"{name}.parquet").assign(trm=1e6)
        table.to_parquet(tmp_path / f"{name}.parquet")
    build(tmp_path, executor=1)
    text = visible((tmp_path / "tearsheets/flash_crash.html").read_text())
    assert "nothing lost" in text
    assert "the same in every session" in text
    assert "Measured by QuantStats" not in text


def test_the_index_leads_to_a_comparison_once_there_is_one(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    before = (folder / "index.html").read_text()
    assert 'href="comparison/comparison.html"' not in before
    pages.link_comparison(folder)
    after = (folder / "index.html").read_text()
    assert after.count('href="comparison/comparison.html"') == 1
    assert len(after) > 0.99 * len(before)
    pages.link_comparison(folder)  # once more changes nothing
    assert (folder / "index.html").read_text() == after
    pages.link_comparison(tmp_path)  # nor does a folder without an index


def test_pages_of_an_earlier_build_are_gone(run):
    assert not (run[0] / "tearsheets" / "left_over.html").exists()


@pytest.mark.slow
def test_one_process_writes_the_same_tearsheets_as_two(run, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(run[0], folder)
    build(folder, executor=1)
    for name in ("tearsheets/flash_crash.html", "index.html", "crises.csv"):
        assert (folder / name).read_text() == page_of(run, name)


def test_a_notebook_shows_a_page_in_a_frame_of_its_own(tmp_path):
    shown = show(random_returns(5), title=HOSTILE, height=300)._repr_html_()
    frame = ElementTree.fromstring(shown)
    assert frame.tag == "iframe"
    assert frame.get("sandbox") == "allow-scripts"
    assert frame.get("height") == "300"
    assert f"<h1>{html.escape(HOSTILE)}</h1>" in frame.get("srcdoc")
    (tmp_path / "page.html").write_text('<p title="&amp;">page</p>')
    assert show(tmp_path / "page.html").html == '<p title="&amp;">page</p>'
    (tmp_path / "index.html").write_text("<p>the run</p>")
    assert show(tmp_path).html == "<p>the run</p>"
    assert "the run" not in repr(show(tmp_path))  # or a notebook would store it twice
    with pytest.raises(RunError, match="cannot be read as a page"):
        show(tmp_path / "nowhere.html")


@contextmanager
def untouched_matplotlib():
    """Check that a block leaves settings, warning filters and loggers as they were."""
    mpl.use("agg")
    fonts = logging.getLogger("matplotlib.font_manager").level
    with mpl.rc_context({"lines.linewidth": 7.0}):
        before, filters = dict(mpl.rcParams), list(warnings.filters)
        yield
        assert dict(mpl.rcParams) == before
        assert list(warnings.filters) == filters
    assert logging.getLogger("matplotlib.font_manager").level == fonts


def test_a_benchmark_named_as_a_column_of_prices_is_called_a_benchmark(tmp_path):
    ours, theirs = random_returns(80), random_returns(80, seed=1)
    for name, shown in (("close", "Benchmark"), (None, "Benchmark"), ("QQQ", "QQQ")):
        page = tearsheet(ours, tmp_path / "page.html", benchmark=theirs.rename(name))
        assert f'<th scope="col">{shown}</th>' in page.read_text()


@pytest.mark.parametrize("as_prices", [True, False])
def test_a_benchmark_of_other_days_earns_what_it_earned_between_them(
    tmp_path, as_prices
):
    ours = random_returns(80)
    days = pd.date_range(ours.index[0] - pd.Timedelta(days=5), ours.index[-1])
    turns = np.arange(len(days))
    prices = pd.Series(0.02 * np.exp(0.003 * turns) * (1 + turns % 3), days)
    given = prices.astype(object) if as_prices else prices.pct_change().iloc[1:]
    page = tearsheet(ours, tmp_path / "page.html", benchmark=given).read_text()
    base = prices[with_base(ours).index[0]]
    row = re.search(r"Cumulative Return</th>(.*?)</tr>", page).group(1)
    shown = re.findall(r"<td>(.*?)</td>", row)[1].replace(",", "")
    shown = shown.replace("\N{MINUS SIGN}", "-")
    total = 100 * (prices[ours.index[-1]] / base - 1)
    assert float(shown.rstrip("%")) == pytest.approx(total, abs=0.006)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.astype(object).where(r.index != r.index[3], "x"), "must hold num"),
        (lambda r: r.set_axis(r.index.where(r.index != r.index[3])), "one has none"),
    ],
)
def test_returns_without_a_number_or_a_date_are_refused(tmp_path, change, message):
    with pytest.raises(RunError, match=message):
        tearsheet(change(random_returns(80)), tmp_path / "page.html")


def test_no_row_is_of_another_span_than_its_name_says(tmp_path):
    page = tearsheet(random_returns(3_000), tmp_path / "page.html").read_text()
    assert "CAGR" in page
    assert not re.findall(r"\d+Y \(ann\.\)", page)  # of 35, 59 and 119 months


def test_zones_titles_and_gaps_are_dealt_with(tmp_path):
    returns = random_returns(30).tz_localize("America/New_York")
    returns.iloc[:8] = 0.0
    returns.iloc[[0, 9]] = np.nan
    benchmark = random_returns(30, seed=1).rename("<b>$\\x^{</b>")
    benchmark.iloc[4] = np.nan
    title = f"{HOSTILE}{{{{"
    with untouched_matplotlib():
        out = tearsheet(
            returns, tmp_path / "new.html", benchmark=benchmark, title=title
        )
    page = out.read_text()
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert f"<h1>{html.escape(HOSTILE)}{{{{</h1>" in page
    assert "The benchmark has no return on 1 session: counted as 0." in page
    assert "Left out: 2 sessions without a return." in page


class BuyAndHold(bt.Strategy):
    def next(self):
        if not self.position:
            self.buy(size=10)


MONTHLY = {"timeframe": bt.TimeFrame.Months}


def run_cerebro(*analyzers):
    """Return a strategy that ran with `analyzers`, and what 1 became."""
    rng = np.random.default_rng(5)
    close = 100 * np.cumprod(1 + rng.normal(0, 0.01, 70))
    bars = dict.fromkeys(("open", "high", "low", "close"), close)
    frame = pd.DataFrame(bars, pd.bdate_range("2020-01-02", periods=70))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(BuyAndHold)
    for number, (analyzer, params) in enumerate(analyzers):
        cerebro.addanalyzer(analyzer, _name=str(number), **params)
    return cerebro.run()[0], cerebro.broker.getvalue() / 10_000


@pytest.mark.parametrize(
    "analyzers",
    [
        pytest.param([(bt.analyzers.TimeReturn, {})], id="TimeReturn"),
        pytest.param([(bt.analyzers.PyFolio, {})], id="PyFolio"),
        pytest.param(
            [
                (bt.analyzers.GrossLeverage, {}),
                (bt.analyzers.LogReturnsRolling, {}),
                (bt.analyzers.PositionsValue, {}),
                (bt.analyzers.TimeReturn, MONTHLY),
                (type("Mine", (bt.analyzers.TimeReturn,), {}), {}),
            ],
            id="a subclass after others that map dates to numbers",
        ),
    ],
)
def test_returns_are_found_among_the_analyzers(analyzers):
    for order in (analyzers, analyzers[::-1]):
        strategy, growth = run_cerebro(*order)
        found = find_returns(strategy)
        assert len(found) == 70
        assert (1 + found).prod() == pytest.approx(growth)


def test_our_own_strategies_need_no_analyzer():
    cerebro = bt.Cerebro(stdstats=False)
    add_bars(cerebro, make_bars(40), roles=("equity", "bond"))
    cerebro.addstrategy(FixedMix, weights=(0.6, 0.4, 0.0))
    growth = (1 + find_returns(cerebro.run()[0])).prod()
    assert growth == pytest.approx(cerebro.broker.getvalue() / 10_000)


def feeding_cerebro(*analyzers):
    """Return a strategy that ran on feeds named SPY and QQQ, and QQQ's closes."""
    rng = np.random.default_rng(6)
    cerebro = bt.Cerebro(stdstats=False)
    closes = {}
    for name in ("SPY", "QQQ"):
        close = 100 * np.cumprod(1 + rng.normal(0, 0.01, 70))
        bars = dict.fromkeys(("open", "high", "low", "close"), close)
        frame = pd.DataFrame(bars, pd.bdate_range("2020-01-02", periods=70))
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
        closes[name] = frame["close"]
    cerebro.addstrategy(BuyAndHold)
    cerebro.addanalyzer(bt.analyzers.TimeReturn)
    for settings in analyzers:
        cerebro.addanalyzer(
            bt.analyzers.TimeReturn, data=cerebro.datas[settings], _name="against"
        )
    return cerebro.run()[0], closes["QQQ"]


def test_a_benchmark_is_a_feed_a_series_or_prices_and_named_by_its_feed(tmp_path):
    strategy, closes = feeding_cerebro()
    returns = closes.pct_change().iloc[1:]
    by_feed = find_benchmark("qqq", strategy)
    for found in (by_feed, find_benchmark(closes, strategy)):
        assert list(found.index) == list(returns.index)
        assert found.to_numpy() == pytest.approx(returns.to_numpy())
    assert by_feed.name == "QQQ"
    assert find_benchmark(returns, strategy) is returns
    assert find_benchmark(None, strategy) is None
    page = tearsheet(strategy, tmp_path / "page.html", benchmark="QQQ").read_text()
    assert re.search(r'<th scope="col">QQQ</th>', page)
    with pytest.raises(RunError, match="got 'TLT'; feeds: SPY, QQQ"):
        find_benchmark("TLT", strategy)
    with pytest.raises(RunError, match="or the name of a feed, got int"):
        find_benchmark(3, strategy)


def test_the_feed_of_an_analyzer_is_the_benchmark_unless_another_is_given():
    strategy, closes = feeding_cerebro(1)
    found = find_benchmark(None, strategy)
    assert found.name == "QQQ"
    assert found.iloc[1:].to_numpy() == pytest.approx(
        closes.pct_change().iloc[1:].to_numpy()
    )


@pytest.mark.parametrize(
    "analyzer", ["DrawDown", "GrossLeverage", "LogReturnsRolling", "PositionsValue"]
)
def test_a_run_without_returns_is_told_what_to_add(analyzer, tmp_path):
    strategy, _ = run_cerebro((getattr(bt.analyzers, analyzer), {}))
    with pytest.raises(RunError, match=re.escape("addanalyzer(bt.analyzers.TimeRet")):
        tearsheet(strategy, tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("returns", "rule"),
    [
        (pd.Series([0.1, 0.2]), "must be indexed by dates, got int64"),
        (random_returns(5).iloc[::-1], "in order, 2010-01-07 does not follow"),
        (random_returns(5) - 2, "at least -1, on 2010-01-04 got"),
        (random_returns(5) * np.nan, "at least one return, got none"),
        (random_returns(200).iloc[::20], "must be daily"),
    ],
    ids=["index", "order", "range", "empty", "monthly"],
)
def test_bad_returns_are_refused(returns, rule, tmp_path):
    with pytest.raises(RunError, match=re.escape(rule)):
        tearsheet(returns, tmp_path / "x.html")


def test_a_missing_file_of_a_run_is_named(tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        build(tmp_path / "nowhere")
    write_fake_run(tmp_path, start="2010-06-01", end="2011-06-01")
    (tmp_path / "weights.parquet").write_bytes(b"not parquet")
    with pytest.raises(RunError, match=re.escape("weights.parquet: cannot be read")):
        build(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(
        RunError, match=r"run\.json: `the whole`: Input should be an object, got \[\]"
    ):
        build(tmp_path)


def spoil_summary(folder, path, value):
    """Write `value` at `path` of summary.json; remove the key where it is None."""
    content = json.loads((folder / "summary.json").read_text())
    *parents, last = path
    inner = content
    for key in parents:
        inner = inner[key]
    inner.pop(last) if value is None else inner.update({last: value})
    (folder / "summary.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (["cash"], None, "must hold `cash`, which is missing"),
        (["bars", "roles", "bond", "notes"], None, "`bars.roles.bond.notes`, which is"),
        (["strategies", "trm", "sharpe"], None, "`strategies.trm.sharpe`, which is"),
        (["strategies", "spy"], None, "`strategies`: must hold every strategy, spy"),
        (["crises", 4, "model"], None, "must hold `crises.4.model`, which is missing"),
        (["crises", 4, "total_return"], {}, "`crises.4.total_return`: must hold every"),
        (["crises", 0, "covered"], True, "a covered crisis must hold sessions, which"),
        (["seed"], "x", "`seed`: Input should be a valid integer"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_a_summary_lacks_is_named(path, value, rule, tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    spoil_summary(tmp_path, path, value)
    with pytest.raises(RunError, match=rf"summary\.json: .*{re.escape(rule)}"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("equity", "spy"),
        ("crisis_equity", "growth"),
        ("weights", "bond"),
        ("decisions", "halt_prob"),
    ],
)
def test_a_column_that_a_table_lacks_is_named(table, column, tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    path = tmp_path / f"{table}.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    rule = rf"{table}\.parquet: must have the column `{column}`"
    with pytest.raises(RunError, match=rule):
        build(tmp_path)


def test_tables_without_rows_or_levels_are_refused(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    path = tmp_path / "crisis_equity.parquet"
    table = pd.read_parquet(path)
    table.rename(index={"flash_crash": "other"}, level="crisis").to_parquet(path)
    with pytest.raises(RunError, match="flash_crash: must hold a base row and at leas"):
        build(tmp_path)
    table.reset_index().to_parquet(path)
    with pytest.raises(RunError, match="must be indexed by crisis and session"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "etc_passwd"), ("Über Crash", "ber_crash"), ("", "unnamed")],
)
def test_names_become_safe_file_names(name, safe):
    assert safe_name(name) == safe
