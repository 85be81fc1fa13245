"""Counterfactual bars share the past up to a cut, bit for bit, and differ after it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trm_bt.audit.counterfactual import (
    N_OTHER_SESSIONS,
    counterfactuals_at,
    pick_cuts,
    with_other_future,
    with_other_past,
)
from trm_bt.market.bars import CORE_ROLES, ROLES
from trm_bt.quality.core_roles import check_volatility_role
from trm_bt.quality.moves import find_foreign_closes


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def test_the_past_is_shared_and_the_future_is_another(full_bars, generator):
    cut = full_bars.sessions[200]
    others = [
        *counterfactuals_at(full_bars, cut, generator),
        *counterfactuals_at(full_bars, cut, generator, has_open=True),
    ]
    assert [other.kind for other in others] == ["cut", "altered", "cut", "opened"]
    assert others[3].opened == full_bars.sessions[201]
    for other in others:
        ahead = other.bars.sessions[other.bars.sessions > cut]
        assert (len(ahead) == 0) == (other.kind == "cut")
        assert len(ahead) <= N_OTHER_SESSIONS
        for role in ROLES:
            ours, theirs = getattr(full_bars, role), getattr(other.bars, role)
            assert theirs.loc[:cut].equals(ours.loc[:cut])
            if isinstance(ours, pd.Series):
                assert theirs.name == ours.name
            else:
                assert theirs.dtypes.equals(ours.dtypes)
            if len(ahead):
                changed = theirs.loc[ahead].to_numpy() != ours.loc[ahead].to_numpy()
                assert changed[1:].all()


def test_another_future_lacks_sessions_and_moves_the_other_way(bars, generator):
    n_dropped, n_turned, n_cuts = 0, 0, 0
    for position in range(50, 330, 10):
        cut = bars.sessions[position]
        other = with_other_future(bars, cut, generator)
        ahead = other.sessions[other.sessions > cut]
        horizon = bars.sessions[position + 1 : position + 1 + N_OTHER_SESSIONS]
        assert ahead.isin(horizon).all()
        n_dropped += len(horizon) - len(ahead)
        moves = [np.sign(b.equity["close"].diff()[ahead[0]]) for b in (bars, other)]
        if ahead[0] == bars.sessions[position + 1]:
            n_turned, n_cuts = n_turned + (moves[0] != moves[1]), n_cuts + 1
    assert 0.2 < n_dropped / (28 * N_OTHER_SESSIONS) < 0.3
    assert n_turned > 0.75 * n_cuts > 10


def test_a_future_on_the_same_calendar_lacks_no_session(bars, generator):
    cut = bars.sessions[200]
    (other,) = counterfactuals_at(bars, cut, generator, keeps_calendar=True)
    assert other.kind == "altered"
    assert other.bars.sessions.equals(bars.sessions[: 201 + N_OTHER_SESSIONS])
    ahead = [b.equity["close"].iloc[201:264] for b in (bars, other.bars)]
    assert (ahead[0] != ahead[1]).all()


def test_another_past_has_the_same_sessions_and_no_value_in_common(
    full_bars, generator
):
    other = with_other_past(full_bars, generator)
    for role in ROLES:
        ours, theirs = getattr(full_bars, role), getattr(other, role)
        assert theirs.index.equals(ours.index)
        assert (ours.to_numpy() != theirs.to_numpy()).all()
        assert np.allclose(ours, theirs, rtol=0.15, atol=0.02)


def test_the_next_session_opens_as_it_did_and_nothing_else_of_it_stays(
    full_bars, generator
):
    for position in (1, 100, 398):
        cut, opened = full_bars.sessions[position - 1], full_bars.sessions[position]
        other = with_other_future(full_bars, cut, generator, keeps_open=True)
        for role in ("equity", "bond", "volatility"):
            ours = getattr(full_bars, role).loc[opened]
            theirs = getattr(other, role).loc[opened]
            assert (ours == theirs).to_dict() == {
                name: name == "open" for name in ours.index
            }
        assert other.put_call[opened] != full_bars.put_call[opened]
        assert other.cash_rate[opened] != full_bars.cash_rate[opened]
        assert (other.members.loc[opened] != full_bars.members.loc[opened]).all()


def test_a_calm_volatility_index_stays_one(bars, generator):
    calm = bars.volatility * (6 / bars.volatility["close"].min())
    calm_bars = replace(bars, volatility=calm)
    for position in range(100, 390, 5):
        other = with_other_future(calm_bars, bars.sessions[position], generator)
        closes = other.volatility["close"]
        assert list(find_foreign_closes(closes, "volatility", "VIX")) == []


@pytest.mark.parametrize("keeps_open", [False, True])
def test_no_other_future_is_refused_as_bars(real_bars, generator, keeps_open):
    # of calm years, in which a mirrored rise of the index leads below all it has been
    for position in range(len(real_bars.sessions) - 2, 200, -40):
        cut = real_bars.sessions[position]
        other = with_other_future(real_bars, cut, generator, keeps_open=keeps_open)
        closes = {role: getattr(other, role)["close"] for role in CORE_ROLES}
        check_volatility_role(pd.DataFrame(closes), "VIX")


def test_the_same_seed_gives_the_same_futures(bars):
    pair = [
        with_other_future(bars, bars.sessions[99], np.random.default_rng(3)).equity
        for _ in range(2)
    ]
    assert pair[0].equals(pair[1])


def test_cuts_are_spread_and_half_of_them_stand_at_events(bars, generator):
    sessions = bars.sessions
    assert pick_cuts(sessions, None, generator, sessions[:0]).equals(sessions)
    assert pick_cuts(sessions, 400, generator, sessions[:0]).equals(sessions)
    cuts = pick_cuts(sessions, 40, generator, sessions[:0])
    places = sessions.get_indexer(cuts)
    assert (places // 10 == np.arange(40)).all()
    events = sessions[[3, 5, 8, 200, 399]]
    for n_cuts, n_events in ((4, 2), (10, 5), (100, 5)):
        cuts = pick_cuts(sessions, n_cuts, generator, events)
        assert len(cuts) == n_cuts
        assert cuts.is_monotonic_increasing
        assert cuts.isin(events).sum() >= n_events
