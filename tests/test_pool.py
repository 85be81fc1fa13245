"""Training on several universes: what rows count, and what no model may see."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.planted import N_AHEAD, naming, planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import ConfigError
from trm_bt.learning.checkpoint import load_checkpoint, save_checkpoint
from trm_bt.learning.dataset import known_by, split_chronologically
from trm_bt.learning.fit import TrainingState
from trm_bt.learning.losses import Targets, class_weights, three_part_loss
from trm_bt.learning.pool import MIN_ROWS, correlations, effective_weights
from trm_bt.learning.resume import fingerprint
from trm_bt.learning.rows import Rows
from trm_bt.learning.trainer import train
from trm_bt.learning.workers import TrainingJob
from trm_bt.market.features import FeatureSchema

CONFIG = TRMConfig(
    model=ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1),
    training=naming(epochs=2, max_batches_per_epoch=3),
)
FIRST = planted_samples(400)
"""Of which the newest 60 validate, from row 340 on."""
OTHER = planted_samples(400, seed=1)
BEGIN = FIRST.sessions[340]


def pooled(**others):
    return replace(FIRST, pooled=others)


def fit(samples, config=CONFIG):
    return train(samples, FeatureSchema(), config, name="pool")


def is_equal(left, right):
    return left.record == right.record and all(
        value.numpy().tobytes() == right.parameters[name].numpy().tobytes()
        for name, value in left.parameters.items()
    )


def rows_of(n_rows, first, seed):
    """Rows from a session on, of returns that share a part with every other seed."""
    common = planted_samples(400).returns
    own = np.random.default_rng(seed).normal(0, 0.01, common.shape)
    whole = replace(planted_samples(400, seed), returns=common + own)
    return whole.where(slice(first, first + n_rows))


def plain_correlation(one, other):
    """Correlate what allocations gained over others, session by session shared."""
    shared = [s for s in one.sessions if s in set(other.sessions)]
    tables = []
    for rows in (one, other):
        place = {session: i for i, session in enumerate(rows.sessions)}
        table = [[float(v) for v in rows.returns[place[s]]] for s in shared]
        table = [[v - sum(row) / len(row) for v in row] for row in table]
        means = [sum(row[k] for row in table) / len(table) for k in range(8)]
        tables.append([row[k] - means[k] for row in table for k in range(8)])
    left, right = tables
    products = sum(x * y for x, y in zip(left, right, strict=True))
    squares = sum(x * x for x in left), sum(y * y for y in right)
    return products / math.sqrt(squares[0] * squares[1])


def test_weights_equal_a_plain_loop():
    universes = [rows_of(300, 0, 1), rows_of(200, 100, 2), rows_of(80, 250, 3)]

    found = effective_weights(universes, [rows.returns for rows in universes])

    shares = [[plain_correlation(a, b) for b in universes] for a in universes]
    for i, rows in enumerate(universes):
        for session, weight in zip(rows.sessions, found[i], strict=True):
            told = sum(
                shares[i][j]
                for j, other in enumerate(universes)
                if session in other.sessions
            )
            assert weight == pytest.approx(1 / told, rel=1e-9)
    assert found[0][:100].tolist() == [1.0] * 100  # alone on its sessions


def test_equal_correlations_give_kishs_effective_sample():
    """Three universes of one common part and an own one of equal size, each."""
    rng = np.random.default_rng(0)
    common, n_rows = rng.normal(size=(20_000, 8)), 20_000
    universes = [planted_samples(n_rows, seed) for seed in range(3)]
    utilities = [common + rng.normal(size=common.shape) for _ in universes]

    found = effective_weights(universes, utilities)

    total = sum(weights.sum() for weights in found)
    assert total == pytest.approx(n_rows * 3 / (1 + 2 * 0.5), rel=0.01)


def test_two_copies_of_a_universe_count_as_one():
    universes = [FIRST, FIRST, OTHER]
    utilities = [rows.returns for rows in universes]

    found = effective_weights(universes, utilities)

    between = max(plain_correlation(FIRST, OTHER), 0.0)
    assert found[0][0] == pytest.approx(1 / (2 + between))
    assert found[0][0] + found[1][0] == pytest.approx(1 / (1 + between / 2))


def test_what_is_opposite_or_never_varies_or_is_not_shared_is_not_correlated():
    far = replace(OTHER, sessions=OTHER.sessions + (FIRST.sessions[-1] - BEGIN) * 99)
    universes = [FIRST, FIRST, FIRST, far]
    returns = FIRST.returns
    utilities = [returns, -returns, np.ones_like(returns), OTHER.returns]

    assert correlations(universes, utilities).tolist() == np.eye(4).tolist()


def test_no_row_whose_outcome_was_open_at_validation_is_trained_on():
    late = OTHER.where(slice(30, None))

    old, new = split_chronologically(pooled(other=late), 0.15)

    assert new.sessions[0] == BEGIN
    assert new.pooled == {}
    kept = old.pooled["other"]
    assert kept.known_on.max() < BEGIN
    assert len(kept) == 340 - N_AHEAD - 30
    assert len(old) == 340 - N_AHEAD


def test_what_is_known_by_a_session_holds_for_every_universe():
    session = FIRST.known_on[99]

    found = known_by(pooled(other=OTHER.where(slice(40, None))), session)

    assert (len(found), len(found.pooled["other"])) == (100, 60)


def test_a_job_cuts_every_universe():
    job = TrainingJob("a", slice(0, 300), pooled={"other": slice(50, 280)})

    found = job.samples(pooled(other=OTHER, whole=OTHER))

    lengths = [len(rows) for rows in found.universes]
    assert lengths == [300, 230, 400]


def test_a_universe_waits_until_it_has_a_year_of_rows():
    alone = fit(FIRST)
    n_late = 340 - N_AHEAD - MIN_ROWS  # rows before those that would do

    waiting = fit(pooled(other=OTHER.where(slice(n_late + 1, None))))
    joined = fit(pooled(other=OTHER.where(slice(n_late, None))))

    assert is_equal(waiting, alone)
    assert not is_equal(joined, alone)
    (told,) = joined.record.pooled
    assert (told.name, told.n_train) == ("other", MIN_ROWS)
    assert joined.record.n_train == alone.record.n_train + MIN_ROWS


@pytest.mark.parametrize("change", ["features", "returns", "winners"])
def test_nothing_of_the_validation_span_of_any_universe_is_learned(change):
    """The second universe changes from the first row that may not be known on."""
    first_late = 340 - N_AHEAD
    planted = getattr(OTHER, change).copy()
    planted[first_late:] = planted[first_late:][::-1]
    before = getattr(OTHER, change).copy()
    before[:first_late] = before[:first_late][::-1]

    known = fit(pooled(other=OTHER))

    assert is_equal(fit(pooled(other=replace(OTHER, **{change: planted}))), known)
    assert not is_equal(fit(pooled(other=replace(OTHER, **{change: before}))), known)


def test_each_universe_is_standardised_by_its_own_training_rows():
    large = replace(OTHER, features=10 * OTHER.features + 7, returns=3 * OTHER.returns)
    old, new = split_chronologically(pooled(other=large), 0.15)

    rows = Rows(old, new, CONFIG)

    n_old = 340 - N_AHEAD
    for part, samples in ((slice(0, n_old), FIRST), (slice(n_old, None), OTHER)):
        features, returns = samples.features[:n_old], samples.returns[:n_old]
        expected = (features - features.mean(axis=0)) / features.std(axis=0)
        np.testing.assert_allclose(rows.features[part].numpy(), expected, atol=1e-5)
        utilities = rows.targets.utilities[part].numpy()
        np.testing.assert_allclose(utilities, returns / returns.std(), rtol=1e-5)
        winners = rows.targets.winners[part].tolist()
        assert winners == samples.winners[:n_old].tolist()
    assert rows.scaler.mean.tolist() == FIRST.features[:n_old].mean(axis=0).tolist()
    weights = effective_weights(
        [old, old.pooled["other"]], [old.returns, large.returns[:n_old]]
    )
    np.testing.assert_allclose(rows.targets.weights.numpy(), np.concatenate(weights))
    assert rows.new_targets.weights is None


def test_risk_is_expected_universe_by_universe():
    settings = TrainingConfig(utility="risk", risk_aversion=7.0, target="utility")
    old, new = split_chronologically(pooled(other=OTHER), 0.15)

    rows = Rows(old, new, TRMConfig(training=settings))

    n_old = 340 - N_AHEAD
    returns, variances = OTHER.returns[:n_old], OTHER.variances[:n_old]
    paid = (returns.mean(axis=0) - 7 / 2 * variances) / 5
    found = rows.targets.utilities[n_old:].numpy()
    np.testing.assert_allclose(found, paid / paid.std(), rtol=1e-4)
    assert rows.targets.winners[n_old:].tolist() == paid.argmax(axis=1).tolist()


def test_weighted_losses_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    n_rows = 12
    logits, halts = rng.normal(size=(n_rows, 8)), rng.normal(size=n_rows)
    utilities, winners = rng.normal(size=(n_rows, 8)), rng.integers(0, 8, n_rows)
    weights, class_weight = rng.uniform(0.2, 1, n_rows), rng.uniform(0.5, 2, 8)
    strategy = halt = profit = 0.0
    for row in range(n_rows):
        share = weights[row] / sum(weights.tolist())
        odds = [math.exp(v) for v in logits[row]]
        named = odds[winners[row]] / sum(odds)
        strategy -= share * class_weight[winners[row]] * math.log(named)
        is_right = max(range(8), key=lambda k: logits[row][k]) == winners[row]
        prob = 1 / (1 + math.exp(-halts[row]))
        halt -= share * math.log(prob if is_right else 1 - prob)
        gained = zip(odds, utilities[row], strict=True)
        profit -= share * sum(o / sum(odds) * u for o, u in gained)

    targets = Targets(*map(torch.tensor, (winners, utilities, weights)))
    config = TrainingConfig()
    given = torch.tensor(logits), torch.tensor(halts)
    found = three_part_loss(*given, targets, torch.tensor(class_weight), config)

    total = strategy + 0.5 * halt + 0.3 * profit
    expected = [total, strategy, halt, profit]
    assert [part.item() for part in found] == pytest.approx(expected, rel=1e-12)
    some = torch.tensor([2, 5])
    assert targets[some].weights.tolist() == weights[[2, 5]].tolist()


def test_class_weights_count_rows_by_their_weight():
    settings = TrainingConfig(class_weighting="inverse")
    winners, rows = np.array([0, 0, 5]), np.array([0.5, 0.5, 3.0])

    found = class_weights(winners, settings, row_weights=rows)

    # shares 1/4 and 3/4; inverse 4 and 4/3 over their weighted mean, 2
    assert found[[0, 5]].tolist() == pytest.approx([2.0, 2 / 3])


def test_batches_are_as_large_as_the_effective_sample():
    model = torch.nn.Linear(2, 2)

    state = TrainingState(TRMConfig(), 20_000, model, n_effective=9_600.0)

    assert state.largest_batch == 200  # a 48th of what the rows count for
    assert state.batches.n_batches == 100


def test_a_pooled_model_is_kept_with_its_rows(tmp_path):
    model = fit(pooled(other=OTHER))

    save_checkpoint(model, tmp_path / "kept")

    kept = load_checkpoint(tmp_path / "kept")
    assert kept.record == model.record
    n_old = 340 - N_AHEAD
    assert kept.record.n_train == 2 * n_old
    (told,) = kept.record.pooled
    assert (told.name, told.n_train) == ("other", n_old)
    assert told.n_effective * 2 == pytest.approx(kept.record.n_effective)
    assert "pooled" not in fit(FIRST).record.model_dump_json()


def test_a_stopped_training_is_resumed_with_the_same_universes_alone():
    marks = {
        fingerprint(samples, CONFIG, "m")
        for samples in (FIRST, pooled(a=OTHER), pooled(b=OTHER), pooled(a=FIRST))
    }
    assert len(marks) == 4


def test_a_universe_of_other_allocations_is_refused():
    other = replace(OTHER, returns=OTHER.returns[:, :3])

    with pytest.raises(ConfigError, match=r"the labels have 3 and .* 8"):
        fit(pooled(other=other))
