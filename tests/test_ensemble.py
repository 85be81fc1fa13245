"""Ensembles: the mean of their members, row by row."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.evaluation.recorded import RecordedPolicy
from trm_bt.learning.checkpoint import save_checkpoint
from trm_bt.learning.ensemble import EnsemblePolicy, load_policy
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.trainer import train
from trm_bt.market.decisions import Decision
from trm_bt.market.features import FeatureSchema

SAMPLES = planted_samples(400)


def make_model(seed: int, n_rows: int = 300):
    config = TRMConfig(
        seed=seed,
        model=ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1),
        training=TrainingConfig(epochs=1, max_batches_per_epoch=2),
    )
    rows = SAMPLES.where(np.arange(400) < n_rows)
    return train(rows, FeatureSchema(), config, name=f"until {n_rows}, seed {seed}")


@pytest.fixture(scope="module")
def models():
    return [make_model(seed) for seed in (1, 2, 3)]


def rows_after(n: int = 310) -> tuple[pd.DatetimeIndex, np.ndarray]:
    return SAMPLES.sessions[n:], SAMPLES.features[n:]


def test_the_ensemble_says_the_mean_and_its_likeliest(models):
    members = [TRMPolicy([model]) for model in models]
    sessions, features = rows_after()

    told = EnsemblePolicy(members).decide(sessions, features)

    apart = [member.decide(sessions, features) for member in members]
    for row, decision in enumerate(told):
        probs = [sum(one[row].probabilities[k] for one in apart) / 3 for k in range(8)]
        np.testing.assert_allclose(decision.probabilities, probs, rtol=1e-14)
        assert decision.allocation == max(range(8), key=lambda k: probs[k])
        assert decision.n_steps == max(one[row].n_steps for one in apart)
        halt = sum(one[row].halt_prob for one in apart) / 3
        assert decision.halt_prob == pytest.approx(halt, rel=1e-14)
        assert decision.decided_on == sessions[row]
        assert decision.decided_by == "until 300, seed 1, mean of 3"


def test_a_row_has_the_same_bits_alone(models):
    policy = EnsemblePolicy([TRMPolicy([model]) for model in models])
    sessions, features = rows_after()
    together = policy.decide(sessions, features)

    for row in (0, 40, len(sessions) - 1):
        (alone,) = policy.decide(sessions[[row]], features[[row]])
        assert alone.probabilities.tobytes() == together[row].probabilities.tobytes()


def test_the_training_span_is_not_decided(models):
    policy = EnsemblePolicy([TRMPolicy([model]) for model in models])

    (told,) = policy.decide(SAMPLES.sessions[[100]], SAMPLES.features[[100]])

    assert told.allocation is None


def test_members_must_know_the_same_labels(models):
    other = TRMPolicy([make_model(4, n_rows=250)])
    with pytest.raises(CheckpointError, match="know the same labels"):
        EnsemblePolicy([TRMPolicy([models[0]]), other])


def test_members_must_decide_in_sample_alike_and_there_must_be_one(models):
    inside = TRMPolicy([models[1]], allow_in_sample=True)
    with pytest.raises(CheckpointError, match="all decide in sample or none"):
        EnsemblePolicy([TRMPolicy([models[0]]), inside])
    with pytest.raises(CheckpointError, match="must have a member"):
        EnsemblePolicy([])


def test_members_must_share_a_schema(models):
    other = replace(models[1], schema=FeatureSchema(has_put_call=True))
    with pytest.raises(CheckpointError, match="put/call"):
        EnsemblePolicy([TRMPolicy([models[0]]), TRMPolicy([other])])


def test_a_path_may_hold_a_model_a_set_or_sets(models, tmp_path):
    older = [make_model(seed, n_rows=250) for seed in (1, 2)]
    for number in range(2):
        save_checkpoint(models[number], tmp_path / f"seed_{number}" / "new")
        save_checkpoint(older[number], tmp_path / f"seed_{number}" / "old")
    sessions, features = rows_after()

    ensemble = load_policy(tmp_path)
    a_set = load_policy(tmp_path / "seed_0")
    one = load_policy(tmp_path / "seed_0" / "new")

    assert isinstance(ensemble, EnsemblePolicy)
    assert len(ensemble.members) == 2
    assert len(a_set.models) == 2
    assert len(one.models) == 1
    (told,) = ensemble.decide(sessions[[0]], features[[0]])
    assert told.decided_by == "until 300, seed 1, mean of 2"
    with pytest.raises(CheckpointError, match="must be a folder"):
        load_policy(tmp_path / "none")


def test_recorded_decisions_are_given_again_and_no_others():
    sessions, features = rows_after(395)
    nothing = np.full(8, 0.125)
    told = [Decision(s, 3, nothing, 0.5, 1, "m") for s in sessions]
    policy = RecordedPolicy(FeatureSchema(), told)

    assert policy.decide(sessions[[2, 0]], features[[2, 0]]) == [told[2], told[0]]
    with pytest.raises(BarsError, match="none for"):
        policy.decide(SAMPLES.sessions[[0]], features[[0]])
    policy.check_schema(FeatureSchema())
    with pytest.raises(CheckpointError, match="put/call"):
        policy.check_schema(FeatureSchema(has_put_call=True))
