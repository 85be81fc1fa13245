"""Nothing after a cut changes what was computed, trained or decided before it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakePolicy
from trm_bt.audit.api import AuditSettings, audit_policy, audit_training
from trm_bt.audit.setup import N_ROWS, audit_setup, audit_trades, learned, train_frozen
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.feeds import load_bars
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.splits import before_crises
from trm_bt.market.crises import CRISES
from trm_bt.market.features import compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.market.objectives import mix

CONFIG = TRMConfig(model=ModelConfig(hidden_dim=16), training=TrainingConfig(epochs=2))
EXACT = AuditSettings(n_cuts=6, rtol=0.0)


@pytest.fixture(
    scope="module",
    params=[("1994-06-01", "asian_financial_crisis"), ("1998-06-01", "september_11")],
    ids=lambda param: param[1],
)
def case(request):
    """Bars through a crisis, and the session after which its model is frozen."""
    start, name = request.param
    (crisis,) = (crisis for crisis in CRISES if crisis.name == name)
    end = (crisis.end + pd.Timedelta(days=150)).date().isoformat()
    bars = load_bars("sample", start=start, end=end)
    labels = compute_labels(bars, compute_features(bars))
    known_on = pd.DatetimeIndex(labels["known_on"])
    (split,), _ = before_crises(bars.sessions, known_on, 504, [crisis])
    return bars, split.frozen_on


@pytest.mark.slow
def test_training_knows_nothing_after_the_freeze_of_its_crisis(case):
    bars, frozen_on = case
    result = audit_training(
        lambda bars, session: learned(train_frozen(bars, session, CONFIG)),
        bars,
        EXACT,
        freezes=pd.DatetimeIndex([frozen_on]),
    )
    assert result.difference is None
    assert result.largest == 0.0
    assert result.n_values > 3 * 2_000


@pytest.mark.slow
def test_decisions_and_trades_do_not_change_with_the_future(case):
    bars, frozen_on = case
    policy = TRMPolicy([train_frozen(bars, frozen_on, CONFIG)])
    decisions = audit_policy(lambda bars: policy, bars, EXACT, n_rows=N_ROWS)
    assert decisions.difference is None
    decide_from = bars.sessions[bars.sessions > frozen_on][0]
    trades = audit_trades(policy, bars, CONFIG, EXACT, decide_from)
    assert trades.difference is None
    assert decisions.n_cuts == trades.n_cuts == 6


def test_one_row_has_the_bits_that_it_has_among_others():
    assets = pd.DataFrame(np.random.default_rng(0).normal(0, 0.02, (500, 3)))
    whole = mix(assets.to_numpy()).T
    for row in range(500):
        alone = mix(assets.iloc[[row]].to_numpy()).T
        assert alone.tobytes() == whole[[row]].tobytes()


@pytest.mark.slow
def test_the_whole_set_up_is_audited_in_seven_checks(full_bars):
    config = TRMConfig.model_validate(
        {
            "model": {"hidden_dim": 16},
            "training": {"epochs": 1},
            "features": {"put_call_long_lookback": 60},
        }
    )
    results = list(audit_setup(full_bars, config, AuditSettings(n_cuts=4)))
    assert [result.name for result in results] == [
        "features",
        "labels",
        "training",
        "split",
        "scaler",
        "decisions",
        "trades",
    ]
    assert [result.difference for result in results] == [None] * 7
    assert [result.n_cuts for result in results] == [4, 4, 2, 1, 1, 4, 4]
    assert [result.n_runs for result in results] == [11, 11, 8, 1, 1, 11, 11]


class LateSecondStep(FakePolicy):
    """Take a second step from some session on, as a halt head may."""

    late = pd.Timestamp.max

    def decide(self, sessions, features):
        return [
            replace(
                decision,
                step_probabilities=np.tile(
                    decision.probabilities, (1 + (decision.decided_on >= self.late), 1)
                ),
            )
            for decision in super().decide(sessions, features)
        ]


@pytest.mark.slow
def test_a_step_that_was_only_taken_later_is_no_leak(bars):
    policy = LateSecondStep.reading(bars)
    policy.late = bars.sessions[-40]
    exact = AuditSettings(n_cuts=4, rtol=0.0)
    result = audit_trades(policy, bars, TRMConfig(), exact, bars.sessions[60])
    assert result.difference is None
