"""Adjusted prices by a plain loop over events, and what joining them would cost."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.errors import BarsError
from trm_bt.market.adjustment import RAW_COLUMNS, adjust, undo_splits


def raw_history(n_sessions, events):
    """Return bars as traded; `events` maps a row to (dividend, split)."""
    raw = make_bars(n_sessions, seed=5).equity.reindex(columns=list(RAW_COLUMNS))
    raw = raw.fillna(0.0)
    for row, (dividend, split) in events.items():
        raw.iloc[row, raw.columns.get_loc("dividends")] = dividend
        raw.iloc[row, raw.columns.get_loc("splits")] = split
        if split:
            raw.iloc[row:, :4] /= split
            raw.iloc[row:, 4] *= split
    return raw


def wealth(raw):
    """Return what a share bought first is worth, its cash put into shares at once.

    The cash of a session buys at the close before, less the cash itself.
    """
    shares, values = 1.0, [raw["close"].iloc[0]]
    for row in range(1, len(raw)):
        split = raw["splits"].iloc[row] or 1.0
        cash = (raw["dividends"] + raw["capital_gains"]).iloc[row] * split
        before = raw["close"].iloc[row - 1]
        shares *= split / (1 - cash / before)
        values.append(shares * raw["close"].iloc[row])
    return np.array(values)


EVENTS = {
    20: (0.5, 0.0),
    45: (0.0, 2.0),
    60: (0.3, 3.0),
    61: (0.2, 0.0),
    80: (0.0, 0.5),
}


def test_returns_are_those_of_one_who_keeps_the_shares():
    raw = raw_history(100, EVENTS)
    raw.iloc[70, raw.columns.get_loc("capital_gains")] = 0.4
    adjusted = adjust(raw)
    values = wealth(raw)
    growth = adjusted["close"] / adjusted["close"].shift()
    np.testing.assert_allclose(growth.iloc[1:], values[1:] / values[:-1], rtol=1e-12)
    assert adjusted["close"].iloc[-1] == raw["close"].iloc[-1]
    assert adjusted["volume"].iloc[0] == pytest.approx(raw["volume"].iloc[0] * 3)


def test_undoing_splits_gives_back_what_was_traded():
    raw = raw_history(100, EVENTS)
    vendor = raw.copy()
    for row, ratio in ((45, 2.0), (60, 3.0), (80, 0.5)):
        vendor.iloc[:row, [0, 1, 2, 3, 5, 6]] /= ratio
        vendor.iloc[:row, 4] *= ratio
    pd.testing.assert_frame_equal(undo_splits(vendor), raw, rtol=1e-12)


def test_a_distribution_above_the_price_is_refused():
    raw = raw_history(30, {20: (1e4, 0.0)})
    with pytest.raises(BarsError, match="must be below the close before it"):
        adjust(raw)


def test_the_adjusted_past_does_not_depend_on_a_later_event_but_for_a_factor():
    raw = raw_history(100, EVENTS)
    early, late = adjust(raw.iloc[:50]), adjust(raw).iloc[:50]
    ratio = late["close"] / early["close"]
    np.testing.assert_allclose(ratio, ratio.iloc[0], rtol=1e-12)
