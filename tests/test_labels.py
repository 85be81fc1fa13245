"""Labels against plain loops, and the fact that three classes never win."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.config import LabelConfig
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.features import compute_features
from trm_bt.market.label_table import summarize_labels
from trm_bt.market.labels import (
    RETURN_COLUMNS,
    cash_returns,
    compute_labels,
    forward_returns,
)
from trm_bt.market.objectives import mix

TABLE = [
    (0.20, 0.50, 0.30),
    (0.40, 0.30, 0.30),
    (0.60, 0.20, 0.20),
    (0.70, 0.20, 0.10),
    (0.80, 0.15, 0.05),
    (0.90, 0.10, 0.00),
    (0.85, 0.15, 0.00),
    (0.75, 0.25, 0.00),
]


def test_the_allocations_are_the_table_and_sum_to_one():
    assert ALLOCATION_WEIGHTS.tolist() == [list(row) for row in TABLE]
    assert np.allclose(ALLOCATION_WEIGHTS.sum(axis=1), 1, atol=1e-15)


@pytest.mark.parametrize(
    ("fill", "column", "delay"), [("next_open", "open", 1), ("close", "close", 0)]
)
@pytest.mark.parametrize("horizon", [1, 5])
def test_labels_equal_plain_loops(bars, fill, column, delay, horizon):
    config = LabelConfig(horizon=horizon, fill=fill)
    labels = compute_labels(bars, compute_features(bars), config)
    n = len(bars.sessions)
    assert labels.index[-1] == bars.sessions[n - 1 - horizon - delay]
    spy, tlt = bars.equity[column].tolist(), bars.bond[column].tolist()
    rate = bars.cash_rate.tolist()
    for t in range(59, n - horizon - delay, 17):
        bought, sold = t + delay, t + delay + horizon
        cash = 1.0
        for session in range(bought + 1, sold + 1):
            cash *= 1 + rate[session - 1] / 252
        earned = [
            e * spy[sold] / spy[bought] + b * tlt[sold] / tlt[bought] + c * cash - 1
            for e, b, c in TABLE
        ]
        row = labels.loc[bars.sessions[t]]
        assert row[list(RETURN_COLUMNS)].tolist() == pytest.approx(earned, abs=1e-12)
        best = max(range(8), key=earned.__getitem__)
        assert row["winner"] == best
        assert row["winner_return"] == pytest.approx(earned[best], abs=1e-12)
        assert row["margin"] == pytest.approx(
            earned[best] - sorted(earned)[-2], abs=1e-12
        )
        assert row["known_on"] == bars.sessions[sold]


def test_cutting_the_future_takes_exactly_the_last_rows(bars):
    whole = compute_labels(bars, compute_features(bars))
    for cut_at in range(100, 400, 11):
        cut = bars.between(end=bars.sessions[cut_at])
        labels = compute_labels(cut, compute_features(cut))
        assert labels.index[-1] == bars.sessions[cut_at - 6]
        pd.testing.assert_frame_equal(
            labels, whole.loc[: labels.index[-1]], check_exact=True
        )


def test_without_a_rate_cash_earns_nothing(bars):
    assert (forward_returns(replace(bars, cash_rate=None))["cash"] == 0).all()


def test_cash_accrues_the_last_known_yield(bars):
    cut = bars.between(end=bars.sessions[2])
    rates = pd.Series([0.0252, 0.0504, 0.0756], cut.sessions)
    earned = cash_returns(replace(cut, cash_rate=rates))
    assert earned.tolist() == pytest.approx([0.0, 0.0001, 0.0002], abs=1e-15)


def test_ties_go_to_the_lower_index_and_are_counted(bars):
    flat = {"open": 50.0, "high": 50.0, "low": 50.0, "close": 50.0}
    still = replace(
        bars,
        equity=bars.equity.assign(**flat),
        bond=bars.bond.assign(**flat),
        cash_rate=None,
    )
    labels = compute_labels(still, compute_features(still))
    assert (labels["winner"] == 0).all()
    assert (labels["margin"] == 0).all()
    assert summarize_labels(labels).n_ties == len(labels)


def test_scores_apart_by_round_off_alone_are_tied(bars):
    """With one return for equity and bond, 5, 6 and 7 are equal, and so are 0 and 1."""
    twins = replace(bars, bond=bars.equity * 0.7, cash_rate=None)
    labels = compute_labels(twins, compute_features(twins))
    is_up = labels["winner_return"] > 0
    assert 100 < is_up.sum() < 300
    assert (labels["winner"] == np.where(is_up, 5, 0)).all()
    assert labels["is_tie"].all()
    raw = labels[list(RETURN_COLUMNS)].to_numpy().argmax(axis=1)
    assert (raw != labels["winner"]).any()


def test_one_row_has_the_bits_it_has_among_others(bars):
    assets = forward_returns(bars)
    whole = mix(assets.to_numpy()).T
    for row in range(0, len(assets), 7):
        alone = mix(assets.iloc[[row]].to_numpy()).T
        assert alone.tobytes() == whole[[row]].tobytes()


def test_a_session_inside_two_crises_carries_both(real_bars):
    labels = compute_labels(real_bars, compute_features(real_bars))
    assert labels.at[pd.Timestamp("2008-10-10"), "crises"] == "financial_crisis"
    assert labels.at[pd.Timestamp("2007-10-10"), "crises"] == ""
    sessions = pd.bdate_range("2001-09-17", periods=400, name="session")
    moved = make_bars(400)
    parts = {
        role: getattr(moved, role).set_axis(sessions)
        for role in ("equity", "bond", "volatility", "cash_rate")
    }
    labels = compute_labels(
        replace(moved, **parts), compute_features(replace(moved, **parts))
    )
    assert labels["crises"].iloc[0] == "dot_com_crash"
    sessions = pd.bdate_range("2001-06-01", periods=400, name="session")
    parts = {role: values.set_axis(sessions) for role, values in parts.items()}
    early = replace(moved, **parts)
    labels = compute_labels(early, compute_features(early))
    assert (
        labels.at[pd.Timestamp("2001-09-18"), "crises"] == "dot_com_crash;september_11"
    )
