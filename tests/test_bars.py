"""Bars refuse what breaks a rule, and cut cleanly."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trm_bt.errors import BarsError
from trm_bt.market.bars import Provenance
from trm_bt.market.crises import CRISES, crises_on


def test_cutting_keeps_every_role_on_one_calendar(full_bars):
    cut = full_bars.between("2001-03-01", "2001-06-29")
    assert cut.sessions[0] == pd.Timestamp("2001-03-01")
    assert cut.sessions[-1] == pd.Timestamp("2001-06-29")
    for role in ("bond", "volatility", "members", "put_call", "cash_rate"):
        assert getattr(cut, role).index.equals(cut.sessions)


def test_cutting_moves_the_span_of_the_provenance(bars):
    entry = Provenance("a file", bars.sessions[0], bars.sessions[-1])
    cut = replace(bars, provenance={"bond": entry}).between("2001-03-01", "2001-03-30")
    first, last = pd.Timestamp("2001-03-01"), pd.Timestamp("2001-03-30")
    assert cut.provenance["bond"] == Provenance("a file", first, last)


def test_an_empty_cut_is_refused(bars):
    with pytest.raises(BarsError, match="lies between 2050-01-01 and the end"):
        bars.between("2050-01-01")


def zone(frame):
    return frame.tz_localize("UTC")


def hour(frame):
    return frame.set_axis(frame.index + pd.Timedelta(hours=16))


@pytest.mark.parametrize(
    ("role", "change", "message"),
    [
        ("bond", lambda f: f.iloc[:-1], "disagree on 1 sessions, first 2002-08-08"),
        ("equity", zone, "equity: sessions must be tz-naive, got zone UTC"),
        ("equity", hour, "must be dates without a time, got 2001-01-02 16:00:00"),
        ("bond", lambda f: f * np.nan, "bond: 'open' must be above 0, on 2001-01-02"),
        ("members", lambda f: f * 0, "members: 'M0' must be above 0"),
        ("put_call", lambda f: f * np.inf, "put_call: .* must be above 0"),
        ("cash_rate", lambda f: f * np.nan, "cash_rate: .* must be a finite number"),
        ("volatility", lambda f: f * 50, "must stay below 200 points"),
    ],
)
def test_a_broken_role_is_named_with_rule_and_session(full_bars, role, change, message):
    with pytest.raises(BarsError, match=message):
        replace(full_bars, **{role: change(getattr(full_bars, role))})


@pytest.mark.parametrize(
    ("prices", "is_sound"),
    [
        pytest.param((10.0, 12.0, 9.0, 11.0), True, id="sound"),
        pytest.param((10.0, 11.0, 10.0, 11.0), True, id="opens low and closes high"),
        pytest.param((10.0, 10.9995, 9.0, 11.0), True, id="rounded"),
        pytest.param((10.0, 10.9, 9.0, 11.0), False, id="high below the close"),
        pytest.param((11.0, 10.9, 9.0, 10.0), False, id="high below the open"),
        pytest.param((10.0, 12.0, 10.1, 11.0), False, id="low above the open"),
        pytest.param((11.0, 12.0, 10.1, 10.0), False, id="low above the close"),
    ],
)
def test_high_and_low_embrace_open_and_close(full_bars, prices, is_sound):
    names = ["open", "high", "low", "close"]
    bond = full_bars.bond.copy()
    bond.loc[bond.index[7], names] = prices
    if is_sound:
        changed = replace(full_bars, bond=bond)
        assert changed.bond.loc[bond.index[7], names].tolist() == list(prices)
        return
    session = bond.index[7].date()
    with pytest.raises(BarsError, match=f"price of a bar, on {session} got"):
        replace(full_bars, bond=bond)


def test_the_twelve_windows_are_in_date_order_and_may_overlap():
    starts = [crisis.start for crisis in CRISES]
    assert len(CRISES) == 12
    assert starts == sorted(starts)
    days = pd.DatetimeIndex(["2001-09-10", "2001-09-17", "2012-06-30", "2013-01-02"])
    assert crises_on(days) == [
        "dot_com_crash",
        "dot_com_crash;september_11",
        "european_debt_crisis",
        "",
    ]


def test_coverage_needs_a_session_before_and_the_end():
    crisis = CRISES[0]
    days = pd.bdate_range("1997-06-30", "1997-10-27")
    assert crisis.is_covered(days)
    assert not crisis.is_covered(days[:-1])
    assert not crisis.is_covered(days[2:])
    (weekend,) = (c for c in CRISES if c.name == "european_debt_crisis")
    assert weekend.is_covered(pd.bdate_range("2011-07-01", "2012-06-29"))
    assert not weekend.is_covered(pd.bdate_range("2011-07-01", "2012-06-28"))


def test_the_digest_follows_every_value(full_bars):
    again = replace(full_bars, equity=full_bars.equity.copy())
    assert again.sha256() == full_bars.sha256()
    assert len({*_changed_digests(full_bars), full_bars.sha256()}) == 7


def _changed_digests(bars):
    for role in ("equity", "bond", "volatility", "members", "put_call", "cash_rate"):
        values = getattr(bars, role).copy()
        values.iloc[-1] *= 1 + 1e-15
        yield replace(bars, **{role: values}).sha256()


def test_equity_needs_its_volume(bars):
    with pytest.raises(BarsError, match="equity: column 'volume' is missing, got"):
        replace(bars, equity=bars.equity[["open", "high", "low", "close"]])


@pytest.mark.parametrize(
    "start", ["garbage", 20160601, pd.Timestamp("2005-01-03", tz="UTC")]
)
def test_bars_are_cut_at_dates(bars, start):
    with pytest.raises(BarsError, match="Bars are cut at tz-naive dates, got"):
        bars.between(start)
