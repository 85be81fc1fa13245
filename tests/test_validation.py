"""Each rule finds its own damage on its own session, and sound bars pass in silence."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from tests.test_cli import call
from tests.test_load_bars import write
from trm_bt.errors import BarsError
from trm_bt.market.core_roles import examine_together
from trm_bt.market.findings import refuse
from trm_bt.market.validation import RULES, examine

PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def frames(bars):
    return {
        role: getattr(bars, role).copy() for role in ("equity", "bond", "volatility")
    }


def look(frame, role="equity", sessions=None):
    calendar = make_bars(400).sessions if sessions is None else sessions
    return examine(frame, role=role, sessions=calendar, name="SPY")


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
    "stale": ("warning", None, None),
    "adjusted and raw mixed": ("error", 30, with_adjusted(mix)),
}


@pytest.mark.parametrize("rule", [name for name in DAMAGES if DAMAGES[name][2]])
def test_a_damage_is_found_where_it_is(frames, rule):
    severity, row, change = DAMAGES[rule]
    frame = frames["equity"]
    sessions = frame.index
    found = {finding.rule: finding for finding in look(change(frame))}
    assert found[rule].severity == severity
    assert found[rule].sentence.startswith("SPY: ")
    if row is not None:
        assert found[rule].first == sessions[row]
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
    assert (finding.rule, finding.first) == ("adjusted and raw mixed", frame.index[200])


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


def test_a_bond_that_moves_more_than_equity_is_named(frames):
    steps = np.log(frames["bond"]["close"]).diff().fillna(0)
    for factor, severity in ((2.5, "warning"), (5.0, "error")):
        bond = pd.DataFrame({"close": np.exp(factor * steps.cumsum())})
        found = {f.rule: f.severity for f in examine_together({**frames, "bond": bond})}
        assert found["bond above equity"] == severity


@pytest.mark.parametrize(
    ("factor", "words"), [(50, "stays below 200"), (0.01, "above 5")]
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
    for words in ("SPY 2001-01-02 to 2002-08-08", "TLT 2001", "VIX 2001", *RULES):
        assert words in out
    write(tmp_path, "TLT", put(40, ["low"], -1.0)(bars.bond.copy()))
    code, out, error = call(monkeypatch, capsys, "validate", "--bars", tmp_path)
    assert code == 2
    assert error.count("\n") == 1
    assert "1 errors, first: TLT: 'low' must be above 0, got -1.0" in error
    assert "error: TLT: 'low'" in out


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


def test_the_sample_is_sound(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "validate", "--bars", "sample")[0] == 0
    assert sys.argv[-1] == "sample"
