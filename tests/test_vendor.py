"""A vendor is one class: fetched into a store, and read by a run."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.errors import FetchError
from trm_bt.feeds import load_bars, vendors
from trm_bt.feeds.fetch import fetch_all
from trm_bt.feeds.intake import TransientFetchError
from trm_bt.feeds.vendor import RetryPolicy, Vendor
from trm_bt.market.adjustment import RAW_COLUMNS

BARS = make_bars(300)
NOW = pd.Timestamp("2026-11-23 12:00", tz="UTC")
PRICES = ("open", "high", "low", "close")
FRAMES = {
    "SPY.B": BARS.equity,
    "TLT.B": BARS.bond,
    "FEAR": BARS.volatility,
    "BILLS": pd.DataFrame(dict.fromkeys(PRICES, 100 * BARS.cash_rate)),
}


class Bank(Vendor):
    """A vendor with names of its own, that fails once for each symbol."""

    key = "bank"
    name = "the bank"
    default_symbols = tuple(FRAMES)
    spellings = {"SPY": "SPY.B", "TLT": "TLT.B", "VIX": "FEAR"}  # noqa: RUF012
    yields = {"dgs3mo": "BILLS"}  # noqa: RUF012

    def __init__(self, folder):
        super().__init__(folder, RetryPolicy(attempts=2, first_wait=0, max_wait=0))
        self.asked = []

    def request(self, symbol, start, now):
        self.asked.append(symbol)
        if symbol not in FRAMES:
            raise FetchError(f"{symbol}: the bank knows no such symbol.")
        if self.asked.count(symbol) == 1:
            raise TransientFetchError(f"{symbol}: the bank is closed.")
        frame = FRAMES[symbol].reindex(columns=list(RAW_COLUMNS)).fillna(0.0)
        return frame.assign(**{"adj close": frame["close"]}).loc[start:]


UNADJUSTED = "ignore:.*must be adjusted for distributions"
"""The bank's made-up prices have no distribution."""


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.setattr(vendors, "VENDORS", {**vendors.VENDORS, "bank": Bank})
    return Bank(tmp_path)


@pytest.mark.filterwarnings(UNADJUSTED)
def test_a_run_reads_what_a_vendor_sent(bank):
    outcomes = fetch_all(bank, bank.default_symbols, now=NOW)
    assert {(outcome.action, outcome.n_new) for outcome in outcomes} == {("new", 300)}
    loaded = load_bars(bank.folder)
    assert loaded.source == "daily bars from the bank, adjusted on read"
    assert loaded.provenance["volatility"].source.startswith("FEAR from the bank, retr")
    for role in ("equity", "bond", "volatility"):
        pd.testing.assert_frame_equal(
            getattr(loaded, role), getattr(BARS, role), check_freq=False
        )
    np.testing.assert_allclose(loaded.cash_rate, BARS.cash_rate, rtol=1e-12)


def test_what_may_pass_is_asked_again_and_what_cannot_is_not(bank):
    fetch_all(bank, ["SPY.B", "NONE"], now=NOW)
    assert bank.asked == ["SPY.B", "SPY.B", "NONE"]


@pytest.mark.filterwarnings(UNADJUSTED)
def test_the_name_of_a_vendor_is_a_source(bank, monkeypatch):
    monkeypatch.setattr(vendors, "default_store", lambda: bank.folder)
    fetch_all(bank, bank.default_symbols, now=NOW)
    assert len(load_bars("bank").sessions) == 300
