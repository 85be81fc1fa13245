"""Objectives against plain loops, and who can win by which."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.spatial import ConvexHull

from tests.conftest import make_bars
from trm_bt.config import LabelConfig
from trm_bt.errors import BarsError
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.features import compute_features
from trm_bt.market.labels import (
    RETURN_COLUMNS,
    SCORE_COLUMNS,
    VARIANCE_COLUMNS,
    compute_labels,
    pick_winners,
)
from trm_bt.market.objectives import score

OBJECTIVES = ["pnl", "sharpe", "mean_variance"]
INSIDE = [3, 4, 6]
"""Classes that are no corner of the hull of (equity, bond) weights."""


def labels_of(bars, **settings):
    return compute_labels(bars, compute_features(bars), LabelConfig(**settings))


def held_paths(bars, fill, first, horizon):
    """Walk each allocation, bought once, and cash through the horizon: returns."""
    column = "open" if fill == "next_open" else "close"
    spy, tlt = bars.equity[column].tolist(), bars.bond[column].tolist()
    rate = bars.cash_rate.tolist()
    cash = [1.0]
    for session in range(first + 1, first + horizon + 1):
        cash.append(cash[-1] * (1 + rate[session - 1] / 252))
    paths = []
    for equity, bond, idle in ALLOCATION_WEIGHTS.tolist():
        shares, units = equity / spy[first], bond / tlt[first]
        values = [
            shares * spy[first + k] + units * tlt[first + k] + idle * cash[k]
            for k in range(horizon + 1)
        ]
        paths.append([values[k + 1] / values[k] - 1 for k in range(horizon)])
    return paths, [cash[k + 1] / cash[k] - 1 for k in range(horizon)]


def scored(objective, returns, cash, risk_aversion):
    if objective == "sharpe":
        excess = [earned - idle for earned, idle in zip(returns, cash, strict=True)]
        return statistics.fmean(excess) / statistics.stdev(excess)
    total = math.prod(1 + earned for earned in returns) - 1
    penalty = risk_aversion / 2 * len(returns) * statistics.variance(returns)
    return total - penalty


@pytest.mark.parametrize(("fill", "delay"), [("next_open", 1), ("close", 0)])
@pytest.mark.parametrize("horizon", [2, 5])
@pytest.mark.parametrize(
    ("objective", "risk_aversion"),
    [("sharpe", 3.0), ("mean_variance", 3.0), ("mean_variance", 50.0)],
)
def test_scores_equal_plain_loops(bars, fill, delay, horizon, objective, risk_aversion):
    labels = labels_of(
        bars,
        fill=fill,
        horizon=horizon,
        objective=objective,
        risk_aversion=risk_aversion,
    )
    for t in range(59, len(bars.sessions) - horizon - delay, 13):
        paths, cash = held_paths(bars, fill, t + delay, horizon)
        scores = [scored(objective, path, cash, risk_aversion) for path in paths]
        best = max(range(8), key=scores.__getitem__)
        row = labels.loc[bars.sessions[t]]
        assert row[list(VARIANCE_COLUMNS)].tolist() == pytest.approx(
            [horizon * statistics.variance(path) for path in paths], rel=1e-7
        )
        assert row[list(SCORE_COLUMNS)].tolist() == pytest.approx(
            scores, rel=1e-9, abs=1e-12
        )
        assert row["winner"] == best
        assert row["winner_return"] == pytest.approx(
            math.prod(1 + earned for earned in paths[best]) - 1, abs=1e-12
        )
        runner_up = sorted(scores)[-2]
        assert row["margin"] == pytest.approx(
            scores[best] - runner_up, rel=1e-7, abs=1e-9
        )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_realised_returns_stay_whatever_the_objective(bars, objective):
    plain = labels_of(bars)
    labels = labels_of(bars, objective=objective)
    pd.testing.assert_frame_equal(
        labels[list(RETURN_COLUMNS)], plain[list(RETURN_COLUMNS)], check_exact=True
    )
    assert [*plain.columns, *SCORE_COLUMNS * (objective != "pnl")] == [*labels.columns]


def test_without_risk_aversion_the_winners_are_those_of_profit(bars):
    labels = labels_of(bars, objective="mean_variance", risk_aversion=0.0)
    assert (labels["winner"] == labels_of(bars)["winner"]).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_cutting_the_future_changes_no_bit(bars, objective):
    whole = labels_of(bars, objective=objective)
    n_lookback = compute_features(bars).schema.n_lookback
    for n_labels in (1, 2, 3, 7, 50, 200):
        cut = bars.between(end=bars.sessions[n_lookback + 4 + n_labels])
        labels = labels_of(cut, objective=objective)
        assert len(labels) == n_labels
        pd.testing.assert_frame_equal(labels, whole.iloc[:n_labels], check_exact=True)


@pytest.mark.parametrize("objective", ["sharpe", "mean_variance"])
def test_one_session_has_no_risk_to_measure(objective):
    rule = f"{objective} needs a `horizon` of at least 2 sessions"
    with pytest.raises(ValidationError, match=rule):
        LabelConfig(objective=objective, horizon=1)


def test_a_sharpe_ratio_of_nothing_is_refused_with_its_session(bars):
    def halted(frame):
        frame = frame.copy()
        first = frame.iloc[200]["close"]
        frame.iloc[201:220, :4] = first
        return frame

    still = replace(
        bars, equity=halted(bars.equity), bond=halted(bars.bond), cash_rate=None
    )
    rule = f"ultra_defensive, decided on {bars.sessions[200].date()}, earns the same"
    with pytest.raises(BarsError, match=rule):
        labels_of(still, objective="sharpe")
    labels = labels_of(still, objective="mean_variance").iloc[200 - 59 :]
    assert labels["is_tie"].iloc[0]
    assert labels["winner"].iloc[0] == 0


def test_prices_at_rest_give_no_sharpe_ratio_and_no_winner():
    prices, config = np.ones((9, 3)), LabelConfig(objective="sharpe")
    scores = score(prices, np.zeros((8, 4)), config)
    assert np.isnan(scores).all()
    assert pick_winners(scores)[0].tolist() == [8] * 4


def test_three_allocations_are_no_corner_of_the_hull():
    corners = ConvexHull(ALLOCATION_WEIGHTS[:, :2]).vertices
    assert sorted({*range(8)} - {*corners.tolist()}) == INSIDE
    on_the_edge = 2 / 3 * ALLOCATION_WEIGHTS[5] + 1 / 3 * ALLOCATION_WEIGHTS[7]
    assert ALLOCATION_WEIGHTS[6] == pytest.approx(on_the_edge, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("horizon", [1, 5, 21])
def test_three_allocations_never_win_by_profit_on_random_bars(seed, horizon):
    winner = labels_of(make_bars(1000, seed), horizon=horizon)["winner"]
    assert set(winner) == {0, 1, 2, 5, 7}


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("horizon", [1, 5, 21])
def test_three_allocations_never_win_by_profit_on_real_bars(real_bars, fill, horizon):
    winner = labels_of(real_bars, fill=fill, horizon=horizon)["winner"]
    assert len(winner) > 5000
    assert set(winner) == {0, 1, 2, 5, 7}


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"objective": "sharpe"}, 0.02),
        ({"objective": "mean_variance"}, 0.001),
        ({"objective": "mean_variance", "risk_aversion": 20.0}, 0.01),
    ],
)
def test_they_do_win_where_risk_counts(real_bars, settings, least):
    is_inside = labels_of(real_bars, **settings)["winner"].isin(INSIDE)
    assert least < is_inside.mean() < 2 * least


@pytest.mark.parametrize("factor", [0.001, 3.0, 1000.0])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_scale_of_prices_does_not_matter(bars, objective, factor):
    larger = replace(bars, equity=bars.equity * factor)
    labels = labels_of(bars, objective=objective)
    scaled = labels_of(larger, objective=objective)
    assert (labels["winner"] == scaled["winner"]).all()
    assert np.allclose(labels["margin"], scaled["margin"], atol=1e-9)
