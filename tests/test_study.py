"""The judging of the study against plain loops and a napkin."""

import math
import re
import statistics
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.evidence.study_tables import (
    AVERSION,
    Earned,
    against_own_mix,
    constant,
    differences,
    earned_trust,
    figures,
    mean_and_error,
    replayed,
    traded,
    trust,
    utility,
)
from trm_bt import load_bars
from trm_bt.evaluation.metrics import max_drawdown, sharpe
from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.market.labels import cash_returns


@pytest.fixture(scope="module")
def bars():
    return load_bars("sample", start="2001-01-02", end="2004-12-31", inputs=("core",))


def held(bars, mix, seed=0):
    sessions = bars.sessions[20:-1]
    weights = pd.DataFrame([mix] * len(sessions), sessions, ["equity", "bond", "cash"])
    return constant(
        Earned("held", seed, "long", bars, bars.equity["close"], weights), mix
    )


def test_the_mean_difference_is_the_difference_of_utilities():
    rng = np.random.default_rng(0)
    sessions = pd.bdate_range("2001-01-02", periods=500)
    ours, theirs = (pd.Series(rng.normal(0, s, 500), sessions) for s in (0.01, 0.02))

    mean, _ = mean_and_error(differences(ours, theirs))

    expected = utility(ours.to_numpy()) - utility(theirs.to_numpy())
    assert mean == pytest.approx(expected, rel=1e-9)


def test_errors_equal_a_plain_loop():
    values = np.random.default_rng(1).normal(0, 1, 300).cumsum() * 0.01

    mean, error = mean_and_error(values)

    n, lags = 300, int(4 * 3 ** (2 / 9))
    centred = [v - statistics.fmean(values) for v in values]
    total = sum(c * c for c in centred)
    for lag in range(1, lags + 1):
        products = sum(centred[t] * centred[t - lag] for t in range(lag, n))
        total += 2 * (1 - lag / (lags + 1)) * products
    expected = math.sqrt(total / n**2 * n / (n - 1))
    assert mean == pytest.approx(252 * statistics.fmean(values))
    assert error == pytest.approx(252 * expected, rel=1e-9)


def test_trust_on_a_napkin():
    # gains of 2 and 0 in turn: mean 1, variance 1, so 1 - 1 / n; none before a year
    gains = np.tile([2.0, 0.0], 150)

    shares = trust(gains)

    assert not shares[:251].any()
    assert shares[251] == pytest.approx(1 - 1 / 252)
    assert shares[299] == pytest.approx(1 - 1 / 300)
    assert not trust(-gains).any()


def test_trust_knows_nothing_later():
    gains = np.random.default_rng(2).normal(0.05, 1.0, 600)
    before = trust(gains)

    gains[400:] += 3.0

    assert trust(gains)[:400].tolist() == before[:400].tolist()
    assert trust(gains)[-1] > before[-1]


def test_a_model_that_gains_nothing_leaves_the_anchor(bars):
    poor = held(bars, (0.2, 0.5, 0.3))
    values = np.linspace(1.0, 0.5, len(poor.equity))
    falling = replace(poor, equity=pd.Series(values, poor.equity.index))

    found = earned_trust(falling)

    assert found.weights.to_numpy().tolist() == [[0.6, 0.4, 0.0]] * len(found.weights)


def test_a_mix_is_its_own_average_mix(bars):
    line = figures(held(bars, (0.6, 0.4, 0.0)))

    assert line["sharpe"] == line["mix_sharpe"]
    assert line["drawdown"] == line["mix_drawdown"]
    assert (line["equity"], line["bond"]) == (0.6, 0.4)
    assert AVERSION == 5.0


def test_what_a_mix_trades_is_what_the_accounts_say(bars):
    mix = held(bars, (0.6, 0.4, 0.0))

    said = replayed(bars, mix.weights)[1]

    n_years = len(mix.weights) / SESSIONS_PER_YEAR
    assert traded(mix).sum() / n_years == pytest.approx(said, rel=0.1)


def test_a_mix_leads_its_own_average_by_nothing(bars):
    table = against_own_mix([held(bars, (0.6, 0.4, 0.0), seed) for seed in range(2)])

    (row,) = [line for line in table.splitlines() if line.startswith("| 2000-2011")]
    assert row.count("+0.00 (+0.00 to +0.00)") == 4


def test_the_interval_of_a_lead_holds_it(bars):
    bold = replace(held(bars, (0.9, 0.1, 0.0)), name="bold")
    weights = bold.weights.copy()
    weights.iloc[len(weights) // 2 :] = (0.1, 0.9, 0.0)
    values, _ = replayed(bars, weights)

    table = against_own_mix([replace(bold, weights=weights, equity=values)])

    row = table.splitlines()[-1]
    for value, low, high in re.findall(r"([-+.\d]+) \(([-+.\d]+) to ([-+.\d]+)\)", row):
        assert float(low) <= float(value) <= float(high)
    mix = held(bars, tuple(weights.mean()))
    lead = [sharpe(e, cash_returns(bars)) for e in (values, mix.equity)]
    assert float(row.split("|")[2].split()[0]) == pytest.approx(
        lead[0] - lead[1], abs=0.006
    )
    falls = [100 * max_drawdown(e) for e in (values, mix.equity)]
    assert float(row.split("|")[3].split()[0]) == pytest.approx(
        falls[0] - falls[1], abs=0.006
    )
