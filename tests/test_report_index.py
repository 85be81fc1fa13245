"""The page of a run, read as a reader would: its tables, and what it leaves out."""

import hashlib
import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.fakes_run import write_fake_run
from trm_bt.errors import RunError
from trm_bt.evaluation.claims import Lead
from trm_bt.market.crises import Crisis
from trm_bt.market.features import FEATURE_NAMES
from trm_bt.report.charts import live_charts
from trm_bt.report.contents import RunContent
from trm_bt.report.crisis_windows import windows_of
from trm_bt.report.csv_tables import write_csv_tables
from trm_bt.report.index import render_index
from trm_bt.report.models import read_models
from trm_bt.report.pages import crisis_frame
from trm_bt.report.plain_words import plain_verdict
from trm_bt.report.templating import label, percent
from trm_bt.runfolder.holding import DecisionReport
from trm_bt.runfolder.store import read_run

HOSTILE = "=HYPERLINK(1)<script>alert(1)</script>"
OWN = Crisis(HOSTILE, pd.Timestamp("2010-02-01"), pd.Timestamp("2010-02-26"))


def visible(page):
    """Return what a page shows, without scripts, styles and pictures."""
    body = re.sub(
        r"<(style|script|svg)\b.*?</\1>|<!--.*?-->", "", page, flags=re.DOTALL
    )
    return html.unescape(re.sub(r"<[^>]+>", "\n", body))


def page_of(folder, own=()):
    run = read_run(folder)
    models = read_models(folder)
    return render_index(RunContent(run, windows_of(run, models, own), models))


def table_of(page, name):
    """Return the rows of a table as lists of cells, the head first."""
    table = page[page.index(f'<table id="{name}"') :]
    table = table[: table.index("</table>")]
    rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
    cells = [re.findall(r"<t[dh].*?</t[dh]>", row, flags=re.DOTALL) for row in rows]
    return [[" ".join(visible(cell).split()) for cell in row] for row in cells]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return write_fake_run(folder, start="2008-09-12", end="2012-06-30")


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder, [OWN])


def test_all_twelve_crises_are_listed_and_those_without_data_say_so(page):
    rows = table_of(page, "crises")[2:]
    assert len(rows) == 12 + 1
    assert sum("no data" in row[1] for row in rows) == 9


def test_figures_are_those_of_the_summary_to_the_last_digit(folder, page):
    summary = json.loads((folder / "summary.json").read_text())
    rows = dict(re.findall(r'<tr data-crisis="(\w+)">(.*?)</tr>', page, re.DOTALL))
    for crisis in summary["crises"]:
        for key, name in (("trm", "trm"), ("spy", "spy"), ("mix", "sixty_forty")):
            for kind, figure in (
                ("return", "total_return"),
                ("drawdown", "max_drawdown"),
            ):
                found = re.search(rf'data-{key}-{kind}="(.*?)"', rows[crisis["name"]])
                if crisis["covered"]:
                    assert float(found[1]) == crisis[figure][name]
                else:
                    assert found is None
    rows = re.findall(r'<tr[^>]*><td data-name="(\w+)">(.*?)</tr>', page, re.DOTALL)
    assert [name for name, _ in rows] == list(summary["strategies"])
    for name, row in rows:
        for figure, value in summary["strategies"][name].items():
            found = re.search(rf'data-{figure}="(.*?)"', row)
            assert float(found[1]) == value


@pytest.mark.slow
def test_a_figure_without_meaning_is_a_dash_and_sorts_as_none(folder, tmp_path):
    write_fake_run(tmp_path, start="2010-05-03", end="2010-06-01")
    page = page_of(tmp_path)
    assert 'data-sharpe=""' in page
    assert table_of(page, "strategies")[1][4] == "\N{EN DASH}"
    assert 'id="months"' not in page  # too short for months and years


def test_decisions_are_counted_by_the_likeliest_allocation(folder, page):
    rows = table_of(page, "decisions")
    decisions = pd.read_parquet(folder / "decisions.parquet")
    asked = decisions[decisions["run"] == "out_of_sample"]
    counts = asked["allocation_name"].fillna("abstained (cash)").value_counts()
    assert rows[0][0] == "Most probable allocation"
    assert {row[0]: int(row[1].replace(",", "")) for row in rows[1:]} == {
        label(name): count for name, count in counts.items()
    }


@pytest.mark.slow
def test_the_title_names_no_crisis_that_is_not_covered(page, tmp_path):
    quiet = write_fake_run(tmp_path, start="2013-01-02", end="2013-06-03")
    for text, title in (
        (page, "TRM through 3 of 12 crises"),
        (page_of(quiet, [OWN]), "TRM out of sample"),
    ):
        assert f"<title>{title}</title>" in text
        assert f"<h1>{title}</h1>" in text


def test_orders_are_said_to_be_of_all_portfolios(page):
    assert "Orders of all portfolios: 250 submitted" in " ".join(visible(page).split())


def test_the_last_step_is_not_laid_to_the_halt_head(page):
    text = " ".join(visible(page).split())
    assert "The recursion took 1 step on" in text
    assert "halt head stopped" not in text


def test_steps_are_counted_where_a_model_decided(folder, page):
    decisions = pd.read_parquet(folder / "decisions.parquet")
    decided = decisions[decisions["run"] == "out_of_sample"].dropna(
        subset=["allocation"]
    )
    told = re.findall(r"(\d+) steps? on ([\d,]+) sessions?", visible(page))
    assert {int(n): int(count.replace(",", "")) for n, count in told} == dict(
        decided["n_steps"].value_counts()
    )


def test_what_the_model_saw_is_scaled_as_its_own_training_was(folder, page):
    rows = {row[0]: row[1:] for row in table_of(page, "seen")}
    assert rows["Crisis"] == [label(name) for name in FEATURE_NAMES]
    decisions = pd.read_parquet(folder / "decisions.parquet")
    crisis = decisions[decisions["run"] == "flash_crash"]
    inside = crisis[crisis["session"] >= "2010-05-06"]
    assert len(inside) == 2
    for name, cell in zip(FEATURE_NAMES, rows["Flash crash"], strict=True):
        mean = sum((value - 2.0) / 2.0 for value in inside[name]) / 2
        assert cell.replace("\N{MINUS SIGN}", "-") == f"{mean + 0.0:.1f}"


def test_months_and_years_are_those_of_the_equity_and_blank_outside(folder, page):
    equity = pd.read_parquet(folder / "equity.parquet")["trm"]
    rows = {row[0]: row[1:] for row in table_of(page, "months")[1:]}
    assert list(rows) == ["2008", "2009", "2010", "2011", "2012"]
    sessions = equity.index[1:]
    for year, cells in rows.items():
        for month, cell in enumerate(cells[:12], 1):
            inside = sessions[(sessions.year == int(year)) & (sessions.month == month)]
            if inside.empty:
                assert cell == ""
                continue
            before = equity[equity.index < inside[0]].iloc[-1]
            assert cell == percent(equity[inside[-1]] / before - 1)
    assert rows["2008"][:8] == [*rows["2012"][6:12], "", ""] == [""] * 8


def test_a_tile_shows_each_figure_beside_sixty_forty(folder, page):
    summary = json.loads((folder / "summary.json").read_text())
    tiles = re.search(r'<ul class="tiles".*?</ul>', page, re.DOTALL)[0]
    text = " ".join(visible(tiles).split())
    ours, mix = summary["strategies"]["trm"], summary["strategies"]["sixty_forty"]
    for heading, key in (
        ("Total return", "total_return"),
        ("CAGR", "cagr"),
        ("Annual volatility", "volatility_annual"),
        ("Max drawdown", "max_drawdown"),
    ):
        assert f"{heading} {percent(ours[key])} 60/40 {percent(mix[key])}" in text


def test_tables_for_spreadsheets_hold_the_continuous_run(folder, tmp_path):
    write_csv_tables(read_run(folder), tmp_path)
    read = {
        name: pd.read_csv(tmp_path / name, parse_dates=["session"])
        for name in ("equity.csv", "weights.csv", "decisions.csv")
    }
    equity = pd.read_parquet(folder / "equity.parquet")
    assert list(read["equity.csv"]["session"]) == list(equity.index)
    assert np.allclose(read["equity.csv"]["trm"], equity["trm"], rtol=1e-7)
    for name in ("weights", "decisions"):
        whole = pd.read_parquet(folder / f"{name}.parquet")
        ours = whole[whole["run"] == "out_of_sample"]
        assert list(read[f"{name}.csv"]["session"]) == list(ours["session"])
    orders = pd.read_parquet(folder / "orders.parquet")
    trades = pd.read_csv(tmp_path / "trades.csv")
    assert len(trades) == (orders["strategy"] == "trm").sum()


def decided(**changes):
    """Return what `trm-bt decide --json` prints, with an input outside its range."""
    reading = {"value": 80.0, "z_score": 14.7, "low": 9.0, "high": 40.0}
    reading |= {"is_outside": True, "change": 1.0, "status": "proxy"}
    report = dict.fromkeys(DecisionReport.model_fields) | {
        "session": "2012-06-29",
        "allocation": "growth",
        "weights": {"equity": 0.8, "bond": 0.15, "cash": 0.05},
        "weights_decided_on": "2012-06-29",
        "n_steps": 2,
        "model": "flash_crash",
        "knows_until": "2010-04-26",
        "features": {"vix_level": reading},
        "outside": ["vix_level"],
    }
    return report | changes


@pytest.mark.slow
def test_the_index_says_what_is_held_now_and_since_when(folder, page, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    assert 'id="now"' not in page
    (copy / "now.json").write_text(json.dumps(decided()))
    text = " ".join(visible(page_of(copy)).split())
    assert "Held after the close of 2012-06-29: 80.0% equity, 15.0% bond" in text
    assert "VIX level at 14.7 standard deviations" in text
    table = pd.read_parquet(copy / "decisions.parquet")
    rows = table[table["run"] == "out_of_sample"].set_index("session")["allocation"]
    newest, since = rows.iloc[-1], None
    for session, value in reversed(list(rows.items())):
        if pd.isna(value):
            continue
        if value != newest:
            break
        since = session
    assert (
        f"Most probable: Growth, since {since.date()}, by the model flash_crash" in text
    )
    (copy / "now.json").write_text("{}")
    with pytest.raises(RunError, match=r"now\.json: cannot be read"):
        page_of(copy)


@pytest.mark.slow
def test_inputs_outside_the_training_are_told_on_top(folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    for path in copy.glob("checkpoints/*/checkpoint.json"):
        content = json.loads(path.read_text())
        content["scaler"] |= {"low": [-2.0] * 10, "high": [6.0] * 10}
        path.write_text(json.dumps(content))
    table = pd.read_parquet(copy / "decisions.parquet")
    rows = table[table["run"] == "out_of_sample"]
    names, n_outside, farthest = list(FEATURE_NAMES), 0, (0.0, "", None)
    shift = {
        path.parent.name: json.loads(path.read_text())["scaler"]["mean"][0]
        for path in copy.glob("checkpoints/*/checkpoint.json")
    }
    for row in rows.to_dict("records"):
        n_outside += any(not -2.0 <= row[name] <= 6.0 for name in names)
        for name in names:
            score = (row[name] - shift[row["base_model"]]) / 2.0
            farthest = max(farthest, (abs(score), name, row["session"]))
    text = " ".join(visible(page_of(copy)).split())
    assert f"On {n_outside:,} of {len(rows):,} sessions at least one input lay" in text
    size, name, session = farthest
    assert f"Most extreme input: {label(name)} on {session.date()}" in text
    assert f"{size:.1f} standard deviations" in text


@pytest.mark.parametrize(
    ("p_values", "said"),
    [
        (None, "No figure here was tested against chance"),
        ((0.4, 0.4), "TRM is not shown to be better or worse than SPY or 60/40"),
        (
            (0.01, 0.4),
            "TRM had a higher risk-adjusted return than SPY; it is not shown to be",
        ),
    ],
)
def test_the_first_sentence_says_no_more_than_the_test(folder, p_values, said):
    summary = read_run(folder).summary
    if p_values:
        leads = {
            name: Lead(0.3, 0.1, 0.5, p, p)
            for name, p in zip(("spy", "sixty_forty"), p_values, strict=True)
        }
        summary = summary.model_copy(update={"leads": leads})
    first, money = plain_verdict(summary)
    assert first.startswith(said)
    equity = pd.read_parquet(folder / "equity.parquet")
    became = 100 * equity.iloc[-1] / equity.iloc[0]
    assert f"became {became['trm']:,.0f} by" in money
    assert f"{became['spy']:,.0f} in SPY and {became['sixty_forty']:,.0f} in" in money


def test_calibration_counts_only_decisions_with_a_known_outcome(folder, page):
    decisions = pd.read_parquet(folder / "decisions.parquet")
    winner = pd.read_parquet(folder / "labels.parquet")["winner"]
    asked = decisions[decisions["run"] == "out_of_sample"]
    counts = {}
    for row in asked.itertuples():
        if row.session in winner.index and not pd.isna(row.allocation):
            tenth = int(row.confidence * 10)
            n, right = counts.get(tenth, (0, 0))
            counts[tenth] = n + 1, right + (row.allocation == winner[row.session])
    rows = table_of(page, "calibration")[1:]
    assert len(rows) == len(counts)
    for row, (tenth, (n, right)) in zip(rows, sorted(counts.items()), strict=True):
        assert row[0].startswith(f"{10 * tenth}.0%")
        assert int(row[1].replace(",", "")) == n
        assert row[3] == percent(right / n)


def test_reliability_is_shown_at_the_temperatures_that_models_have(
    folder, page, tmp_path
):
    """Models that know the same labels are one ensemble, of one mean temperature."""
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    run = json.loads((copy / "run.json").read_text())
    assert "calibrated" not in page
    by_until = {}
    for number, model in enumerate(run["models"]):
        model["temperature"] = 1.5 + number
        by_until.setdefault(model["trained_until"], []).append(1.5 + number)
    (copy / "run.json").write_text(json.dumps(run))
    until = {model["name"]: model["trained_until"] for model in run["models"]}
    decisions = pd.read_parquet(copy / "decisions.parquet")
    winner = pd.read_parquet(copy / "labels.parquet")["winner"]
    asked = decisions[decisions["run"] == "out_of_sample"].dropna(subset="allocation")
    counts = {}
    for row in asked[asked["session"].isin(winner.index)].to_dict("records"):
        same = by_until[until[row["base_model"]]]
        temperature = np.prod(same) ** (1 / len(same))
        probs = [row[key] for key in row if key.startswith("prob_")]
        powers = [p ** (1 / temperature) for p in probs]
        tenth = min(int(10 * max(powers) / sum(powers)), 9)
        n, right = counts.get(tenth, (0, 0))
        counts[tenth] = n + 1, right + (row["allocation"] == winner[row["session"]])
    shown = page_of(copy)
    rows = table_of(shown, "calibrated")[1:]
    for row, (tenth, (n, right)) in zip(rows, sorted(counts.items()), strict=True):
        assert row[0].startswith(f"{10 * tenth}.0%")
        assert int(row[1].replace(",", "")) == n
        assert row[3] == percent(right / n)
    assert table_of(shown, "calibration") == table_of(page, "calibration")


def test_model_cards_are_text_and_tables(page):
    card = page[page.index('class="card"') :]
    card = card[: card.index("</details>")]
    assert "<strong>card</strong>" in card
    assert "<td>1</td>" in card
    assert "&lt;script&gt;alert(2)" in card


def test_features_cash_and_library_are_declared(page):
    text = visible(page)
    assert "Cash: earned 3-month constant-maturity treasury yield." in text
    assert "Sharpe, excess of cash" in text
    statuses = {row[0]: row[1] for row in table_of(page, "features")}
    assert statuses["VIX level"] == "proxy"
    assert statuses["Volume ratio"] == "observed"
    assert re.search(r"Charts by uPlot [\d.]+ \(MIT licence\), 51 kB", text)
    assert "Leon Sorokin" in page


def test_universes_that_models_were_also_trained_on_are_named(folder, page, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    run = json.loads((copy / "run.json").read_text())
    run["pooled"] = {
        name: {**run["bars"], "start": "2001-08-27"} for name in ("A", "B")
    }
    (copy / "run.json").write_text(json.dumps(run))

    text = " ".join(visible(page_of(copy)).split())

    end = run["bars"]["end"]
    assert f"not decided: A, 2001-08-27 to {end}; B, 2001-08-27 to {end}." in text
    assert "also trained on" not in visible(page)


def test_a_window_of_ones_own_is_cut_from_the_continuous_run(folder, page):
    equity = pd.read_parquet(folder / "equity.parquet")["trm"]
    before = equity[equity.index < OWN.start].iloc[-1]
    last = equity[equity.index <= OWN.end].iloc[-1]
    row = table_of(page, "crises")[-1]
    assert row[0].startswith(HOSTILE)
    assert row[2] == percent(last / before - 1)
    assert "<script>alert" not in page


def test_crises_csv_holds_no_formula(folder):
    run = read_run(folder)
    frame = crisis_frame(windows_of(run, read_models(folder), [OWN]))
    assert len(frame) == 9 + 4 * 11
    texts = frame[["crisis", "models", "reason", "strategy"]].to_numpy().ravel()
    assert not [text for text in texts if text[:1] in ("=", "+", "-", "@")]
    own = frame[frame["crisis"] == f"'{HOSTILE}"].set_index("strategy")
    equity = pd.read_parquet(folder / "equity.parquet")["spy"]
    shown = equity[(equity.index >= "2010-01-29") & (equity.index <= OWN.end)]
    assert own.loc["spy", "sessions"] == len(shown) - 1
    assert own["sessions_under_water"].between(0, len(shown) - 1).all()
    assert own.loc["spy", "total_return"] == pytest.approx(
        shown.iloc[-1] / shown.iloc[0] - 1
    )


@pytest.mark.slow
def test_a_window_that_the_run_lacks_says_what_is_missing(folder):
    reasons = {
        "2005-01-03": "not within the run's span",
        "2008-09-01": "only in part: the run's span begins 2008-09-12",
        "2012-06-01": "only in part: the run's span ends 2012-06-29",
    }
    firsts = map(pd.Timestamp, reasons)
    own = [Crisis(f"from {f}", f, f + pd.Timedelta(days=60)) for f in firsts]
    rows = table_of(page_of(folder, own), "crises")[-3:]
    assert [row[1] for row in rows] == [f"no data: {text}" for text in reasons.values()]


@pytest.mark.slow
def test_a_run_without_crisis_cash_rate_or_checkpoints_has_a_page(tmp_path):
    write_fake_run(tmp_path, start="2013-01-02", end="2013-03-01")
    content = json.loads((tmp_path / "summary.json").read_text())
    content["cash"] = "earned nothing: the bars have no cash rate"
    content["cash_rate"] = {"source": None, "reason": "the bars have no cash rate"}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    page = page_of(tmp_path)
    assert page.count("no data") == 12
    text = visible(page)
    assert "Cash: earned nothing: the bars have no cash rate." in text
    assert "\nSharpe\n" in text  # the column is there, its figures are dashes
    assert "excess" not in text
    assert "Sharpe ratio without a figure" in text
    assert "no crisis is covered" in text


@pytest.mark.slow
def test_checkpoints_that_are_gone_are_missed_aloud(folder, tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    text = visible(page_of(tmp_path))
    assert "the run folder has no checkpoints" in text
    assert "Model card" not in text


def test_a_damaged_checkpoint_is_named(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    path = tmp_path / "checkpoints/flash_crash/checkpoint.json"
    content = json.loads(path.read_text())
    for damaged, rule in (
        ({**content, "scaler": {**content["scaler"], "mean": "x"}}, "`scaler.mean`"),
        ({**content, "scaler": {**content["scaler"], "mean": [1.0]}}, "cannot be read"),
    ):
        path.write_text(json.dumps(damaged))
        with pytest.raises(RunError, match=re.escape(rule)) as caught:
            read_models(tmp_path)
        assert str(path) in str(caught.value)


def test_a_portfolio_value_that_is_none_is_refused(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    equity = pd.read_parquet(tmp_path / "equity.parquet")
    equity.loc["2010-03-09", "spy"] = np.nan
    equity.to_parquet(tmp_path / "equity.parquet")
    with pytest.raises(RunError, match="spy is nan on 2010-03-09"):
        read_run(tmp_path)


@pytest.mark.slow
def test_a_flat_run_still_has_a_page(tmp_path):
    write_fake_run(tmp_path, start="2010-03-01", end="2010-06-01")
    for name in ("equity", "crisis_equity"):
        table = pd.read_parquet(tmp_path / f"{name}.parquet").assign(trm=1e6)
        table.to_parquet(tmp_path / f"{name}.parquet")
    page = page_of(tmp_path)
    row = next(row for row in table_of(page, "crises") if row[0].startswith("Flash"))
    assert row[2] == "0.0%"


def test_the_chart_library_is_the_one_that_was_released(folder):
    script = live_charts(RunContent(read_run(folder), [], {}))
    parts = (script.sources[0], script.style, script.licence)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in parts]
    assert digests == ["19c8d4c6ad88929a", "df630c6a8d6f8eea", "8f989229699b4fe2"]
    assert not [text for text in script.sources if "</script" in text]
