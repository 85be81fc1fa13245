"""The jump model against loops, planted regimes, and returns changed afterwards."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_bars
from trm_bt.audit.api import AuditSettings, audit_policy
from trm_bt.strategies import jump_model as module
from trm_bt.strategies.jump_model import jump_model, regime_features
from trm_bt.strategies.rules import History, history_of

pytest.importorskip("jumpmodels", reason="comes with the extra research")


N_STAY = 250


def regimes(n_sessions=900, seed=0):
    """A market that rises calmly and falls roughly, a year each."""
    rng = np.random.default_rng(seed)
    is_good = np.arange(n_sessions) // N_STAY % 2 == 0
    drift, deviation = np.where(is_good, [[8e-4], [6e-3]], [[-1e-3], [1.8e-2]])
    returns = np.zeros((n_sessions, 3))
    returns[:, 0] = rng.normal(drift, deviation)
    returns[:, 1] = rng.normal(0.0, 5e-3, n_sessions)
    returns[0] = 0.0
    history = History(pd.bdate_range("2001-01-01", periods=n_sessions), returns)
    return history, is_good


def test_features_are_what_a_loop_says():
    excess = regimes()[0].excess[:, 0]
    found = regime_features(excess)

    def mean(values, half_life):
        weights = [0.5 ** (i / half_life) for i in range(len(values))][::-1]
        pairs = zip(weights, values, strict=True)
        return sum(w * v for w, v in pairs) / sum(weights)

    for t in range(60, 900, 120):
        past = excess[1 : t + 1].tolist()
        losses = [min(r, 0.0) ** 2 for r in past]
        expected = [
            np.log(mean(losses, 10)) / 2,
            mean(past, 20) / mean(losses, 20) ** 0.5,
            mean(past, 60) / mean(losses, 60) ** 0.5,
        ]
        assert found[t] == pytest.approx(expected, rel=1e-9)


def test_it_holds_equity_in_the_good_regime_and_cash_in_the_other():
    """It changes once after each change of regime, within half of what that lasts."""
    history, is_good = regimes(1500)
    weights = jump_model(history)
    known = np.isfinite(weights).all(axis=1)
    begin = int(known.argmax())
    first = history.sessions[begin]
    assert first.month in (1, 7)
    assert first.month != history.sessions[begin - 1].month
    assert begin >= 252 + 60
    assert known[begin:].all()
    assert set(map(tuple, weights[known])) == {(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)}
    held = weights[:, 0] == 1.0
    changes = 1 + begin + np.flatnonzero(held[begin + 1 :] != held[begin:-1])
    assert [int(row) // N_STAY for row in changes] == [2, 3, 4, 5]
    assert (changes % N_STAY <= N_STAY // 2).all()
    assert (held[changes] == is_good[changes]).all()


def test_no_later_return_changes_a_session():
    history, _ = regimes()
    whole = jump_model(history)
    for cut in (500, 650):
        sessions, returns = history.sessions[:cut], history.returns[:cut]
        short = jump_model(History(sessions, returns))
        np.testing.assert_array_equal(short, whole[:cut])
    other = history.returns.copy()
    other[700:] = -other[700:]
    changed = jump_model(History(history.sessions, other))
    np.testing.assert_array_equal(changed[:700], whole[:700])
    assert (changed[700:] != whole[700:]).any()


def test_the_audit_finds_no_look_ahead():
    bars = make_bars(700, seed=5)

    def weights(bars):
        columns = ["equity", "bond", "cash"]
        return pd.DataFrame(jump_model(history_of(bars)), bars.sessions, columns)

    assert audit_policy(weights, bars, AuditSettings(n_cuts=4)).difference is None


def test_fits_of_sessions_not_asked_for_are_left_out():
    history, _ = regimes()
    whole, some = jump_model(history), jump_model(history, since=600)
    np.testing.assert_array_equal(some[600:], whole[600:])
    assert np.isnan(some[:400]).all()


def test_the_window_rolls(monkeypatch):
    """Returns older than the window, but for what features remember, count nothing."""
    history, _ = regimes(1400)
    monkeypatch.setattr(module, "WINDOW", 500)
    other = history.returns.copy()
    # 700 sessions before the window: a weight of 2 ** -11 with the longest half-life
    other[1:100] = 0.5 * other[1:100]
    changed = jump_model(History(history.sessions, other))
    np.testing.assert_array_equal(changed[1300:], jump_model(history)[1300:])


@pytest.mark.parametrize("n_sessions", [2, 100, 300])
def test_a_short_history_gives_no_regime(n_sessions):
    history, _ = regimes()
    short = History(history.sessions[:n_sessions], history.returns[:n_sessions])
    assert np.isnan(jump_model(short)).all()
