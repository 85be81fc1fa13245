"""Recorded decisions are given again, and no others."""

import numpy as np
import pytest

from tests.planted import planted_samples
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import FeatureSchema
from trm_bt.runs.backtests import RecordedPolicy


def test_recorded_decisions_are_given_again_and_no_others():
    samples = planted_samples(10)
    sessions, features = samples.sessions[5:], samples.features[5:]
    nothing = np.full(8, 0.125)
    decisions = [Decision(s, 3, nothing, 0.5, 1, "m") for s in sessions]
    policy = RecordedPolicy(FeatureSchema(), decisions)

    assert isinstance(policy, Policy)
    found = policy.decide(sessions[[2, 0]], features[[2, 0]])
    assert found == [decisions[2], decisions[0]]
    with pytest.raises(BarsError, match="none for"):
        policy.decide(samples.sessions[[0]], features[[0]])
    policy.check_schema(FeatureSchema())
    with pytest.raises(CheckpointError, match="put/call"):
        policy.check_schema(FeatureSchema(has_put_call=True))
