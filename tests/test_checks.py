"""Each world is asked, each counts alone, and a check ends where it finds something."""

import pandas as pd
import pytest

from trm_bt.audit.checks import AuditSettings, Evaluation, check_worlds
from trm_bt.audit.counterfactual import World
from trm_bt.audit.differences import Table, table_by_session
from trm_bt.errors import ConfigError, LookAheadError

FEW = AuditSettings(n_cuts=10)


def evaluation(world: World, value: float, *, at_open: float = 0.0) -> Evaluation:
    """Say `value` about the cut, and `at_open` about the session opened last."""
    sessions = world.bars.sessions
    closes = pd.Series(0.0, sessions)
    closes[world.cut] = value if world.kind != "whole" else 0.0
    opens = pd.Series(0.0, sessions[sessions <= world.opened])
    opens[world.opened] = at_open if world.kind != "whole" else 0.0
    return Evaluation(
        {
            "close": table_by_session(closes, "closes"),
            "open": table_by_session(opens, "opens", is_at_open=True),
        }
    )


def first_close(world: World) -> float:
    """Return what no future changes, and another past does."""
    return float(world.bars.equity["close"].iloc[0])


@pytest.mark.parametrize(
    ("kind", "names", "n_runs"),
    [
        ("cut", ["close"], 3),
        ("altered", ["close"], 4),
        ("opened", ["close", "open"], 4),
    ],
)
def test_a_difference_in_one_world_is_enough(bars, kind, names, n_runs):
    def evaluate(world):
        tables = evaluation(world, float(world.kind == kind)).tables
        return Evaluation({name: tables[name] for name in names})

    result = check_worlds("mine", evaluate, bars, FEW)
    assert result.difference.world == kind
    assert result.difference.column == "close: value"[7 * (len(names) == 1) :]
    assert (result.difference.whole, result.difference.other) == ("0", "1")
    assert (result.n_cuts, result.n_runs) == (1, n_runs)


def test_what_is_known_at_an_open_is_held_to_that_open(bars):
    def evaluate(world):
        return evaluation(world, 0.0, at_open=float(world.kind == "opened"))

    found = check_worlds("mine", evaluate, bars, FEW).difference
    assert found.column == "open: value"
    later = bars.sessions[bars.sessions < found.session][-1]
    assert found.session == bars.sessions[bars.sessions.get_loc(later) + 1]


@pytest.mark.parametrize("names", [["closes"], ["closes", "opens"]])
def test_what_comes_after_the_cut_is_not_compared(bars, names):
    def evaluate(world):
        sessions = world.bars.sessions
        closes = pd.Series((sessions > world.cut) * len(sessions), sessions)
        closes += first_close(world)
        opens = pd.Series((sessions > world.opened) * len(sessions), sessions)
        tables = {
            "closes": table_by_session(closes, "closes"),
            "opens": table_by_session(opens, "opens", is_at_open=True),
        }
        return Evaluation({name: tables[name] for name in names})

    result = check_worlds("mine", evaluate, bars, FEW)
    assert result.difference is None
    assert (result.n_cuts, result.n_runs) == (10, 23)


def test_cuts_begin_with_the_first_result_and_progress_is_told(bars):
    told, cuts = [], []
    first = bars.sessions[350]

    def evaluate(world):
        if world.kind == "cut":
            cuts.append(world.cut)
        values = pd.Series(first_close(world), world.bars.sessions)
        tables = {"values": table_by_session(values, "values")}
        return Evaluation(tables, cuts_from=first)

    settings = AuditSettings(None, tell=lambda *news: told.append(news))
    check_worlds("mine", evaluate, bars, settings)
    assert cuts == list(bars.sessions[350:399])
    assert told[:2] == [("mine", 0, 49), ("mine", 1, 49)]
    assert told[-1] == ("mine", 1, 1)


def test_half_of_the_cuts_stand_where_something_rare_happens(bars):
    events = bars.sessions[[17, 120, 333]]
    cuts = []

    def evaluate(world):
        if world.kind == "cut":
            cuts.append(world.cut)
        rows = events[events <= world.bars.sessions[-1]]
        values = pd.DataFrame({"size": first_close(world)}, index=rows)
        return Evaluation({"orders": Table(values, rows)})

    check_worlds("mine", evaluate, bars, AuditSettings(n_cuts=12))
    before = bars.sessions[[16, 119, 332]]
    assert set(events.union(before)) <= set(cuts)


def test_what_no_past_changes_is_refused_after_three_others(bars):
    kinds = []

    def evaluate(world):
        kinds.append(world.kind)
        values = pd.Series(0.0, world.bars.sessions)
        return Evaluation({"values": table_by_session(values, "values")})

    with pytest.raises(ConfigError, match="mine: does not depend on the bars"):
        check_worlds("mine", evaluate, bars, AuditSettings(n_cuts=1))
    assert kinds == ["whole", "whole", "cut", "altered", *["moved"] * 3]


def test_a_wide_tolerance_does_not_hide_that_the_bars_are_read(bars):
    def evaluate(world):
        values = table_by_session(world.bars.equity["close"], "values")
        return Evaluation({"values": values})

    wide = AuditSettings(n_cuts=3, rtol=0.5)
    assert check_worlds("mine", evaluate, bars, wide).difference is None


def test_each_evaluation_has_bars_of_its_own(bars):
    seen = []

    def evaluate(world):
        seen.append("mark" in world.bars.equity)
        world.bars.equity["mark"] = 1.0
        values = pd.Series(first_close(world), world.bars.sessions)
        return Evaluation({"values": table_by_session(values, "values")})

    assert check_worlds("mine", evaluate, bars, FEW).difference is None
    assert not any(seen)
    assert "mark" not in bars.equity


def test_look_ahead_that_the_bars_themselves_show_is_a_result(bars):
    def evaluate(world):
        raise LookAheadError("it leans on later rows")

    result = check_worlds("mine", evaluate, bars, FEW)
    assert result.difference.other == "it leans on later rows"
    assert result.to_dict()["difference"]["session"] == "2002-08-08"
