"""A store gives the bars, and the equity, that a folder of the same bars gives."""

import numpy as np
import pandas as pd
import pytest

from tests.test_load_bars import write
from trm_bt.backtest import run_backtest
from trm_bt.errors import BarsError
from trm_bt.feeds import load_bars
from trm_bt.feeds.sources import SECTORS
from trm_bt.feeds.store import BarStore, default_store
from trm_bt.feeds.tables import read_table
from trm_bt.market.adjustment import RAW_COLUMNS
from trm_bt.strategies.baselines import FixedMix


def raw_of(frame, *, split_on=None, dividends=()):
    """Return raw bars, and the adjusted ones by a plain loop over the events.

    Parameters: `split_on` is the row of a 2-for-1 split, `dividends` pairs of a row
    and the cash paid.
    """
    raw = frame.reindex(columns=list(RAW_COLUMNS)).fillna(0.0)
    paid = dict(dividends)
    adjusted = raw[["open", "high", "low", "close", "volume"]].copy()
    for row in sorted({*paid, *([split_on] if split_on else [])}, reverse=True):
        split = 2.0 if row == split_on else 1.0
        cash = paid.get(row, 0.0)
        raw.iloc[row, raw.columns.get_loc("dividends")] = cash
        raw.iloc[row, raw.columns.get_loc("splits")] = split if split > 1 else 0.0
        keep = (1 - split * cash / raw["close"].iloc[row - 1]) / split
        adjusted.iloc[:row, :4] *= keep
        adjusted.iloc[:row, 4] *= split
    return raw, adjusted


def save_both(kept, root):
    """Write one market as a store of raw bars and as a folder of adjusted files."""
    store, folder = BarStore(root / "store", "yahoo"), root / "files"
    folder.mkdir()
    for symbol, (raw, adjusted) in kept.items():
        when = "2026-01-02T12:00:00+00:00"
        store.write(symbol, raw, retrieved_at=when)
        if symbol == "^IRX":
            write(folder, "rates", raw[["close"]].set_axis(["dgs3mo"], axis=1))
        else:
            write(folder, symbol.removeprefix("^"), adjusted)
    return store.folder, folder


def flat(values):
    """Return bars of a series that has closes only."""
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), values))


@pytest.fixture
def both(tmp_path, bars):
    """Random bars, kept and written."""
    equity = bars.equity.copy()
    equity.iloc[200:, :4] /= 2
    equity.iloc[200:, 4] *= 2
    kept = {
        "SPY": raw_of(equity, split_on=200, dividends=[(60, 0.4), (260, 0.3)]),
        "TLT": raw_of(bars.bond, dividends=[(k, 0.2) for k in range(20, 400, 21)]),
        "^VIX": raw_of(bars.volatility),
        "^IRX": raw_of(flat(bars.cash_rate * 100)),
    }
    return save_both(kept, tmp_path)


@pytest.fixture
def both_real(tmp_path, market_dir):
    """The real history, with made-up distributions so that adjusting has work to do."""
    tables = {
        symbol: read_table(market_dir / f"{symbol.removeprefix('^')}.csv")
        for symbol in ("SPY", "TLT", "^VIX", "VUSTX", *SECTORS)
    }
    kept = {}
    for symbol, table in tables.items():
        quarter_ends = range(60, len(table), 63) if symbol != "^VIX" else ()
        cash = 0.005 * table["close"]
        kept[symbol] = raw_of(
            table, dividends=[(k, cash.iloc[k]) for k in quarter_ends]
        )
    yields = read_table(market_dir / "rates.csv")["dgs3mo"].dropna()
    kept["^IRX"] = raw_of(flat(yields))
    return save_both(kept, tmp_path)


def test_a_store_gives_the_bars_of_its_files(both):
    kept, written = (load_bars(folder) for folder in both)
    for role in ("equity", "bond", "volatility"):
        np.testing.assert_allclose(
            getattr(kept, role), getattr(written, role), rtol=1e-12
        )
    np.testing.assert_allclose(kept.cash_rate, written.cash_rate, rtol=1e-12)
    assert kept.source == "daily bars from Yahoo Finance, adjusted on read"


def test_a_store_gives_the_equity_of_its_files(both):
    mix = {"weights": (0.6, 0.4, 0.0)}
    kept, written = (
        run_backtest(load_bars(folder), FixedMix, params=mix).equity for folder in both
    )
    np.testing.assert_allclose(kept, written, rtol=1e-11)


@pytest.mark.slow
def test_a_full_store_gives_the_equity_of_its_files_over_twenty_years(both_real):
    # before it the income of the older fund is accrued from what each of them knows
    mix = {"weights": (0.6, 0.4, 0.0)}
    own = {"start": "2002-08-01"}
    kept, written = (load_bars(folder, **own) for folder in both_real)
    assert len(kept.sessions) > 5_000
    assert (kept.provenance.keys(), kept.cash_rate.name) == (
        written.provenance.keys(),
        "dgs3mo",
    )
    np.testing.assert_allclose(
        run_backtest(kept, FixedMix, params=mix).equity,
        run_backtest(written, FixedMix, params=mix).equity,
        rtol=1e-10,
    )


def test_yahoo_without_a_store_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(BarsError, match="Run `trm-bt fetch`"):
        load_bars("yahoo")


def test_yahoo_reads_the_default_store(both, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    default_store().parent.mkdir()
    both[0].rename(default_store())
    assert len(load_bars("yahoo").sessions) == 400
