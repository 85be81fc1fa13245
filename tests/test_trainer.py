"""Training: reproducible, blind to the future, and able to learn a planted rule."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_bars
from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import BarsError, TRMError
from trm_bt.learning.dataset import known_by, samples_from_labels
from trm_bt.learning.devices import cpu_threads
from trm_bt.learning.losses import three_part_loss
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel, TrainingProgress
from trm_bt.learning.rows import Rows
from trm_bt.learning.trainer import TrainingRun, train
from trm_bt.market.features import FeatureSchema, compute_features
from trm_bt.market.labels import compute_labels
from trm_bt.market.regimes import Regimes

SMALL = ModelConfig(hidden_dim=16, num_latent_steps=2, num_recursion_cycles=2)


@pytest.fixture(autouse=True)
def one_thread():
    with cpu_threads(1):
        yield


def small_config(*, seed: int = 0, **training) -> TRMConfig:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    return TRMConfig(seed=seed, model=SMALL, training=naming(**settings))


def fit(samples, config, **options) -> TrainedModel:
    return train(samples, FeatureSchema(), config, name="test", **options)


def is_equal(left: TrainedModel, right: TrainedModel) -> bool:
    return (
        left.record == right.record
        and left.scaler.mean.tobytes() == right.scaler.mean.tobytes()
        and left.scaler.std.tobytes() == right.scaler.std.tobytes()
        and all(
            left.parameters[name].numpy().tobytes() == value.numpy().tobytes()
            for name, value in right.parameters.items()
        )
    )


@pytest.mark.slow
def test_the_seed_preset_learns_a_planted_rule():
    """As many rows as the smallest crisis model has, and all settings as shipped."""
    config = TRMConfig.preset("seed")
    trained = train(planted_samples(1_700), FeatureSchema(), config, name="rule")

    record = trained.record
    assert record.majority_accuracy < 0.6
    assert record.best.validation_accuracy >= 0.85
    assert record.best.validation_utility > 2 * record.best_fixed_utility


def test_equal_seeds_give_equal_bits_and_others_do_not():
    samples = planted_samples(400)
    first = fit(samples, small_config())

    assert is_equal(first, fit(samples, small_config()))
    assert not is_equal(first, fit(samples, small_config(seed=1)))


def test_global_generators_and_threads_are_left_alone():
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global generator is what is watched
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    n_threads = torch.get_num_threads()
    config = small_config(epochs=1, max_batches_per_epoch=1, num_threads=n_threads + 1)

    fit(planted_samples(300), config)

    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert torch.get_num_threads() == n_threads


def test_threads_are_restored_after_a_failure():
    n_threads = torch.get_num_threads()
    with pytest.raises(BarsError, match="got 5 labels"):
        fit(planted_samples(5), small_config(num_threads=n_threads + 1))

    assert torch.get_num_threads() == n_threads


@pytest.mark.parametrize("cut", [420, 555])
def test_bars_cut_at_a_session_train_the_same_model_as_all_bars(cut):
    """Scaler and parameters, byte for byte, know nothing of later bars."""
    bars = make_bars(600, seed=4)
    session = bars.sessions[cut]

    def trained(some_bars):
        labels = compute_labels(some_bars, compute_features(some_bars))
        return fit(known_by(samples_from_labels(labels), session), small_config())

    whole, past = trained(bars), trained(bars.between(None, session))

    assert is_equal(whole, past)
    assert past.record.last_label_known_on == session.date()


def test_record_tells_spans_counts_and_baselines():
    samples = planted_samples(500)
    config = small_config(validation_fraction=0.2, batch_size=100)

    record = fit(samples, config).record

    assert (record.n_train, record.n_purged, record.n_validation) == (394, 6, 100)
    assert record.train_start == samples.sessions[0].date()
    assert record.train_end == samples.sessions[393].date()
    assert record.validation_start == samples.sessions[400].date()
    assert record.validation_end == samples.sessions[-1].date()
    assert record.last_label_known_on == samples.known_on[-1].date()
    assert record.batch_size == 99  # 394 rows in four batches
    assert record.n_planned_steps == record.n_optimizer_steps == 2 * 3 * 4
    winners = samples.winners[400:].tolist()
    most = max(winners.count(k) for k in range(8))
    assert record.majority_accuracy == pytest.approx(most / 100)
    fixed = [np.mean(column) for column in samples.returns[400:].T]
    assert record.best_fixed_utility == pytest.approx(max(fixed) / 5)
    assert [epoch.epoch for epoch in record.history] == [1, 2]


def test_kept_parameters_are_those_of_the_best_epoch():
    samples = planted_samples(500)
    trained = fit(samples, small_config(epochs=6, learning_rate=0.02))

    losses = [epoch.validation_loss for epoch in trained.record.history]
    assert trained.record.best_epoch == 1 + int(np.argmin(losses))
    model = TinyRecursiveModel(trained.config.model)
    model.load_state_dict(trained.parameters)
    newest = samples.where(np.arange(500) >= 425)
    scaled = torch.from_numpy(trained.scaler.transform(newest.features))
    choices = model.predict(scaled).logits.argmax(dim=1).numpy()
    accuracy = (choices == newest.winners).mean()
    assert accuracy == trained.record.best.validation_accuracy
    earned = newest.returns[np.arange(75), choices].mean() / 5
    assert earned == pytest.approx(trained.record.best.validation_utility)


def test_patience_ends_a_training_that_no_longer_improves():
    samples = planted_samples(400)
    shuffled = np.random.default_rng(0).permutation(400)
    noise = replace(
        samples, returns=samples.returns[shuffled], winners=samples.winners[shuffled]
    )

    record = fit(noise, small_config(epochs=30, patience=2, learning_rate=0.02)).record

    assert len(record.history) == record.best_epoch + 2 < 30
    assert record.n_optimizer_steps < record.n_planned_steps


def test_progress_reports_every_optimiser_step_and_epoch():
    reports = []

    record = fit(planted_samples(300), small_config(), progress=reports.append).record

    steps = [report for report in reports if report.finished is None]
    assert [report.step for report in steps] == (
        list(range(1, record.n_optimizer_steps + 1))
    )
    assert {report.total_steps for report in reports} == {record.n_planned_steps}
    assert np.mean([r.loss for r in steps if r.epoch == 1]) == pytest.approx(
        record.history[0].train_loss
    )
    epochs = [report for report in reports if report.finished is not None]
    assert tuple(report.finished for report in epochs) == record.history
    assert [report.epoch for report in epochs] == [1, 2]
    assert {r.majority_accuracy for r in reports} == {record.majority_accuracy}
    assert {r.best_fixed_utility for r in reports} == {record.best_fixed_utility}


def test_divergence_is_an_error_of_our_own():
    config = small_config()
    endless = config.training.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TRMError, match=r"must stay finite, got nan.*learning_rate"):
        fit(planted_samples(300), config.model_copy(update={"training": endless}))


def make_training(model=None, progress=None, **settings) -> TrainingRun:
    """Lay out a training of 260 rows, 40 of which validate."""
    samples = planted_samples(300)
    is_old = np.arange(300) < 254
    old, new = samples.where(is_old), samples.where(np.arange(300) >= 260)
    settings = {"batch_size": 90, "max_batches_per_epoch": 3, "epochs": 2, **settings}
    config = TRMConfig(
        model=SMALL.model_copy(update=model or {}), training=naming(**settings)
    )
    return TrainingRun("test", old, new, config, progress)


@pytest.mark.parametrize("target", ["label", "utility"])
def test_paid_for_risk_alone_returns_say_nothing(target):
    """Utilities are the same training mean in every row, less the row's own risk."""
    variances = np.random.default_rng(5).uniform(0.0, 0.02, (300, 8))
    samples = replace(planted_samples(300), variances=variances)
    is_old = np.arange(300) < 254
    settings = TrainingConfig(
        utility="risk", risk_aversion=7.0, prior_sharpe=None, target=target
    )

    rows = Rows(
        samples.where(is_old), samples.where(~is_old), TRMConfig(training=settings)
    )

    paid = (samples.returns[:254].mean(axis=0) - 7 / 2 * variances) / 5
    np.testing.assert_allclose(rows.utilities, paid[is_old], rtol=1e-9)
    np.testing.assert_allclose(rows.new_utilities, paid[~is_old], rtol=1e-9)
    for found, targets, part in (
        (rows.old, rows.targets, is_old),
        (rows.new, rows.new_targets, ~is_old),
    ):
        best = [max(range(8), key=row.__getitem__) for row in paid[part]]
        labels = samples.winners[part].tolist()
        expected = best if target == "utility" else labels
        assert found.winners.tolist() == targets.winners.tolist() == expected
        np.testing.assert_allclose(
            targets.utilities.numpy(), paid[part] / paid[is_old].std(), rtol=1e-5
        )


def test_regimes_are_those_of_the_training_rows():
    rng = np.random.default_rng(6)
    variances = rng.uniform(0.0, 0.02, (300, 8))
    samples = replace(planted_samples(300), variances=variances)
    is_old = np.arange(300) < 254
    settings = TrainingConfig(target="regime", risk_aversion=5.0)

    rows = Rows(
        samples.where(is_old), samples.where(~is_old), TRMConfig(training=settings)
    )

    regimes = Regimes.fit(samples.returns[:254], variances[:254], 5.0)
    expected = regimes.allocations(variances)
    assert len(set(expected.tolist())) == 2
    assert rows.old.winners.tolist() == expected[is_old].tolist()
    assert rows.new_targets.winners.tolist() == expected[~is_old].tolist()


@pytest.mark.parametrize("architecture", ["dual", "paper"])
def test_the_first_gradient_is_that_of_the_batchs_loss(architecture):
    """Without clipping the filter's first mean is the gradient of the first step."""
    training = make_training(
        {"architecture": architecture, "dropout": 0.0},
        max_grad_norm=1e6,
        class_weighting="sqrt",
    )
    batch = torch.arange(50)
    rows, state = training.rows, training.state
    output = state.model(rows.features[batch])
    loss = three_part_loss(
        output.logits,
        output.halt_logits,
        rows.targets[batch],
        rows.class_weights,
        training.config.training,
    )
    expected = torch.autograd.grad(loss.total, list(state.model.parameters()))

    found = next(training.train_on(batch))

    assert state.step == 1
    for mean, gradient in zip(state.filter.means, expected, strict=True):
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-6)
    assert found.tolist() == pytest.approx([part.item() for part in loss], rel=1e-5)


def force_halting(training: TrainingRun, bias: float) -> None:
    """Make the halt logit a constant, far from what a few steps can move."""
    with torch.no_grad():
        training.state.model.nets.halt_out.weight.zero_()
        training.state.model.nets.halt_out.bias.fill_(bias)


def test_a_batch_is_left_when_all_its_rows_halt():
    reports: list[TrainingProgress] = []
    training = make_training(
        progress=reports.append, halt_loss_weight=0.0, weight_decay=0.0
    )
    force_halting(training, 50.0)

    while not training.is_over:
        training.epoch()

    steps = [report for report in reports if report.finished is None]
    assert training.state.step == len(steps) == 2 * 3  # a pass a batch
    assert [report.step for report in steps] == [4, 8, 12, 16, 20, 24]
    assert training.state.position == training.state.total_steps == 24
    for epoch in training.state.course.history:
        own = [report.loss for report in steps if report.epoch == epoch.epoch]
        assert epoch.train_loss == pytest.approx(sum(own) / 3)
        assert epoch.n_optimizer_steps == 3 * epoch.epoch


def test_the_schedule_passes_over_the_steps_that_were_saved():
    training = make_training(halt_loss_weight=0.0, weight_decay=0.0, learning_rate=0.5)
    force_halting(training, 50.0)
    moved = []
    for batch in (torch.arange(90), torch.arange(90)):
        before = training.state.model.embedding.weight.detach().clone()
        assert len(list(training.train_on(batch))) == 1
        moved.append(
            (training.state.model.embedding.weight - before).abs().max().item()
        )

    # AdamW's first step has the size of the rate; warm-up takes 3 of 24 passes
    assert moved[0] == pytest.approx(0.5 / 3, rel=1e-3)
    assert moved[1] > 0.3


def test_a_batch_goes_on_while_one_row_does_not_halt():
    training = make_training({"dropout": 0.0})
    batch = torch.arange(90)
    with torch.no_grad():  # every first halt logit but the lowest is positive
        halts = (
            training.state.model(training.rows.features[batch])
            .halt_logits.sort()
            .values
        )
        training.state.model.nets.halt_out.bias -= (halts[0] + halts[1]) / 2

    next(training.train_on(batch))

    assert training.state.position == 1


@pytest.mark.slow
def test_the_papers_architecture_learns_a_planted_rule():
    model = ModelConfig(
        architecture="paper", hidden_dim=32, num_latent_steps=2, num_recursion_cycles=2
    )
    config = TRMConfig(model=model, training=naming())

    record = train(planted_samples(1_700), FeatureSchema(), config, name="rule").record

    assert record.majority_accuracy < 0.6
    assert record.best.validation_accuracy >= 0.85
    assert record.best.validation_utility > 2 * record.best_fixed_utility
