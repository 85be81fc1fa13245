"""Who forecasts variance: every number from a loop, and the sentence it forces."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.api import OLS, add_constant

from tests.comparisons import CONFIG, decisions, market
from trm_bt.config import TRMConfig
from trm_bt.evaluation.risk_skill import (
    RiskForecasts,
    diebold_mariano,
    implied_variances,
    qlike,
    risk_forecasts,
    risk_sentence,
    risk_skill,
)
from trm_bt.market.allocations import ALLOCATION_WEIGHTS
from trm_bt.market.labels import features_and_labels

GROWTH = 4
NAME = "growth"


@pytest.fixture(scope="module")
def labels():
    return features_and_labels(market(), CONFIG)[1]


@pytest.fixture(scope="module")
def given(labels):
    return risk_forecasts(market(), decisions(), labels, CONFIG)


def daily_squares():
    """Squared percent excess returns of the growth mix at its target weights."""
    bars = market()
    equity, bond = (f["close"].tolist() for f in (bars.equity, bars.bond))
    rates, (e, b, _) = bars.cash_rate.tolist(), ALLOCATION_WEIGHTS[GROWTH]
    squares = [math.nan]
    for t in range(1, len(equity)):
        cash = rates[t - 1] / 252
        parts = equity[t] / equity[t - 1] - 1 - cash, bond[t] / bond[t - 1] - 1 - cash
        squares.append((100 * (e * parts[0] + b * parts[1])) ** 2)
    return squares


def realised(t):
    """Variance of a session of the growth mix, held from the open after t on."""
    bars = market()
    opens = [f["open"].tolist()[t + 1 : t + 7] for f in (bars.equity, bars.bond)]
    cash = [1.0]
    for rate in bars.cash_rate.tolist()[t + 1 : t + 6]:
        cash.append(cash[-1] * (1 + rate / 252))
    grown = [[price / o[0] for price in o] for o in opens] + [cash]
    weights = ALLOCATION_WEIGHTS[GROWTH].tolist()
    values = [
        sum(w * g[k] for w, g in zip(weights, grown, strict=True)) for k in range(6)
    ]
    return statistics.variance(values[k + 1] / values[k] - 1 for k in range(5))


def test_outcomes_are_the_variance_of_the_mix_held_over_the_horizon(given):
    for session in given.realised.index[5:250:40]:
        t = market().sessions.get_loc(session)
        assert given.realised.loc[session, NAME] == pytest.approx(realised(t))
    assert given.realised.iloc[-6:].isna().all().all()


@pytest.mark.parametrize("model", ["ewma", "har", "har_vix"])
def test_simple_models_know_what_is_known_at_the_close(given, labels, model):
    squares, vix = daily_squares(), market().volatility["close"].tolist()

    def terms(t):
        means = [statistics.fmean(squares[t - k + 1 : t + 1]) for k in (1, 5, 22)]
        return [*means, vix[t] ** 2 / 252] if model == "har_vix" else means

    for session in given.realised.index[[0, 130, 269]]:
        t = market().sessions.get_loc(session)
        if model == "ewma":
            weights = [0.94 ** (t - s) for s in range(1, t + 1)]
            pairs = zip(weights, squares[1 : t + 1], strict=True)
            expected = sum(w * r for w, r in pairs) / sum(weights) / 1e4
        else:
            known = labels.index[labels["known_on"] <= session]
            past = market().sessions.get_indexer(known)
            outcomes = [1e4 * realised(s) for s in past]
            fitted = OLS(outcomes, add_constant([terms(s) for s in past])).fit()
            expected = float(fitted.predict([[1.0, *terms(t)]])[0]) / 1e4
        found = given.forecasts[model].loc[session, NAME]
        assert found == pytest.approx(expected, rel=1e-6)


def test_probabilities_weigh_the_variances_of_weeks_that_each_allocation_won(
    given, labels
):
    own = decisions()
    known = labels[labels["known_on"] <= own.known_by.iloc[10]]
    rows = list(zip(known["winner"], known[f"variance_{NAME}"] / 5, strict=True))
    everything = statistics.fmean(v for _, v in rows)
    means = []
    for winner in range(8):
        won = [v for w, v in rows if w == winner]
        means.append(statistics.fmean(won) if won else everything)
    for t in (10, 200):
        expected = sum(p * m for p, m in zip(own.probs[t], means, strict=True))
        assert given.forecasts["trm"][NAME].iloc[t] == pytest.approx(expected)
    assert given.forecasts["trm"].iloc[:2].isna().all().all()


def test_labels_that_the_model_did_not_know_change_nothing(labels):
    own = decisions()
    variances = labels[[f"variance_{NAME}"]]
    late = (labels["known_on"] > own.known_by.iloc[10]).to_numpy()
    changed = variances.mask(late[:, np.newaxis], 9.0)
    found = implied_variances(own, labels, variances)
    pd.testing.assert_frame_equal(implied_variances(own, labels, changed), found)


@pytest.mark.parametrize(
    "change", [{"strategy_loss_weight": 0.0}, {"target": "utility"}]
)
def test_a_network_that_does_not_name_the_winner_implies_nothing(labels, change):
    training = CONFIG.training.model_copy(update=change)
    config = CONFIG.model_copy(update={"training": training})
    given = risk_forecasts(market(), decisions(), labels, config)
    assert set(given.forecasts) == {"ewma", "har", "har_vix"}
    skill = risk_skill(given)
    assert all(model.difference is None for model in skill.models.values())
    assert "TRM implies none" in risk_sentence(skill)
    assert "trm" not in skill.models


def test_the_risk_preset_implies_nothing():
    training = TRMConfig.preset("risk").training
    assert training.strategy_loss_weight == 0.0
    assert TRMConfig().training.strategy_loss_weight > 0.0


def test_the_interval_is_that_of_newey_and_west():
    rng = np.random.default_rng(0)
    shocks = rng.standard_normal(400)
    values = 0.1 + np.convolve(shocks, [0.5, 0.3, 0.2])[:400]
    mean, low, high, p_value = diebold_mariano(values, 4)
    centred = (values - sum(values) / 400).tolist()
    total = sum(x * x for x in centred)
    for lag in range(1, 5):
        pairs = zip(centred[lag:], centred, strict=False)
        total += 2 * (1 - lag / 5) * sum(a * b for a, b in pairs)
    error = math.sqrt(total / 400 / 399)
    assert mean == pytest.approx(sum(values) / 400)
    assert (low, high) == pytest.approx(
        (mean - 1.96 * error, mean + 1.96 * error), 1e-4
    )
    assert p_value == pytest.approx(math.erfc(abs(mean) / error / math.sqrt(2)))


def made(n_sessions=800):
    """Truth known to TRM, known late to EWMA, and a level to the two others."""
    rng = np.random.default_rng(1)
    sessions = pd.bdate_range("2001-01-01", periods=n_sessions)
    truth = 1e-4 * np.exp(np.sin(np.arange(n_sessions) / 20.0))
    seen = truth * stats.chi2.rvs(4, size=n_sessions, random_state=rng) / 4
    forecasts = {
        "trm": truth,
        "ewma": np.roll(truth, 20),
        "har": np.full(n_sessions, truth.mean()),
        "har_vix": np.full(n_sessions, 2 * truth.mean()),
    }
    frames = {k: pd.DataFrame({"a": v}, sessions) for k, v in forecasts.items()}
    return RiskForecasts(pd.DataFrame({"a": seen}, sessions), frames, 5)


def test_the_model_that_knows_the_truth_is_the_best():
    given = made()
    skill = risk_skill(given)
    assert skill.best == "trm"
    seen, truth = given.realised["a"], given.forecasts["trm"]["a"]
    losses = [s / f - math.log(s / f) - 1 for s, f in zip(seen, truth, strict=True)]
    assert skill.models["trm"].qlike == pytest.approx(statistics.fmean(losses))
    assert skill.models["trm"].by_allocation == {"a": skill.models["trm"].qlike}
    for name in ("ewma", "har", "har_vix"):
        model = skill.models[name]
        assert model.difference == pytest.approx(
            skill.models["trm"].qlike - model.qlike
        )
        assert model.high < 0 < 0.05 - model.p_value
    assert "variance is what TRM implies" in risk_sentence(skill)
    assert ", more than chance gives" in risk_sentence(skill)


def test_where_a_simple_model_wins_the_sentence_says_which():
    given = made()
    given.forecasts["trm"], given.forecasts["har"] = (
        given.forecasts["har"],
        given.forecasts["trm"],
    )
    said = risk_sentence(risk_skill(given))
    assert "variance is HAR:" in said
    assert "differs from HAR by +" in said


def test_sessions_that_one_model_cannot_forecast_count_for_none():
    given = made()
    given.forecasts["har"].iloc[:700] = np.nan
    assert risk_skill(given).sessions == 100
    given.forecasts["ewma"].iloc[-50:] = np.nan
    assert risk_skill(given) is None


def test_the_mean_of_what_is_seen_has_the_least_loss():
    seen = np.array([1.0, 2.0, 6.0])
    losses = [qlike(seen, np.full(3, level)).mean() for level in (2.0, 3.0, 4.0)]
    assert min(losses) == losses[1]
