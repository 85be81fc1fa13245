"""Several runs side by side: what differs, and what each came to."""

import json
import re

import pandas as pd
import pytest

from tests.command_line import invoke
from tests.fakes_run import write_fake_run
from tests.test_report_index import table_of, visible
from trm_bt.report.templating import percent


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    write_fake_run(place / "a", start="2009-06-01", end="2011-03-31")
    write_fake_run(place / "b", start="2010-01-04", end="2010-12-30", seed=8)
    text = (place / "b/run.json").read_text()
    (place / "b/run.json").write_text(
        text.replace('"cost_bps": 5.0', '"cost_bps": 9.0')
    )
    (place / "a/index.html").write_text("the index of a")
    code, out, error = invoke("compare", place / "a", place / "b", "--json")
    assert code == 0, error
    return place, json.loads(out), (place / "side_by_side_a_b/index.html").read_text()


def test_settings_that_differ_are_told_and_no_others(runs):
    _, facts, page = runs
    assert facts["settings"] == {"config.backtest.cost_bps": ["5.0", "9.0"]}
    rows = table_of(page.replace("<wbr>", ""), "settings")
    assert rows == [["Setting", "a", "b"], ["config.backtest.cost_bps", "5.0", "9.0"]]


def test_long_names_of_settings_may_break_after_a_dot(runs):
    _, _, page = runs
    assert "config.<wbr>backtest.<wbr>cost_bps" in page


def test_figures_are_those_of_each_summary(runs):
    place, facts, page = runs
    rows = {row[0]: row for row in table_of(page, "figures")[1:]}
    for name in ("a", "b"):
        summary = json.loads((place / name / "summary.json").read_text())
        ours = summary["strategies"]["trm"]
        assert facts["runs"][name]["sharpe"] == ours["sharpe"]
        assert rows[name][2] == percent(ours["total_return"])
        assert rows[name][6] == percent(ours["max_drawdown"])


def test_crises_stand_beside_one_another_with_a_dash_where_a_run_has_none(runs):
    place, _, page = runs
    rows = {row[0]: row[1:] for row in table_of(page, "side-crises")[1:]}
    for column, name in enumerate(("a", "b")):
        summary = json.loads((place / name / "summary.json").read_text())
        (crisis,) = [c for c in summary["crises"] if c["name"] == "flash_crash"]
        shown = percent(crisis["total_return"]["trm"])
        assert rows["Flash crash"][column].startswith(shown)


def test_crises_stand_in_the_order_of_their_dates(tmp_path):
    write_fake_run(tmp_path / "late", start="2010-01-04", end="2012-06-30")
    write_fake_run(tmp_path / "early", start="2008-09-12", end="2010-12-30")
    code, _, error = invoke("compare", tmp_path / "late", tmp_path / "early")
    assert code == 0, error
    page = (tmp_path / "side_by_side_late_early/index.html").read_text()
    assert [row[0] for row in table_of(page, "side-crises")[1:]] == [
        *("Financial crisis", "Flash crash", "European debt crisis")
    ]


def test_growth_begins_where_all_runs_have_sessions_and_links_lead_to_indexes(runs):
    place, _, page = runs
    both = pd.read_parquet(place / "b/equity.parquet").index
    assert f"From {both[0].date()}, the first common session" in visible(page)
    head = page[page.index("<header") : page.index("</header>")]
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', head) == [("../a/index.html", "a")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{a}", "{a}"), "each run must be given once"),
        (("{a}", "{b}", "--draws", "500"), "apply to one run, got 2"),
        (("{a}", "{b}"), "side_by_side_a_b"),  # there is one, and no --force
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(runs, arguments, message):
    place = runs[0]
    words = [word.format(a=place / "a", b=place / "b") for word in arguments]
    code, _, error = invoke("compare", *words)
    assert code in (1, 2)
    assert message in error
