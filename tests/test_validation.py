"""Each rule finds its own damage on its own session, and sound bars pass in silence."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.command_line import call
from tests.conftest import make_bars
from tests.test_load_bars import write
from trm_bt.errors import BarsError
from trm_bt.feeds import load_bars
from trm_bt.feeds.tables import read_table
from trm_bt.quality.core_roles import examine_together
from trm_bt.quality.findings import Subject, refuse
from trm_bt.quality.rules import examine, rules_for

PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def frames(bars):
    return {
        role: getattr(bars, role).copy() for role in ("equity", "bond", "volatility")
    }


def look(frame, role="equity", sessions=None):
    calendar = make_bars(400).sessions if sessions is None else sessions
    return examine(Subject(frame, role, calendar, "SPY"))


def test_sound_bars_pass_in_silence(frames):
    for role, frame in frames.items():
        assert look(frame, role) == ()
    assert examine_together(frames) == ()


def put(row, columns, value):
    def change(frame):
        frame.iloc[row, [frame.columns.get_loc(name) for name in columns]] = value
        return frame

    return change


def times(rows, factor):
    def change(frame):
        frame.iloc[rows, :4] *= factor
        return frame

    return change


def put_line(first, end):
    def change(frame):
        ends = frame["close"].iloc[[first, end]]
        line = np.linspace(*ends, end - first + 1)[:, None]
        frame.iloc[first : end + 1, :4] = np.repeat(line, 4, axis=1)
        return frame

    return change


def put_copy(first, end):
    def change(frame):
        n_rows = end - first
        factor = (
            frame["close"].iloc[first - 1] / frame["close"].iloc[first - n_rows - 1]
        )
        copied = frame.iloc[first - n_rows : first, :4].to_numpy() * factor
        frame.iloc[first:end, :4] = copied
        return frame

    return change


def with_adjusted(change):
    """Give a close that pays 1 % at row 200, and change the adjusted closes."""

    def damage(frame):
        adjusted = frame["close"] * np.where(np.arange(400) < 200, 0.99, 1.0)
        frame["adj close"] = change(adjusted, frame["close"])
        return frame

    return damage


def mix(adjusted, close):
    return adjusted.where(np.arange(400) >= 30, close)


DAMAGES = {
    "duplicates": ("error", None, lambda f: pd.concat([f.iloc[:50], f.iloc[49:]])),
    "order": ("error", None, lambda f: f.iloc[::-1]),
    "time zone": ("error", None, lambda f: f.tz_localize("UTC")),
    "dates": ("error", None, lambda f: f.reset_index(drop=True)),
    "columns": ("error", None, lambda f: f.drop(columns="volume")),
    "missing sessions": ("warning", 30, lambda f: f.drop(index=f.index[30])),
    "prices": ("error", 40, put(40, ["low"], 0.0)),
    "high and low": ("error", 41, put(41, ["high"], 1.0)),
    "volume": ("error", 42, put(42, ["volume"], np.nan)),
    "zero volume": ("warning", 43, put(43, ["volume"], 0.0)),
    "one-day moves": ("warning", 200, times(slice(200, None), 1.2)),
    "wicks": ("error", 44, put(44, ["low"], 40.0)),
    "bad ticks": ("warning", 120, times(120, 1.1)),
    "displaced bars": ("error", None, times(slice(1, None, 12), 1.06)),
    "jumps": ("warning", 200, times(slice(200, None), 1.13)),
    "straight line": ("error", 125, put_line(120, 140)),
    "copied bars": ("error", None, put_copy(120, 140)),
    "volume of another unit": ("warning", 100, put(100, ["volume"], 1e10)),
    "adjusted and raw mixed": ("error", 30, with_adjusted(mix)),
}


@pytest.mark.parametrize("rule", DAMAGES)
def test_a_damage_is_found_where_it_is(frames, rule):
    severity, row, change = DAMAGES[rule]
    frame = frames["equity"]
    sessions = frame.index
    found = {finding.rule: finding for finding in look(change(frame))}
    assert found[rule].severity == severity
    assert found[rule].sentence.startswith("SPY: ")
    if row is not None:
        assert found[rule].first == sessions[row].date()
        assert str(sessions[row].date()) in found[rule].sentence


@pytest.mark.parametrize(
    ("n_repeats", "severity"), [(2, None), (3, "warning"), (5, "error")]
)
def test_repeated_bars_are_stale(frames, n_repeats, severity):
    frame = frames["equity"]
    frame.iloc[101 : 101 + n_repeats, :4] = frame.iloc[[100], :4].to_numpy()
    found = {finding.rule: finding.severity for finding in look(frame)}
    assert found.get("stale") == severity


def test_an_explained_step_of_adjusted_closes_is_sound(frames):
    damaged = with_adjusted(lambda adjusted, close: adjusted)(frames["equity"])
    assert look(damaged) == ()


def test_prices_in_cents_are_no_mixture(frames):
    frame = frames["equity"].copy()
    frame.iloc[:, :4] = (frame.iloc[:, :4] / 5).round(2)
    adjusted = frame["close"] * np.where(np.arange(400) < 200, 0.99, 1.0)
    frame["adj close"] = adjusted.round(2)
    assert look(frame) == ()
    frame["adj close"] = mix(adjusted, frame["close"]).round(2)
    assert {f.rule for f in look(frame)} == {"adjusted and raw mixed"}


def test_a_step_without_its_distribution_is_a_mixture(frames):
    frame = with_adjusted(lambda adjusted, close: adjusted)(frames["equity"])
    paid = pd.DataFrame(
        0.0, frame.index, ["dividends", "capital gains", "stock splits"]
    )
    paid.iloc[200, 1] = 1.0
    assert look(frame.join(paid)) == ()
    (finding,) = look(frame.join(paid.shift(1, fill_value=0.0)))
    assert (finding.rule, finding.first) == (
        "adjusted and raw mixed",
        frame.index[200].date(),
    )


@pytest.mark.parametrize(
    ("n_missing", "spacing", "severity"),
    [(3, 20, "warning"), (4, 20, "error"), (3, 1, "warning"), (4, 1, "error")],
)
def test_many_missing_sessions_are_an_error(frames, n_missing, spacing, severity):
    gone = frames["equity"].index[50 : 50 + n_missing * spacing : spacing]
    (finding,) = look(frames["equity"].drop(index=gone))
    assert (finding.severity, finding.count) == (severity, n_missing)


@pytest.mark.parametrize(
    ("day", "severity"), [("2001-01-15", "warning"), ("2001-01-13", "error")]
)
def test_a_holiday_is_a_warning_and_a_saturday_an_error(frames, day, severity):
    extra = frames["equity"].iloc[[8]].set_axis([pd.Timestamp(day)])
    (finding,) = look(pd.concat([frames["equity"], extra]).sort_index())
    assert (finding.rule, finding.severity) == ("extra sessions", severity)


def test_swapped_roles_are_found(frames):
    swapped = {**frames, "equity": frames["bond"], "bond": frames["equity"]}
    assert {"swapped roles"} <= {f.rule for f in examine_together(swapped)}


@pytest.mark.parametrize("lag", [-1, 1])
def test_a_shift_by_one_session_is_found(frames, lag):
    shifted = {**frames, "volatility": frames["volatility"].shift(lag).dropna()}
    (finding,) = (f for f in examine_together(shifted) if f.rule == "shifted")
    assert ("late" if lag > 0 else "early") in finding.sentence


def test_a_part_that_is_out_of_step_is_found(frames):
    late = frames["volatility"].copy()
    late.iloc[140:] = late.shift().iloc[140:].to_numpy()
    found = examine_together({**frames, "volatility": late})
    (finding,) = (f for f in found if f.rule == "shifted")
    assert (finding.severity, "late" in finding.sentence) == ("error", True)


def test_a_role_that_ends_early_is_found(frames):
    early = {**frames, "bond": frames["bond"].iloc[:-30]}
    (finding,) = examine_together(early)
    assert (finding.rule, finding.severity) == ("ends early", "warning")
    assert "30 sessions later: these are dropped" in finding.sentence


def test_a_bond_that_is_the_equity_is_found(frames):
    found = examine_together({**frames, "bond": frames["equity"]})
    assert "bond must not be a second equity" in " ".join(f.sentence for f in found)


@pytest.mark.parametrize(("lag", "side"), [(1, "late"), (-1, "early")])
def test_a_bond_out_of_step_over_years_is_found(market_dir, lag, side):
    tables = {
        role: read_table(market_dir / f"{symbol}.csv").loc["2005":"2014"]
        for role, symbol in (("equity", "SPY"), ("bond", "TLT"), ("volatility", "VIX"))
    }
    assert examine_together(tables) == ()
    moved = tables["bond"].shift(lag).ffill().bfill()
    (finding,) = examine_together({**tables, "bond": moved})
    assert (finding.rule, finding.severity) == ("shifted", "warning")
    assert f"a session {side}" in finding.sentence


def test_prices_beside_distributions_are_said_to_be_believed(frames):
    paid = frames["equity"].assign(dividends=0.0, **{"stock splits": 0.0})
    paid.iloc[150, paid.columns.get_loc("dividends")] = 0.5
    (finding,) = look(paid)
    assert (finding.rule, finding.severity) == ("adjusted and raw mixed", "warning")
    assert finding.first == paid.index[150].date()


def test_a_short_sound_history_is_not_refused_for_a_few_odd_bars(market_dir):
    cut = read_table(market_dir / "VIX.csv").loc["2008-07-01":"2009-01-31"]
    found = examine(Subject(cut, "volatility", cut.index, "VIX"))
    assert {f.severity for f in found} <= {"warning"}


def test_a_bond_that_moves_more_than_equity_is_named(frames):
    steps = np.log(frames["bond"]["close"]).diff().fillna(0)
    for factor, severity in ((2.5, "warning"), (5.0, "error")):
        bond = pd.DataFrame({"close": np.exp(factor * steps.cumsum())})
        found = {f.rule: f.severity for f in examine_together({**frames, "bond": bond})}
        assert found["bond above equity"] == severity


@pytest.mark.parametrize(
    ("factor", "words"), [(50, "must stay below 200"), (0.01, "above 5")]
)
def test_what_is_no_volatility_index_is_named(frames, factor, words):
    found = look(times(slice(None), factor)(frames["volatility"]), "volatility")
    assert words in next(f.sentence for f in found if f.rule == "role")


def test_an_index_as_equity_is_named(frames):
    frame = frames["volatility"].assign(volume=1.0)
    frame["close"] = np.exp(3 * np.log(frame["close"]))
    for name in ("open", "high", "low"):
        frame[name] = frame["close"]
    assert "role" in {finding.rule for finding in look(frame)}


def test_the_first_error_refuses_and_counts_the_others(frames):
    frame = put(40, ["high"], 1.0)(put(42, ["volume"], np.nan)(frames["equity"]))
    with pytest.raises(BarsError, match=r"^SPY: high must.*\(and 1 more errors\)$"):
        refuse(look(frame), "SPY")


def test_a_warning_refuses_nothing(frames):
    refuse(look(put(43, ["volume"], 0.0)(frames["equity"])), "SPY")


@pytest.mark.slow
def test_real_bars_pass_in_silence(market_dir, monkeypatch, capsys):
    arguments = ("validate", "--bars", market_dir, "--json")
    code, out, _ = call(monkeypatch, capsys, *arguments)
    assert code == 0
    findings = {r["symbol"]: r["findings"] for r in json.loads(out)}
    for symbol in ("SPY", "TLT", "VIX", "VUSTX", "rates", "SPY, TLT and VIX together"):
        assert findings[symbol] == []


def test_the_command_shows_a_table_a_symbol_and_refuses_errors(
    monkeypatch, capsys, tmp_path, bars
):
    write(tmp_path, "SPY", bars.equity)
    write(tmp_path, "TLT", bars.bond)
    write(tmp_path, "VIX", bars.volatility)
    code, out, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert (code, error) == (0, "")
    for symbol in ("SPY", "TLT", "VIX"):
        (row,) = (line for line in out.splitlines() if f"│ {symbol} " in line)
        cells = [cell.strip() for cell in row.split("│")]
        assert cells[1:-1] == [
            *(symbol, "2001-01-02", "2002-08-08", "400", "0", "0", "sound")
        ]
    assert out.splitlines()[-1] == "Accepted: 4 symbols checked."
    _, out, _ = call(monkeypatch, capsys, "validate", "-v", "--bars", tmp_path)
    for rule in rules_for("equity"):
        assert rule in out
    write(tmp_path, "TLT", put(40, ["low"], -1.0)(bars.bond.copy()))
    code, out, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 2
    assert error.count("\n") == 1
    assert "1 errors, first: TLT: 'low' must be above 0, got -1.0" in error
    assert "error: TLT: 'low'" in out
    assert out.splitlines()[-1] == "Refused: 1 of 3 break a rule."


def test_the_command_names_what_is_missing(monkeypatch, capsys, tmp_path, bars):
    write(tmp_path, "SPY", bars.equity)
    code, _, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 2
    assert "TLT.csv: is needed and missing" in error


def test_a_series_is_held_to_what_a_run_needs(monkeypatch, capsys, tmp_path, bars):
    for symbol, role in (("SPY", "equity"), ("TLT", "bond"), ("VIX", "volatility")):
        write(tmp_path, symbol, getattr(bars, role))
    rates = pd.DataFrame({"dgs3mo": 4.0}, index=bars.sessions)
    write(tmp_path, "rates", rates.drop(index=bars.sessions[5::40]))  # bond holidays
    code, out, _ = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 0
    assert "warning: rates: every session of the exchange" in out.replace("\n", " ")
    write(tmp_path, "rates", rates / 100)
    code, _, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 2
    assert "these look like decimals" in error


@pytest.mark.parametrize(
    ("yields", "message"),
    [
        ([400.0] * 400, "from -2 to 20; on 2001-01-02 got 400"),
        ([4.0] * 200 + [9.0] * 200, "change by 3 at most in a session"),
    ],
)
def test_yields_of_another_unit_are_refused(tmp_path, bars, yields, message):
    for symbol, role in (("SPY", "equity"), ("TLT", "bond"), ("VIX", "volatility")):
        write(tmp_path, symbol, getattr(bars, role))
    write(tmp_path, "rates", pd.DataFrame({"dgs3mo": yields}, index=bars.sessions))
    with pytest.raises(BarsError, match=message):
        load_bars(tmp_path)


def test_the_command_refuses_what_a_run_refuses(monkeypatch, capsys, tmp_path, bars):
    for symbol, role in (("SPY", "equity"), ("TLT", "bond"), ("VIX", "volatility")):
        write(tmp_path, symbol, getattr(bars, role))
    (tmp_path / "members.txt").write_text("ZZZ\n")
    with pytest.raises(BarsError, match=r"ZZZ\.csv: is needed and missing") as caught:
        load_bars(tmp_path)
    code, out, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 2
    assert str(caught.value) in error
    assert "read by a run" in out


def test_only_the_span_is_examined(monkeypatch, capsys, tmp_path, bars):
    write(tmp_path, "SPY", put(40, ["low"], -1.0)(bars.equity.copy()))
    write(tmp_path, "TLT", bars.bond)
    write(tmp_path, "VIX", bars.volatility)
    start = ("--start", str(bars.sessions[60].date()))
    command = ("validate", "--bars", tmp_path)
    assert call(monkeypatch, capsys, *command)[0] == 2
    assert call(monkeypatch, capsys, *command, *start)[0] == 0
    assert load_bars(tmp_path, start=start[1]).sessions[0] == bars.sessions[60]


@pytest.mark.parametrize("day", ["foo", "2012-W01-1", "20120101", "2012-02-30"])
def test_a_date_that_is_none_is_refused(monkeypatch, capsys, day):
    for command in ("validate", "labels"):
        out = () if command == "validate" else ("--out", "nowhere")
        code, _, error = call(monkeypatch, capsys, command, "--start", day, *out)
        assert (code, error.count("\n")) == (2, 1)
        assert f"`start` must be a date as YYYY-MM-DD, got '{day}'" in error


def test_the_sample_is_sound(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "validate", "--bars", "sample")[0] == 0
