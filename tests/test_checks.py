"""All counterfactuals count alone, and a check ends where it finds something."""

from dataclasses import replace

import pandas as pd
import pytest

from trm_bt.audit.checks import AuditSettings, Evaluation, run_check
from trm_bt.audit.counterfactual import Counterfactual
from trm_bt.audit.differences import DatedTable, table_by_session
from trm_bt.errors import ConfigError, LookAheadError

FEW = AuditSettings(n_cuts=10)


def evaluation(
    given: Counterfactual, value: float, *, at_open: float = 0.0
) -> Evaluation:
    """Say `value` about the cut, and `at_open` about the session opened last."""
    sessions = given.bars.sessions
    closes = pd.Series(0.0, sessions)
    closes[given.cut] = value if given.kind != "whole" else 0.0
    opens = pd.Series(0.0, sessions[sessions <= given.opened])
    opens[given.opened] = at_open if given.kind != "whole" else 0.0
    return Evaluation(
        {
            "close": table_by_session(closes, "closes"),
            "open": replace(table_by_session(opens, "opens"), is_at_open=True),
        }
    )


def first_close(given: Counterfactual) -> float:
    """Return what no future changes, and another past does."""
    return float(given.bars.equity["close"].iloc[0])


@pytest.mark.parametrize(
    ("kind", "names", "n_runs"),
    [
        ("cut", ["close"], 3),
        ("altered", ["close"], 4),
        ("opened", ["close", "open"], 4),
    ],
)
def test_a_difference_on_one_counterfactual_is_enough(bars, kind, names, n_runs):
    def evaluate(given):
        tables = evaluation(given, float(given.kind == kind)).tables
        return Evaluation({name: tables[name] for name in names})

    result = run_check("mine", evaluate, bars, FEW)
    assert result.difference.counterfactual == kind
    assert result.difference.column == "close: value"[7 * (len(names) == 1) :]
    assert (result.difference.whole, result.difference.other) == ("0", "1")
    assert (result.n_cuts, result.n_runs) == (1, n_runs)


def test_what_is_known_at_an_open_is_held_to_that_open(bars):
    def evaluate(given):
        return evaluation(given, 0.0, at_open=float(given.kind == "opened"))

    found = run_check("mine", evaluate, bars, FEW).difference
    assert found.column == "open: value"
    later = bars.sessions[bars.sessions < found.session][-1]
    assert found.session == bars.sessions[bars.sessions.get_loc(later) + 1]


@pytest.mark.parametrize("names", [["closes"], ["closes", "opens"]])
def test_what_comes_after_the_cut_is_not_compared(bars, names):
    def evaluate(given):
        sessions = given.bars.sessions
        closes = pd.Series((sessions > given.cut) * len(sessions), sessions)
        closes += first_close(given)
        opens = pd.Series((sessions > given.opened) * len(sessions), sessions)
        tables = {
            "closes": table_by_session(closes, "closes"),
            "opens": replace(table_by_session(opens, "opens"), is_at_open=True),
        }
        return Evaluation({name: tables[name] for name in names})

    result = run_check("mine", evaluate, bars, FEW)
    assert result.difference is None
    assert (result.n_cuts, result.n_runs) == (10, 23)


@pytest.mark.slow
def test_cuts_begin_with_the_first_result_and_progress_is_told(bars):
    told, cuts = [], []
    first = bars.sessions[350]

    def evaluate(given):
        if given.kind == "cut":
            cuts.append(given.cut)
        values = pd.Series(first_close(given), given.bars.sessions)
        tables = {"values": table_by_session(values, "values")}
        return Evaluation(tables, cuts_from=first)

    settings = AuditSettings(None, progress=lambda *news: told.append(news))
    run_check("mine", evaluate, bars, settings)
    assert cuts == list(bars.sessions[350:399])
    assert told[:2] == [("mine", 0, 49), ("mine", 1, 49)]
    assert told[-1] == ("mine", 1, 1)


def test_half_of_the_cuts_stand_where_something_rare_happens(bars):
    events = bars.sessions[[17, 120, 333]]
    cuts = []

    def evaluate(given):
        if given.kind == "cut":
            cuts.append(given.cut)
        rows = events[events <= given.bars.sessions[-1]]
        values = pd.DataFrame({"size": first_close(given)}, index=rows)
        return Evaluation({"orders": DatedTable(values, rows)})

    run_check("mine", evaluate, bars, AuditSettings(n_cuts=12))
    before = bars.sessions[[16, 119, 332]]
    assert set(events.union(before)) <= set(cuts)


def test_what_no_past_changes_is_refused_after_three_others(bars):
    kinds = []

    def evaluate(given):
        kinds.append(given.kind)
        values = pd.Series(0.0, given.bars.sessions)
        return Evaluation({"values": table_by_session(values, "values")})

    with pytest.raises(ConfigError, match="mine: does not depend on the bars"):
        run_check("mine", evaluate, bars, AuditSettings(n_cuts=1))
    assert kinds == ["whole", "whole", "cut", "altered", *["moved"] * 3]


def test_a_wide_tolerance_does_not_hide_that_the_bars_are_read(bars):
    def evaluate(given):
        values = table_by_session(given.bars.equity["close"], "values")
        return Evaluation({"values": values})

    wide = AuditSettings(n_cuts=3, rtol=0.5)
    assert run_check("mine", evaluate, bars, wide).difference is None


def test_each_evaluation_has_bars_of_its_own(bars):
    seen = []

    def evaluate(given):
        seen.append("mark" in given.bars.equity)
        given.bars.equity["mark"] = 1.0
        values = pd.Series(first_close(given), given.bars.sessions)
        return Evaluation({"values": table_by_session(values, "values")})

    assert run_check("mine", evaluate, bars, FEW).difference is None
    assert not any(seen)
    assert "mark" not in bars.equity


def test_look_ahead_that_the_bars_themselves_show_is_a_result(bars):
    def evaluate(given):
        raise LookAheadError("it leans on later rows")

    result = run_check("mine", evaluate, bars, FEW)
    assert result.difference.other == "it leans on later rows"
    assert result.to_dict()["difference"]["session"] == "2002-08-08"
