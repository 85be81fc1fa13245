"""The policy: who decides when, the mean of seeds, and that batching is no matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import planted_samples
from trm_bt.config import FeatureConfig, ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import CheckpointError, ConfigError
from trm_bt.learning.checkpoint import save_checkpoint
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.decisions import Policy
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema

SCHEMA = FeatureSchema(status=("proxy",) + ("observed",) * 9)
CONFIG = TRMConfig(
    model=ModelConfig(hidden_dim=16, num_latent_steps=2, num_recursion_cycles=2),
    training=TrainingConfig(epochs=1, max_batches_per_epoch=2),
)
SAMPLES = planted_samples(500)


def make_model(n_rows: int, seed: int = 0) -> TrainedModel:
    config = CONFIG.model_copy(update={"seed": seed})
    rows = SAMPLES.where(np.arange(500) < n_rows)
    return train(rows, SCHEMA, config, name=f"model_{n_rows}")


@pytest.fixture(scope="module")
def models() -> list[TrainedModel]:
    """Two models, the older knowing 250 labels and the newer 350."""
    return [make_model(n_rows) for n_rows in (250, 350)]


@pytest.fixture(scope="module")
def members(models) -> list[list[TrainedModel]]:
    """Such models of three seeds."""
    others = [[make_model(n_rows, seed) for n_rows in (250, 350)] for seed in (1, 2)]
    return [models, *others]


def decide(policy: TRMPolicy, rows: slice = slice(None)):
    return policy.decide(SAMPLES.sessions[rows], SAMPLES.features[rows])


def test_it_is_a_policy(models):
    assert isinstance(TRMPolicy(models), Policy)


def test_a_fingerprint_is_of_what_decides(models, tmp_path):
    older, newer = models
    both = TRMPolicy(models).fingerprints
    save_checkpoint(older, tmp_path / "older")
    assert TRMPolicy.load(tmp_path / "older").fingerprints == both[:1]
    assert len({*both, *TRMPolicy([make_model(250, seed=1)]).fingerprints}) == 3
    shifted = replace(
        newer, scaler=replace(newer.scaler, mean=newer.scaler.mean + 1e-9)
    )
    assert TRMPolicy([shifted]).fingerprints != both[1:]


def test_one_model_abstains_up_to_its_last_known_label(models):
    decisions = decide(TRMPolicy(models[:1]))

    last = SAMPLES.known_on[249]
    for decision in decisions:
        if decision.decided_on <= last:
            assert decision.allocation is None
            assert np.isnan(decision.probabilities).all()
            assert np.isnan(decision.confidence)
            assert (decision.n_steps, decision.model) == (0, "")
        else:
            assert decision.allocation in range(8)
            assert decision.model == "model_250"
    assert sum(decision.allocation is None for decision in decisions) == 256


def test_a_set_decides_with_the_newest_model_that_knew_nothing_of_it(models):
    policy = TRMPolicy(models[::-1])  # any order in, oldest first kept

    names = [decision.model for decision in decide(policy)]

    expected = []
    for session in SAMPLES.sessions:
        known = [m for m in models if SAMPLES.known_on[int(m.name[-3:]) - 1] < session]
        expected.append(known[-1].name if known else "")
    assert names == expected
    assert {"", "model_250", "model_350"} == set(names)
    newest = policy.model_for(SAMPLES.sessions[-1])
    assert newest is not None
    assert newest.name == "model_350"
    assert policy.model_for(SAMPLES.known_on[249]) is None


def test_in_sample_decisions_are_given_on_demand_and_marked(models):
    policy = TRMPolicy(models, allow_in_sample=True)

    decisions = decide(policy)

    assert policy.in_sample
    assert not TRMPolicy(models).in_sample
    assert all(decision.allocation is not None for decision in decisions)
    known_on = SAMPLES.known_on[249]
    for decision in decisions:
        is_stamped = decision.model.endswith(" (in sample)")
        assert is_stamped == (decision.decided_on <= known_on)
    assert decisions[0].model == "model_250 (in sample)"


@pytest.mark.slow
def test_bar_by_bar_and_any_batching_give_the_same_bits(models):
    policy = TRMPolicy(models)
    together = decide(policy)

    for size in (1, 7, 64, 65):
        apart = [
            decision
            for start in range(0, 500, size)
            for decision in decide(policy, slice(start, start + size))
        ]
        for one, other in zip(together, apart, strict=True):
            assert one.probabilities.tobytes() == other.probabilities.tobytes()
            assert one.allocation == other.allocation
            assert one.n_steps == other.n_steps
            assert one.model == other.model
            assert one.halt_prob == other.halt_prob or np.isnan(one.halt_prob)


def test_decisions_are_those_of_the_network(models):
    trained = models[1]
    model = TinyRecursiveModel(CONFIG.model)
    model.load_state_dict(trained.parameters)
    scaled = (SAMPLES.features[400:] - trained.scaler.mean) / trained.scaler.std
    found = model.predict(torch.from_numpy(scaled.astype(np.float32)))

    decisions = decide(TRMPolicy(models), slice(400, None))

    for row, decision in enumerate(decisions):
        weights = np.exp(found.logits[row].double().numpy())
        np.testing.assert_allclose(decision.probabilities, weights / weights.sum())
        assert decision.probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert decision.allocation == found.logits[row].argmax()
        assert decision.confidence == decision.probabilities.max()
        halt = 1 / (1 + np.exp(-found.halt_logits[row].item()))
        assert decision.halt_prob == pytest.approx(halt)
        assert decision.n_steps == found.n_steps[row]


def test_a_stored_policy_decides_as_before(models, tmp_path):
    for model in models:
        save_checkpoint(model, tmp_path / model.name)

    loaded = decide(TRMPolicy.load(tmp_path))
    single = decide(TRMPolicy.load(str(tmp_path / "model_250")))

    for one, other in zip(decide(TRMPolicy(models)), loaded, strict=True):
        assert one.probabilities.tobytes() == other.probabilities.tobytes()
    assert {decision.model for decision in single} == {"", "model_250"}


def test_a_path_may_hold_a_set_a_seed(members, tmp_path):
    for number, models in enumerate(members):
        for model in models:
            save_checkpoint(model, tmp_path / f"seed_{number}" / model.name)
    (tmp_path / ".unfinished").mkdir()

    loaded = TRMPolicy.load(tmp_path)

    assert [len(models) for models in loaded.members] == [2, 2, 2]
    for one, other in zip(decide(TRMPolicy(*members)), decide(loaded), strict=True):
        assert one.probabilities.tobytes() == other.probabilities.tobytes()
        assert one.model == other.model


def test_the_mean_of_the_members_decides(members):
    found = decide(TRMPolicy(*members))

    apart = [decide(TRMPolicy(models)) for models in members]
    for row, decision in enumerate(found):
        if decision.allocation is None:
            assert all(one[row].allocation is None for one in apart)
            continue
        probs = [sum(one[row].probabilities[k] for one in apart) / 3 for k in range(8)]
        np.testing.assert_allclose(decision.probabilities, probs, rtol=1e-14)
        assert decision.allocation == max(range(8), key=lambda k: probs[k])
        assert decision.n_steps == max(one[row].n_steps for one in apart)
        halt = sum(one[row].halt_prob for one in apart) / 3
        assert decision.halt_prob == pytest.approx(halt, rel=1e-14)
        assert decision.decided_on == SAMPLES.sessions[row]
        assert decision.decided_by == f"{apart[0][row].model}, mean of 3"
    assert len({decision.model for decision in found}) == 3


def test_a_row_of_an_ensemble_has_the_same_bits_alone(members):
    policy = TRMPolicy(*members)
    together = decide(policy)

    for row in (0, 300, 499):
        (alone,) = decide(policy, slice(row, row + 1))
        assert alone.probabilities.tobytes() == together[row].probabilities.tobytes()


def test_members_must_know_the_same_labels(models):
    for other in (models[:1], [make_model(260), models[1]]):
        with pytest.raises(CheckpointError, match="know the same labels"):
            TRMPolicy(models, other)


def test_there_must_be_a_model():
    for members in ([], [[]]):
        with pytest.raises(CheckpointError, match="at least one trained model"):
            TRMPolicy(*members)


def test_models_must_share_a_schema(models):
    other = replace(models[1], schema=SCHEMA.model_copy(update={"has_put_call": True}))
    for members in ([[models[0], other]], [models, [models[0], other]]):
        with pytest.raises(
            CheckpointError, match=r"share one feature schema.*put/call"
        ):
            TRMPolicy(*members)


def test_models_of_a_set_must_differ_in_what_they_know(models):
    with pytest.raises(CheckpointError, match="must differ in the last label"):
        TRMPolicy([models[0], make_model(250, seed=1)])


def test_a_set_passes_over_files_and_needs_a_checkpoint(models, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="must be a folder"):
            TRMPolicy.load(path)
    with pytest.raises(CheckpointError, match=r"must hold manifest\.json or"):
        TRMPolicy.load(tmp_path)
    (tmp_path / "one").mkdir()
    save_checkpoint(models[0], tmp_path / "one")

    assert TRMPolicy.load(tmp_path).models[0].record == models[0].record


@pytest.mark.usefixtures("two_threads")
def test_threads_and_precision_are_left_alone(models):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()

    decide(TRMPolicy(models))

    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


@pytest.mark.parametrize(
    ("schema", "difference"),
    [
        (FeatureSchema(status=("observed",) * 10), "feature vix_level proxy against"),
        (SCHEMA.model_copy(update={"members": ("XLE",)}), r"members \[\] against"),
        (SCHEMA.model_copy(update={"has_put_call": True}), "absent against present"),
        (SCHEMA.model_copy(update={"formula_version": 1}), "formula version 2 against"),
        (
            SCHEMA.model_copy(update={"lookbacks": FeatureConfig(gini_lookback=21)}),
            "`gini_lookback` 20 against 21",
        ),
    ],
    ids=["status", "members", "put_call", "version", "lookback"],
)
def test_another_schema_is_refused_with_the_difference(models, schema, difference):
    policy = TRMPolicy(models)
    policy.check_schema(SCHEMA)

    with pytest.raises(CheckpointError, match=difference):
        policy.check_schema(schema)


def test_rows_of_another_shape_are_refused(models):
    with pytest.raises(CheckpointError, match=r"must have shape \(3, 10\).*\(3, 9\)"):
        TRMPolicy(models).decide(SAMPLES.sessions[:3], np.zeros((3, 9)))


def test_a_feature_that_is_not_finite_is_named(models):
    features = SAMPLES.features[:3].copy()
    features[1, 4] = np.inf

    with pytest.raises(CheckpointError, match=f"{FEATURE_NAMES[4]}.*1990-01-03"):
        TRMPolicy(models).decide(SAMPLES.sessions[:3], features)


def test_a_model_that_answers_no_number_is_refused(models):
    parameters = {name: value * 1e30 for name, value in models[0].parameters.items()}
    policy = TRMPolicy([replace(models[0], parameters=parameters)])
    with pytest.raises(CheckpointError, match=r"model_250: must give finite prob"):
        policy.decide(SAMPLES.sessions[300:303], SAMPLES.features[300:303])


def test_no_rows_give_no_decisions(models):
    assert TRMPolicy(models).decide(pd.DatetimeIndex([]), np.zeros((0, 10))) == []


def test_unknown_devices_are_refused(models):
    with pytest.raises(ConfigError, match="auto, cpu or cuda, got 'tpu'"):
        TRMPolicy(models, device="tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there_is_refused(models):
    with pytest.raises(ConfigError, match="cuda needs a CUDA device"):
        TRMPolicy(models, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_decides_as_the_processor_does(models):
    here = decide(TRMPolicy(models, device="cpu"))
    there = decide(TRMPolicy(models, device="cuda"))

    for one, other in zip(here, there, strict=True):
        top = np.sort(one.probabilities)[-2:]
        if top[1] - top[0] > 1e-3:
            assert one.allocation == other.allocation
