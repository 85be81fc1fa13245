"""Training: reproducible, blind to the future, and able to learn a planted rule."""

import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import make_bars
from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import BarsError, TRMError
from trm_bt.learning.batches import Batches
from trm_bt.learning.dataset import known_by, samples_from_labels
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.parallel import TrainingJob, train_all
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema, compute_features
from trm_bt.market.labels import compute_labels

SMALL = ModelConfig(hidden_dim=16, num_latent_steps=2, num_recursion_cycles=2)


def small_config(*, seed: int = 0, **training) -> TRMConfig:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    return TRMConfig(seed=seed, model=SMALL, training=TrainingConfig(**settings))


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


def test_the_defaults_learn_a_planted_rule():
    """As many rows as the smallest crisis model has, and all settings as shipped."""
    trained = train(planted_samples(1_700), FeatureSchema(), TRMConfig(), name="rule")

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

    fit(planted_samples(300), small_config(num_threads=n_threads + 1))

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


def test_every_row_is_visited_before_one_is_visited_again():
    batches = Batches(330, 7, np.random.default_rng(0))

    seen = [row for _ in range(3 * 7) for row in next(batches).tolist()]

    counts = np.bincount(seen, minlength=330)
    assert counts.tolist() == [3] * 330
    assert sorted(seen[:330]) == list(range(330))


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
    with pytest.raises(TRMError, match=r"must stay finite, got nan.*learning_rate"):
        fit(planted_samples(300), small_config(learning_rate=1e30))


def test_training_side_by_side_gives_the_same_bits():
    samples = planted_samples(320)
    jobs = [
        TrainingJob("older", samples.where(np.arange(320) < 260)),
        TrainingJob("newer", samples),
    ]
    reports = []

    together = train_all(
        jobs, FeatureSchema(), small_config(), n_processes=2, progress=reports.append
    )

    apart = train_all(jobs, FeatureSchema(), small_config(), n_processes=1)
    assert [model.name for model in together] == ["older", "newer"]
    assert all(map(is_equal, together, apart))
    steps = sum(model.record.n_optimizer_steps for model in apart)
    assert sum(report.finished is None for report in reports) == steps
    assert {report.name for report in reports} == {"older", "newer"}


def test_a_failure_ends_the_other_trainings_promptly():
    samples = planted_samples(400)
    unsound = replace(samples, features=np.full_like(samples.features, np.nan))
    jobs = [TrainingJob("long", samples), TrainingJob("unsound", unsound)]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)
    news_at = []

    with pytest.raises(TRMError, match="model unsound must stay finite, got nan"):
        train_all(
            jobs,
            FeatureSchema(),
            endless,
            n_processes=2,
            progress=lambda _: news_at.append(time.monotonic()),
        )

    assert multiprocessing.active_children() == []
    assert time.monotonic() - news_at[-1] < 5


def test_a_process_that_dies_is_an_error_of_our_own():
    jobs = [TrainingJob(name, planted_samples(400)) for name in ("a", "b")]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)

    def end_all(_):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(TRMError, match="A training process ended before"):
        train_all(jobs, FeatureSchema(), endless, n_processes=2, progress=end_all)

    assert multiprocessing.active_children() == []
