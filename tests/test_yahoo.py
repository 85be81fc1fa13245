"""Yahoo as it is: a local server speaks its protocol, the real yfinance asks it."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import yahoo_server
from tests.conftest import make_bars
from trm_bt.errors import FetchError
from trm_bt.feeds.exchange import last_closed_session
from trm_bt.feeds.vendor import RetryPolicy
from trm_bt.feeds.yahoo import Yahoo
from trm_bt.market.adjustment import RAW_COLUMNS, adjust

pytestmark = pytest.mark.usefixtures("own_yfinance")
NOW = pd.Timestamp("2026-11-23 12:00", tz="UTC")
QUICK = RetryPolicy(
    attempts=3, first_wait=0.01, max_wait=0.02, total_seconds=30, request_timeout=0.7
)


def history():
    """60 sessions with a dividend and a 2-for-1 split, as Yahoo would send them."""
    frame = make_bars(60).equity.round(4)
    frame = frame.assign(dividends=0.0, splits=0.0)
    frame.loc[frame.index[20], "dividends"] = 0.25
    frame.loc[frame.index[40], "splits"] = 2.0
    keep = 1 - 0.25 / frame["close"].iloc[19]
    frame["adj close"] = frame["close"] * np.where(np.arange(60) < 20, keep, 1.0)
    return frame


@pytest.fixture
def vendor():
    return yahoo_server.Vendor({"SPY": history()})


@pytest.fixture
def ask(vendor):
    """Download SPY through the real yfinance from the local server."""
    with yahoo_server.serving(vendor) as port:
        session = yahoo_server.LocalSession(port)
        yahoo = Yahoo(Path("no store"), QUICK, session)
        yield partial(yahoo.download, now=NOW)
        session.close()


def test_a_history_comes_as_it_was_traded(ask):
    sent = history()
    found = ask("SPY")
    assert found.warnings == ()
    assert list(found.raw.columns) == list(RAW_COLUMNS)
    assert found.raw.index.equals(sent.index)
    for row in range(60):
        shares = 2.0 if row < 40 else 1.0
        there, here = sent.iloc[row], found.raw.iloc[row]
        assert here["close"] == pytest.approx(there["close"] * shares, rel=1e-12)
        assert here["volume"] == pytest.approx(int(there["volume"]) / shares)
    assert found.raw["dividends"].iloc[20] == pytest.approx(0.5)
    assert found.raw["splits"].iloc[40] == 2.0


def test_a_start_limits_what_is_asked_for(ask):
    sessions = history().index
    assert ask("SPY", start=sessions[45]).raw.index.equals(sessions[45:])


@pytest.mark.parametrize(
    "fault", [yahoo_server.cut_short, yahoo_server.empty, yahoo_server.status(500)]
)
def test_a_passing_fault_is_tried_again(ask, vendor, fault):
    vendor.faults = [fault]
    if fault is not yahoo_server.cut_short and fault is not yahoo_server.empty:
        vendor.faults = [fault, fault]  # yfinance asks twice itself
    assert len(ask("SPY").raw) == 60


def test_a_refusal_is_waited_for(ask, vendor):
    vendor.faults = [yahoo_server.status(429)] * 2
    assert len(ask("SPY").raw) == 60


LASTING = {
    "429 for ever": (yahoo_server.status(429), r"too many requests \(HTTP 429\)", 6),
    "500": (yahoo_server.status(500), "is no chart", 6),
    "cut short": (yahoo_server.cut_short, "breaks off after", 3),
    "empty chart": (yahoo_server.empty, "sent an empty chart", 3),
    "slow": (yahoo_server.slow, "cannot be read .*Timeout", 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LASTING)
def test_a_lasting_fault_ends_with_one_sentence(ask, vendor, case):
    fault, message, n_requests = LASTING[case]
    vendor.last_fault = fault
    with pytest.raises(FetchError, match=f"SPY: Yahoo.*{message}") as caught:
        ask("SPY")
    assert "\n" not in str(caught.value)
    assert vendor.requests["SPY"] == n_requests


def test_an_unknown_symbol_is_not_tried_again(ask, vendor):
    with pytest.raises(FetchError, match="NOSUCH: Yahoo knows no such symbol"):
        ask("NOSUCH")
    assert vendor.requests["NOSUCH"] == 0


def test_nobody_there_is_said():
    session = yahoo_server.LocalSession(9)
    with pytest.raises(FetchError, match=r"SPY: Yahoo cannot be read \(.*Connection"):
        Yahoo(Path("no store"), QUICK, session).download("SPY", now=NOW)


def test_rows_without_prices_are_left_out_and_counted(ask, vendor):
    frame = history()
    gone = frame.index[30]
    frame.loc[gone, ["open", "high", "low", "close", "adj close"]] = np.nan
    vendor.frames["SPY"] = frame
    found = ask("SPY")
    assert gone not in found.raw.index
    assert len(found.raw) == 59
    assert f"1 rows left out, without prices, first {gone.date()}" in found.warnings[0]


def test_what_happened_on_a_row_without_prices_is_kept(ask, vendor):
    frame = history()
    for row, name in ((20, "dividends"), (40, "splits")):
        assert frame[name].iloc[row] > 0
        frame.iloc[row, [0, 1, 2, 3]] = np.nan
    vendor.frames["SPY"] = frame
    found = ask("SPY")
    assert found.raw["dividends"].iloc[20] == pytest.approx(0.5)
    assert found.raw["splits"].iloc[39] == 2.0
    assert found.raw.index[39] == frame.index[41]
    assert "2 rows left out had a distribution or split" in found.warnings[1]
    kept = history().drop(index=frame.index[[20, 40]])
    ours = adjust(found.raw)["close"]
    np.testing.assert_allclose(ours, kept["adj close"], rtol=1e-9)


def test_a_split_of_a_session_that_is_open_is_undone(ask, vendor):
    frame = history()
    frame.loc[frame.index[-1], "splits"] = 4.0
    vendor.frames["SPY"] = frame
    noon = pd.Timestamp(f"{frame.index[-1].date()} 12:00", tz="America/New_York")
    raw = ask("SPY", now=noon).raw
    assert len(raw) == 59
    assert raw["close"].iloc[-1] == pytest.approx(frame["close"].iloc[-2] * 4)


def test_two_bond_holidays_in_a_short_history_are_no_fault(ask, vendor):
    vendor.frames["SPY"] = history().drop(index=history().index[[50, 55]])
    assert len(ask("SPY", start=history().index[45]).raw) == 13


def test_a_missing_session_stays_missing_and_is_said(ask, vendor):
    gone = history().index[30]
    vendor.frames["SPY"] = history().drop(index=gone)
    found = ask("SPY")
    assert len(found.raw) == 59
    assert (
        f"1 sessions are missing because Yahoo Finance lacks them, first {gone.date()}"
        in found.warnings[0]
    )


def test_a_history_full_of_holes_is_refused(ask, vendor):
    vendor.frames["SPY"] = history().iloc[::2]
    with pytest.raises(FetchError, match=r"every session, .* lacks 29"):
        ask("SPY")


def test_a_holiday_is_left_out(ask, vendor):
    holiday = pd.DataFrame(history().iloc[[10]]).set_axis([pd.Timestamp("2001-01-15")])
    vendor.frames["SPY"] = pd.concat([history(), holiday]).sort_index()
    found = ask("SPY")
    assert len(found.raw) == 60
    assert "left out, on days without a session, first 2001-01-15" in found.warnings[0]


@pytest.mark.parametrize(
    ("clock", "n_rows"), [("15:59", 59), ("16:29", 59), ("16:30", 60)]
)
def test_the_last_bar_counts_half_an_hour_after_its_close(ask, clock, n_rows):
    last = history().index[-1].date()
    now = pd.Timestamp(f"{last} {clock}", tz="America/New_York")
    assert len(ask("SPY", now=now).raw) == n_rows


def test_a_distribution_that_one_side_lacks_is_said(ask, vendor):
    frame = history()
    frame.iloc[:20, frame.columns.get_loc("adj close")] *= 0.95
    vendor.frames["SPY"] = frame
    (warning,) = ask("SPY").warnings
    assert f"until {frame.index[19].date()}" in warning


def test_yfinance_is_left_as_it_was(ask):
    import yfinance

    before = yfinance.config.debug.hide_exceptions
    ask("SPY")
    assert yfinance.config.debug.hide_exceptions == before


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2023-11-24 13:00", "2023-11-24"),  # the day after Thanksgiving ends at 13:00
        ("2023-11-24 12:59", "2023-11-22"),
        ("2001-09-16 12:00", "2001-09-10"),  # closed for four sessions
        ("2024-01-01 17:00", "2023-12-29"),
    ],
)
def test_the_last_closed_session(moment, session):
    now = pd.Timestamp(moment, tz="America/New_York")
    assert last_closed_session(now) == pd.Timestamp(session)
