"""Figures of a crisis and calibration, against loops written for these tests."""

import numpy as np
import pandas as pd
import pytest

from trm_bt.evaluation.crisis_figures import crisis_figures, in_context, recovered_on

DAYS = pd.bdate_range("2024-01-01", periods=8)
NO_ORDERS = pd.DataFrame({"filled_on": pd.DatetimeIndex([]), "value": []})


def by_hand(closes, n_inside):
    """Return the figures by going from close to close."""
    peak = closes[0]
    deepest, under, peak_then, at = 0.0, 0, closes[0], 0
    worst, worst_at = np.inf, 0
    for i in range(1, n_inside + 1):
        move = closes[i] / closes[i - 1] - 1
        if move < worst:
            worst, worst_at = move, i
        peak = max(peak, closes[i])
        if closes[i] < peak:
            under += 1
        if closes[i] / peak - 1 < deepest:
            deepest, peak_then, at = closes[i] / peak - 1, peak, i
    back = None
    for i in range(at + 1, len(closes)):
        if deepest < 0 and closes[i] >= peak_then:
            back = DAYS[i]
            break
    return {
        "total_return": closes[n_inside] / closes[0] - 1,
        "max_drawdown": deepest,
        "worst_session": worst,
        "worst_on": DAYS[worst_at],
        "sessions_under_water": under,
        "recovered_on": back,
        "turnover": 0.0,
    }


@pytest.mark.parametrize(
    "closes",
    [
        pytest.param([100, 90, 110, 99, 104.5, 108, 110, 120], id="back later"),
        pytest.param([100, 105, 90, 95, 96, 101, 106, 107], id="a peak within"),
        pytest.param([100, 90, 101, 100.5, 102, 95, 95, 99], id="back within"),
        pytest.param([100, 90, 80, 85, 90, 91, 92, 93], id="never"),
        pytest.param([100, 101, 102, 103, 104, 90, 80, 70], id="nothing lost"),
        pytest.param([100, 100, 100, 100, 100, 100, 100, 100], id="flat"),
    ],
)
def test_figures_follow_the_closes(closes):
    value = pd.Series(closes, DAYS, dtype=float)
    found = crisis_figures(value[:5], value[5:], NO_ORDERS)
    expected = by_hand(closes, 4)
    found = vars(found)
    for key in ("total_return", "max_drawdown", "worst_session", "turnover"):
        assert found.pop(key) == pytest.approx(expected.pop(key), abs=1e-12)
    assert found == expected


def test_turnover_counts_the_fills_within_the_crisis():
    value = pd.Series(100.0, DAYS)
    orders = pd.DataFrame(
        {
            "filled_on": [DAYS[0], DAYS[1], DAYS[4], DAYS[5], pd.NaT],
            "value": [50.0, 30.0, -10.0, 70.0, np.nan],
        }
    )
    found = crisis_figures(value[:5], value[5:], orders)
    assert found.turnover == pytest.approx((30 + 10) / 2 / 100)


def test_a_crisis_without_later_sessions_is_not_recovered():
    value = pd.Series([100.0, 90.0, 95.0], DAYS[:3])
    assert recovered_on(value, value.iloc[:0]) is None


def test_context_keeps_every_return():
    rng = np.random.default_rng(0)
    runs = pd.DataFrame(
        100 * np.cumprod(1 + rng.normal(0, 0.01, (8, 2)), axis=0), DAYS, ["trm", "spy"]
    )
    crisis = pd.Series([7.0, 6.0, 8.0], DAYS[2:5])
    whole = in_context(runs, {"trm": crisis})
    pd.testing.assert_series_equal(whole["spy"], runs["spy"])
    for i in range(1, 8):
        source = crisis if 3 <= i <= 4 else runs["trm"]
        expected = source[DAYS[i]] / source[DAYS[i - 1]]
        assert whole["trm"].iloc[i] / whole["trm"].iloc[i - 1] == pytest.approx(
            expected
        )
