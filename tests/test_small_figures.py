"""Shares that are nearly nothing or nearly all, and turnover with its span."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.fakes_run import write_fake_run
from tests.test_report_index import page_of, table_of, visible
from trm_bt.cli.tables import compare_table, strategy_table
from trm_bt.evaluation.crisis_figures import CrisisFigures
from trm_bt.market.crises import Crisis
from trm_bt.report.contents import Sheet
from trm_bt.report.crisis_windows import Window
from trm_bt.report.tearsheets import render_sheet
from trm_bt.runfolder.store import read_run

SESSIONS = pd.bdate_range("2010-05-05", "2010-06-30")


@pytest.fixture
def folder(tmp_path):
    """A run of 43 sessions whose gaps are of every size."""
    folder = write_fake_run(tmp_path, start="2010-05-03", end="2010-06-30")
    summary = json.loads((folder / "summary.json").read_text())
    summary["orders"]["gaps"] = {
        "fill": {"median": 0.0, "p95": 3e-12, "p99": 0.00049, "largest": 0.0006},
        "close": {"median": 0.012, "p95": 0.5, "p99": 0.9996, "largest": 1.0},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_a_gap_of_nothing_is_told_from_a_small_one(folder):
    rows = table_of(page_of(folder), "gaps")
    assert rows[1] == ["at the fill", "0.0%", "< 0.1%", "< 0.1%", "0.1%"]
    assert rows[2] == ["at the close", "1.2%", "50.0%", "> 99.9%", "100.0%"]


def test_one_session_of_many_is_a_share(folder):
    """Of 4,000 sessions, one went to the first allocation and took two steps."""
    table = pd.read_parquet(folder / "decisions.parquet")
    row = table[table["run"] == "out_of_sample"].dropna(subset=["allocation"]).iloc[-1:]
    many = row.loc[np.repeat(row.index, 4000)].reset_index(drop=True)
    many["session"] = pd.bdate_range("1995-01-02", periods=4000)
    many[["allocation", "allocation_name", "n_steps"]] = [4, "growth", 1]
    many.loc[7, ["allocation", "allocation_name", "n_steps"]] = [0, "defensive", 2]
    others = table[table["run"] != "out_of_sample"]
    pd.concat([many, others]).to_parquet(folder / "decisions.parquet")
    page = page_of(folder)
    shares = {row[0]: row[1:3] for row in table_of(page, "decisions")}
    assert shares["Ultra defensive"] == ["1", "< 0.1%"]
    assert shares["Growth"] == ["3,999", "> 99.9%"]
    assert shares["Balanced safe"] == ["0", "0.0%"]
    text = " ".join(visible(page).split())
    assert "1 step on 3,999 sessions (> 99.9%), 2 steps on 1 session (< 0.1%)" in text


@pytest.mark.parametrize("is_crisis", [False, True])
@pytest.mark.parametrize(
    ("turnover", "shown"), [(0.0, "0.0%"), (2e-5, "< 0.1%"), (7.25, "725.0%")]
)
def test_turnover_of_a_tearsheet_is_that_of_all_its_sessions(
    is_crisis, turnover, shown
):
    flat = pd.Series(0.0, SESSIONS)
    walk = np.linspace(1.0, 1.1, len(SESSIONS))
    equity = pd.DataFrame({"trm": walk, "spy": walk, "sixty_forty": walk}, SESSIONS)
    weights = dict.fromkeys(("equity", "bond", "cash"), walk / 4)
    crisis = Window(
        Crisis("two sessions", SESSIONS[1], SESSIONS[2]),
        is_own=True,
        equity=equity.iloc[:3],
        context=equity,
        weights=pd.DataFrame(weights, SESSIONS),
        seen=pd.DataFrame(index=SESSIONS),
    )
    figures = CrisisFigures(0.0, 0.0, 0.0, SESSIONS[1], 0, None, turnover)
    rows = (("TRM", figures),)
    sheet = Sheet("Run", flat, compared=rows, window=crisis if is_crisis else None)
    page = render_sheet(sheet)
    head, row = table_of(page, "compared")
    assert (head[-1], row[-1]) == ("Total turnover", shown)
    text = " ".join(visible(page).split())
    assert "over all these sessions and not annualised" in text
    assert ("From the close before the crisis" in text) == is_crisis


def test_turnover_in_the_terminal_is_said_to_be_annual(folder):
    span = SimpleNamespace(start="2010-05-03", end="2010-06-30", sessions=43)
    comparison = SimpleNamespace(
        run="a", span=span, strategies={}, tests=None, cost_bps=5.0, cash="none"
    )
    assert "Turnover is annual." in strategy_table(read_run(folder).summary).caption
    assert "Turnover: annual." in compare_table(comparison).caption
