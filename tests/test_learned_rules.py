import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.errors import LookAheadError
from trm_bt.market.features import FEATURE_NAMES, compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.strategies.learned_rules import (
    CALM_CLASS,
    ROUGH_CLASS,
    filtered_states,
    fit_boosted,
    fit_logistic,
    fit_majority,
    hmm_regime,
    last_best,
    retrained,
    weights_of_classes,
)
from trm_bt.strategies.rules import History


@pytest.fixture(scope="module")
def case():
    """Labels and features of 500 random sessions, with two trainings."""
    bars = make_bars(500, seed=2)
    features = compute_features(bars)
    labels = compute_labels(bars, features)
    decided = features.frame.loc[bars.sessions[300:]]
    known_by = pd.Series(bars.sessions[290], decided.index)
    known_by.iloc[100:] = bars.sessions[395]
    return labels, decided, known_by


def test_the_last_best_is_the_winner_known_at_the_close(case):
    labels, decided, _ = case
    found = last_best(labels, decided.index)
    for session, winner in zip(decided.index[::9], found[::9], strict=True):
        known = labels[labels["known_on"] <= session]
        assert winner == known["winner"].iloc[-1]
        assert known["known_on"].iloc[-1] == session
    assert last_best(labels, labels.index[:1]).tolist() == [-1]


def test_the_majority_is_that_of_the_labels_known_by_each_date(case):
    labels, decided, known_by = case
    found = retrained(fit_majority, labels, decided, known_by)
    for is_old in (True, False):
        block = known_by.index < known_by.index[100]
        block = block if is_old else ~block
        known = labels[labels["known_on"] <= known_by[block].iloc[0]]
        counts = [list(known["winner"]).count(c) for c in range(8)]
        assert set(found[block]) == {counts.index(max(counts))}


@pytest.mark.parametrize("module", ["sklearn", "lightgbm"])
def test_a_trained_model_finds_what_decides_the_label(case, module):
    pytest.importorskip(module, reason="comes with the extra research")
    fit = {"sklearn": fit_logistic, "lightgbm": fit_boosted}[module]
    labels, decided, known_by = case
    told = labels.assign(
        winner=np.where(labels["vix_level"] > labels["vix_level"].median(), 5, 0)
    )
    found = retrained(fit, told, decided, known_by)
    threshold = labels["vix_level"].median()
    hits = (found == np.where(decided["vix_level"] > threshold, 5, 0)).mean()
    assert hits > 0.8
    assert (retrained(fit, told, decided, known_by) == found).all()


@pytest.mark.parametrize("module", ["sklearn", "lightgbm"])
def test_labels_known_later_change_nothing(case, module):
    pytest.importorskip(module, reason="comes with the extra research")
    fit = {"sklearn": fit_logistic, "lightgbm": fit_boosted}[module]
    labels, decided, known_by = case
    is_late = labels["known_on"] > known_by.iloc[0]
    altered = labels.copy()
    altered.loc[is_late, "winner"] = 7
    altered.loc[is_late, FEATURE_NAMES[0]] = 99.0
    before, after = (
        retrained(fit, table, decided, known_by)[:100] for table in (labels, altered)
    )
    assert (before == after).all()


def test_a_model_may_not_decide_what_its_labels_reach(case):
    labels, decided, known_by = case
    known_by = known_by.copy()
    known_by.iloc[40] = known_by.index[40]
    with pytest.raises(LookAheadError, match=str(known_by.index[40].date())):
        retrained(fit_majority, labels, decided, known_by)


def test_sessions_without_a_model_or_a_label_have_no_class(case):
    labels, decided, known_by = case
    known_by = known_by.copy()
    known_by.iloc[:5] = pd.NaT
    known_by.iloc[5:10] = labels.index[0]
    found = retrained(fit_majority, labels, decided, known_by)
    assert (found[:10] == -1).all()
    assert (found[10:] >= 0).all()
    weights = weights_of_classes(found)
    assert np.isnan(weights[:10]).all()
    assert np.isfinite(weights[10:]).all()


@pytest.fixture(scope="module")
def regimes():
    """A calm and a rough market in turns of 150 sessions, and who is which."""
    rng = np.random.default_rng(0)
    is_rough = np.arange(1500) // 150 % 2 == 1
    returns = np.zeros((1500, 3))
    returns[1:, 0] = rng.normal(5e-4, np.where(is_rough, 0.025, 0.006))[1:]
    sessions = pd.bdate_range("2001-01-01", periods=1500)
    return History(sessions, returns), is_rough


def test_regimes_are_told_apart_without_knowing_what_comes(regimes):
    pytest.importorskip("hmmlearn", reason="comes with the extra research")
    history, is_rough = regimes
    known_by = pd.Series(history.sessions[599], history.sessions[600:])
    found = hmm_regime(history, known_by)
    expected = np.where(is_rough[600:], ROUGH_CLASS, CALM_CLASS)
    assert (found == expected).mean() > 0.9
    altered = History(history.sessions, history.returns.copy())
    altered.returns[1000:, 0] *= 5.0
    assert (hmm_regime(altered, known_by)[:400] == found[:400]).all()


def test_filtered_states_are_the_last_of_smoothed_ones(regimes):
    hmm = pytest.importorskip("hmmlearn.hmm", reason="comes with the extra research")
    history, _ = regimes
    rows = np.log1p(history.returns[1:401, :1])
    model = hmm.GaussianHMM(2, n_iter=50, random_state=0).fit(rows)
    filtered = filtered_states(
        rows[:, 0],
        model.startprob_,
        model.transmat_,
        model.means_[:, 0],
        model.covars_[:, 0, 0],
    )
    for t in range(1, 400, 13):
        expected = model.predict_proba(rows[:t])[-1]
        np.testing.assert_allclose(filtered[t - 1], expected, atol=1e-9)


def test_a_crash_leaves_the_states_finite():
    even, mixed = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]])
    returns = np.array([0.0, -0.9, 0.0])
    found = filtered_states(returns, even, mixed, np.zeros(2), np.array([1e-5, 1e-4]))
    assert np.isfinite(found).all()
    assert found[1, 1] == pytest.approx(1.0)
