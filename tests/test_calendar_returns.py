"""Months, years and drawdowns, derived once more by plain loops."""

import numpy as np
import pandas as pd
import pytest

from trm_bt.evaluation.calendar_returns import period_returns, worst_drawdowns


@pytest.fixture(scope="module")
def equity():
    days = pd.bdate_range("2001-12-28", "2004-02-10")
    moves = np.random.default_rng(11).normal(0.0, 0.01, len(days))
    return pd.Series(1e6 * np.cumprod(1 + moves), days)


@pytest.mark.parametrize("unit", ["M", "Y"])
def test_periods_chain_to_the_whole_and_hold_what_a_loop_finds(equity, unit):
    closes, before = {}, {}
    last = equity.iloc[0]
    for day, value in equity.iloc[1:].items():
        key = f"{day:%Y-%m}" if unit == "M" else f"{day:%Y}"
        before.setdefault(key, last)
        closes[key] = last = value
    found = {str(key): value for key, value in period_returns(equity, unit).items()}
    assert list(found) == list(closes)
    for key, value in found.items():
        assert value == pytest.approx(closes[key] / before[key] - 1)
    whole = np.prod([1 + value for value in found.values()])
    assert whole == pytest.approx(equity.iloc[-1] / equity.iloc[0])


def test_the_base_alone_makes_no_month(equity):
    late = equity.loc["2002-01-31":]  # the base is the last session of January
    assert str(period_returns(late, "M").index[0]) == "2002-02"


def test_the_worst_drawdowns_are_the_deepest_that_a_loop_finds(equity):
    peak, peak_on, spans, open_span = -1.0, None, [], None
    for day, value in equity.items():
        if value >= peak:
            if open_span:
                spans.append((*open_span, day))
            peak, peak_on, open_span = value, day, None
        else:
            depth = value / peak - 1
            if open_span is None or depth < open_span[0]:
                open_span = (depth, peak_on, day)
    if open_span:
        spans.append((*open_span, None))
    expected = sorted(spans, key=lambda span: span[0])[:5]
    found = worst_drawdowns(equity)
    assert len(found) == 5
    for one, (depth, start, deepest, back) in zip(found, expected, strict=True):
        assert one.depth == pytest.approx(depth)
        assert (one.peak_on, one.deepest_on, one.recovered_on) == (start, deepest, back)
        between = equity.index.get_indexer([start, deepest])
        assert one.sessions_down == between[1] - between[0]
        if back is not None:
            there = equity.index.get_loc(back)
            assert one.sessions_back == there - between[1]
    assert any(one.recovered_on is None for one in found)


def test_a_portfolio_that_only_rises_has_no_drawdown():
    days = pd.bdate_range("2020-01-01", periods=5)
    assert worst_drawdowns(pd.Series([1.0, 2.0, 3.0, 4.0, 5.0], days)) == []
