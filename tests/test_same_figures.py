"""A figure that stands in several places is the same in all of them."""

import csv
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from tests.fakes_run import write_fake_run
from tests.test_report_index import page_of, table_of, visible
from trm_bt.cli.tables import crisis_table, strategy_table
from trm_bt.evaluation.claims import Lead
from trm_bt.report.crisis_windows import windows_of
from trm_bt.report.models import read_models
from trm_bt.report.pages import crisis_frame
from trm_bt.report.run_sheets import run_sheets
from trm_bt.report.sections.earned import earned
from trm_bt.report.sections.measures import measures
from trm_bt.report.templating import fill, label
from trm_bt.runfolder.store import read_run

SHOWN = ("trm", "spy", "sixty_forty")
MEASURES = {
    "total_return": "percent",
    "cagr": "percent",
    "volatility_annual": "percent",
    "sharpe": "number",
    "max_drawdown": "percent",
    "turnover_annual": "share",
}


def written(value, kind):
    """Write a figure by the rules of the issue, digit by digit."""
    if value is None:
        return "\N{EN DASH}"
    scaled, unit = (value, "") if kind == "number" else (100 * value, "%")
    digits = f"{abs(scaled):,.{2 if kind == 'number' else 1}f}"
    is_nothing = not re.search("[1-9]", digits)
    if kind == "share" and value > 0 and is_nothing:
        return "< 0.1%"
    sign = "\N{MINUS SIGN}" if scaled < 0 and not is_nothing else ""
    return f"{sign}{digits}{unit}"


def printed(table):
    """Return the rows of a table as the terminal prints them."""
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    return {
        cells[0]: cells[1:]
        for line in lines
        if (cells := [part.strip() for part in re.split("[│┃]", line)[1:-1]])
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_fake_run(folder, start="2008-09-12", end="2010-06-30")
    summary = json.loads((folder / "summary.json").read_text())
    summary["strategies"]["spy"]["total_return"] = -0.0004  # no negative zero
    summary["strategies"]["spy"]["turnover_annual"] = 0.0002
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_every_strategy_has_the_same_figures_on_page_and_terminal(folder, summary):
    page = {row[0]: row[1:] for row in table_of(page_of(folder), "strategies")[1:]}
    terminal = printed(strategy_table(read_run(folder).summary))
    for name, figures in summary["strategies"].items():
        expected = [written(figures[key], kind) for key, kind in MEASURES.items()]
        (shown,) = [v for k, v in page.items() if re.match(rf"{label(name)}( \d|$)", k)]
        assert shown == terminal[name] == expected, name


@pytest.mark.slow
def test_every_crisis_has_the_same_figures_wherever_it_stands(folder, summary):
    run = read_run(folder)
    windows = windows_of(run, read_models(folder))
    text = crisis_frame(windows).to_csv(index=False)
    saved = {(r["crisis"], r["strategy"]): r for r in csv.DictReader(text.splitlines())}
    index = {row[0]: row for row in table_of(page_of(folder), "crises")[2:]}
    terminal = printed(crisis_table(run.summary.crises))
    sheets = {s.title: s for _, s in run_sheets(run, windows)}
    covered = [crisis for crisis in summary["crises"] if crisis["covered"]]
    assert covered
    for crisis in covered:
        values = [crisis[k][n] for k in ("total_return", "max_drawdown") for n in SHOWN]
        expected = [written(value, "percent") for value in values]
        name = label(crisis["name"])
        row = next(v for k, v in index.items() if k.startswith(name))
        assert row[1] == f"{crisis['sessions']:,}"
        assert row[2:8] == terminal[crisis["name"]][3:] == expected
        sheet = table_of(fill("crisis_alone", sheets[name]), "compared")
        alone = {cells[0]: cells for cells in sheet[1:]}
        for n in SHOWN:
            entry = saved[crisis["name"], n]
            for key, column in (("total_return", 1), ("max_drawdown", 2)):
                assert float(entry[key]) == pytest.approx(crisis[key][n], abs=1e-12)
                assert alone[label(n)][column] == written(crisis[key][n], "percent")
            back = entry["recovered_on"]
            assert alone[label(n)][4] == (back or f"not by {run.equity.index[-1]:%F}")
            if back:
                assert pd.Timestamp(back) in run.equity.index


def test_counts_have_their_thousands_marked_in_the_terminal(folder):
    summary = read_run(folder).summary.model_copy(deep=True)
    long = summary.model_copy(
        update={
            "out_of_sample": summary.out_of_sample.model_copy(update={"sessions": 4969})
        }
    )
    assert "4,969 sessions" in strategy_table(long).title


@pytest.mark.slow
@pytest.mark.parametrize("is_tested", [False, True])
def test_an_index_says_whether_its_headline_is_tested(folder, summary, is_tested):
    path = folder / "summary.json"
    lead = Lead(0.1, -0.1, 0.3, 0.2, 0.4)
    leads = {n: vars(lead) for n in summary["strategies"] if n != "trm"}
    try:
        path.write_text(json.dumps({**summary, "leads": leads if is_tested else {}}))
        text = " ".join(visible(page_of(folder)).split())
    finally:
        path.write_text(json.dumps(summary))
    assert ("(not tested)" in text) != is_tested
    assert ("No figure on this page has been tested" in text) != is_tested
    assert ("TRM did not beat" in text) == is_tested
    assert ("p = 0.20, corrected p = 0.40" in text) == is_tested


@pytest.mark.slow
def test_a_tearsheet_has_no_second_sharpe_ratio(folder):
    run = read_run(folder)
    whole = next(sheet for _, sheet in run_sheets(run, []))
    page = visible(measures(whole))
    assert "Max Drawdown" in page
    assert not re.search(r"^\s*(Smart |Prob\. )?(Sharpe|Sortino)", page, re.MULTILINE)
    assert "Annual Sharpe ratio over" not in earned(whole)
    unpaid = replace(whole, is_cash_paid=False)
    assert "Annual Sharpe ratio over" in earned(unpaid)
    assert re.search(r"^\s*Sharpe", visible(measures(unpaid)), re.MULTILINE)


@pytest.mark.slow
def test_the_top_of_an_index_says_what_the_model_is_worth(folder):
    table = pd.read_parquet(folder / "decisions.parquet")
    winners = pd.read_parquet(folder / "labels.parquet")["winner"]
    sure, right, n_known = 0.0, 0, 0
    for row in table[table["run"] == "out_of_sample"].itertuples():
        if row.session in winners.index and not pd.isna(row.allocation):
            n_known += 1
            sure += row.confidence
            right += row.allocation == winners[row.session]
    text = " ".join(visible(page_of(folder)).split())
    sure, right = (written(part / n_known, "percent") for part in (sure, right))
    assert f"Its mean confidence was {sure}, and it was right on {right} of " in text
    assert f"the {n_known:,} decisions whose outcome is known" in text
    assert "No model beats the majority class of its validation sessions." in text
