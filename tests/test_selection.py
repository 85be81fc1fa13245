"""How settings are chosen: rules, utility, and what may be shipped."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.selection.candidates import CANDIDATES
from benchmarks.selection.judge import RISK_AVERSION, Record, Rule, hold, utility
from benchmarks.selection.table import Tried, choose
from trm_bt.config import TRMConfig
from trm_bt.market.allocations import ALLOCATION_WEIGHTS

LOG = Path(__file__).resolve().parents[1] / "docs" / "selection.jsonl"
BY_NAME = {one.name: one for one in CANDIDATES}


def test_the_utility_of_a_year_is_that_of_a_plain_loop():
    returns = [0.01, -0.02, 0.005, 0.0, 0.013]
    mean, variance = statistics.fmean(returns), statistics.variance(returns)
    expected = 252 * (mean - RISK_AVERSION / 2 * variance)
    assert utility(pd.Series(returns)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decision", ["argmax", "blend"])
def test_a_rule_averages_the_last_decisions(decision):
    rows = np.random.default_rng(2).dirichlet(np.full(8, 0.3), 12)
    found = Rule(decision, n_averaged=3).weights(pd.DataFrame(rows))
    for t in range(12):
        window = rows[max(t - 2, 0) : t + 1].tolist()
        shares = [sum(column) / len(window) for column in zip(*window, strict=True)]
        if decision == "argmax":
            shares = [float(share == max(shares)) for share in shares]
        by_hand = [
            sum(
                s * mix[asset]
                for s, mix in zip(shares, ALLOCATION_WEIGHTS, strict=True)
            )
            for asset in (0, 1)
        ]
        assert found[t].tolist() == pytest.approx(by_hand, abs=1e-12)


def test_buying_and_holding_costs_five_points_once(bars):
    few = bars.between(None, bars.sessions[80])
    (bought,) = hold(few, [np.tile([1.0, 0.0], (81, 1))], 0.0)
    opens, closes = few.equity["open"], few.equity["close"]
    assert bought.equity.iloc[-1] == pytest.approx(
        closes.iloc[-1] / opens.iloc[1] * (1 + few.cash_rate.iloc[0] / 252) / 1.0005,
        rel=1e-6,
    )


def tried(name: str, rule: Rule, gains: float, weights: list[float]) -> Tried:
    sessions = pd.bdate_range("2000-01-03", periods=100)
    excess = pd.Series(gains, sessions)
    record = Record(excess.cumsum(), excess, 0.0, 0.0, 0.0, np.zeros(2))
    schedule = pd.DataFrame({"equity": np.resize(weights, 100), "bond": 0.1}, sessions)
    return Tried(name, rule, schedule, record, [record], record)


def test_the_best_is_chosen_of_what_keeps_the_promises():
    lively = [0.2, 0.9]
    allowed = tried("slow_own_8", Rule(), 0.001, lively)
    others = [
        tried("slow_own_5", Rule(), 0.0005, lively),
        tried("slow_own_5", Rule(rebalance_band=0.1), 0.002, lively),
        tried("prior_5", Rule(), 0.002, lively),  # other labels
        tried("slow_own_5", Rule("blend"), 0.002, [0.2]),  # a constant answer
    ]
    assert choose([*others, allowed]) is allowed


def test_what_is_shipped_is_what_the_log_says():
    lines = [json.loads(line) for line in LOG.read_text().splitlines()]
    keeps = [
        line
        for line in lines
        if "labels" not in line["changes"]
        and line.get("device", "none") == "none"
        and not line["rule"]["rebalance_band"]
        and line["top_share"] < 0.95
    ]
    best = max(keeps, key=lambda line: math.fsum(line["utility_of_seeds"]))
    chosen = BY_NAME[best["candidate"]].config(0).model_dump()
    chosen["strategy"] |= best["rule"]
    assert chosen == TRMConfig().model_dump()
