"""The folds of a walk-forward: no gap, no overlap, no label that was not known."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.planted import planted_samples
from trm_bt.config import TrainingConfig, TRMConfig, WalkForwardConfig
from trm_bt.errors import BarsError
from trm_bt.learning.splits import Split, before_crises, by_calendar, plan_crises
from trm_bt.market.crises import CRISES

SAMPLES = planted_samples(400)
CALENDAR = SAMPLES.sessions.union(SAMPLES.known_on)


def settings(min_labels: int = 100, **walkforward) -> TRMConfig:
    return TRMConfig(
        training=TrainingConfig(min_labels=min_labels),
        walkforward=WalkForwardConfig(**walkforward),
    )


def plan(config: TRMConfig) -> list[Split]:
    return by_calendar(CALENDAR, SAMPLES.known_on, config)


@given(
    min_labels=st.integers(1, 200),
    every=st.integers(20, 150),
    embargo=st.integers(0, 20),
    window=st.one_of(st.none(), st.integers(1, 300)),
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_every_session_is_decided_once_and_by_labels_known_before(
    min_labels, every, embargo, window
):
    folds = plan(settings(min_labels, retrain_every=every, embargo=embargo))

    decided = [s for fold in folds for s in CALENDAR[fold.mask(CALENDAR)]]
    assert decided == list(CALENDAR[folds[0].first <= CALENDAR])
    for fold in folds:
        rows = SAMPLES.where(fold.rows(SAMPLES.known_on, window))
        newest_known = CALENDAR[CALENDAR.get_loc(fold.first) - 1 - embargo]
        known = [k for k, day in enumerate(SAMPLES.known_on) if day <= newest_known]
        kept = known if window is None else known[-window:]
        assert len(known) >= min_labels
        assert rows.sessions.tolist() == SAMPLES.sessions[kept].tolist()
        # a label is known six sessions after its own: purged, and the embargo too
        assert (
            CALENDAR.get_loc(max(rows.sessions))
            <= CALENDAR.get_loc(fold.first) - 7 - embargo
        )


def test_the_first_fold_begins_as_soon_as_enough_labels_are_known():
    folds = plan(settings(100, retrain_every=150))

    # label 100 (from 1) is of session 99 and known on session 105; 106 decides first
    assert folds[0].first == CALENDAR[106]
    assert folds[0].frozen_on == CALENDAR[105]
    assert [fold.name for fold in folds] == [
        str(CALENDAR[k].date()) for k in (106, 256)
    ]
    assert folds[-1].last == CALENDAR[-1]


def test_dates_to_retrain_on_take_the_place_of_a_step():
    wanted = [CALENDAR[200].date(), CALENDAR[300].date()]

    folds = plan(settings(100, retrain_on=tuple(wanted)))

    assert [fold.first for fold in folds] == [CALENDAR[k] for k in (106, 200, 300)]


def test_the_first_decision_can_be_put_off():
    folds = plan(settings(100, first_decision=CALENDAR[150].date()))

    assert folds[0].first == CALENDAR[150]


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(BarsError, match="needs 500 labels known before"):
        plan(settings(500))
    with pytest.raises(BarsError, match=r"`retrain_on` must lie between.*1980-01-01"):
        plan(settings(100, retrain_on=(date(1980, 1, 1),)))


def test_folds_are_those_of_skfolio():
    pytest.importorskip("skfolio", reason="the second opinion is not installed")
    from skfolio.model_selection import WalkForward

    folds = plan(settings(100, retrain_every=50, window=60))
    begin = list(CALENDAR).index(folds[0].first)
    theirs = WalkForward(test_size=50, train_size=60, purged_size=6)
    n_rows = 60 + 6 + len(CALENDAR) - begin
    splits = list(theirs.split(np.zeros((n_rows, 1))))

    shift = begin - 66
    for fold, (train, test) in zip(folds, splits, strict=True):  # six whole folds
        rows = SAMPLES.where(fold.rows(SAMPLES.known_on, 60))
        assert rows.sessions.tolist() == CALENDAR[train + shift].tolist()
        assert CALENDAR[fold.mask(CALENDAR)].tolist() == CALENDAR[test + shift].tolist()


def test_a_crisis_is_planned_where_its_first_decision_lies_in_a_fold():
    sessions = pd.bdate_range("1996-01-02", "2002-12-31")
    (crisis,) = [c for c in CRISES if c.name == "dot_com_crash"]
    first = int(sessions.searchsorted(crisis.start))

    def planned(begin):
        (found,) = plan_crises(sessions, sessions[begin], [crisis])
        return found

    assert planned(first - 2).first == sessions[first - 2]
    assert planned(first - 2).base == sessions[first - 1]
    late = planned(first - 1)
    assert late.first is None
    assert "before the first fold, which begins 2000-03-09" in late.reason


def test_splits_before_crises_follow_one_another_to_the_end():
    sessions = pd.bdate_range("1996-01-02", "2002-12-31")
    known_on = sessions[20:]

    splits, plans = before_crises(sessions, known_on, 504)

    decided = [plan for plan in plans if plan.first is not None]
    assert [split.name for split in splits] == ["dot_com_crash", "september_11"]
    for split, plan in zip(splits, decided, strict=True):
        start = sessions.get_loc(split.first)
        assert split.first == plan.first
        assert split.frozen_on == sessions[start - 1]
        assert sessions[start + 2] >= plan.crisis.start > sessions[start + 1]
        assert split.decides(plan)
        known = SAMPLES.known_on[split.rows(SAMPLES.known_on)]
        assert known.max() <= split.frozen_on
    assert sessions.get_loc(splits[0].last) + 1 == sessions.get_loc(splits[1].first)
    assert splits[1].last == sessions[-1]
    assert not splits[0].decides(plans[0])  # a crisis without a model
