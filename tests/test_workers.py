"""Trainings side by side: the same bits, and no process is left behind."""

import multiprocessing
import time

import numpy as np
import pytest

from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import TRMError
from trm_bt.learning.workers import Lesson, TrainingJob, train_each
from trm_bt.market.features import FeatureSchema

ALL = slice(None)
SMALL = ModelConfig(hidden_dim=16, num_latent_steps=2, num_recursion_cycles=2)


def small_config(**training) -> TRMConfig:
    settings = {"epochs": 2, "max_batches_per_epoch": 3, **training}
    return TRMConfig(model=SMALL, training=naming(**settings))


def train_all(jobs, samples, config, **options) -> dict:
    lesson = Lesson(samples, FeatureSchema(), config)
    models = train_each(jobs, lesson, **options)
    return {model.name: model for model in models}


@pytest.mark.slow
def test_training_side_by_side_gives_the_same_bits():
    samples = planted_samples(320)
    jobs = [TrainingJob("older", slice(0, 260)), TrainingJob("newer", ALL, seed=5)]
    reports = []

    together = train_all(
        jobs, samples, small_config(), executor=2, progress=reports.append
    )

    apart = train_all(jobs, samples, small_config(), executor=1)
    assert together.keys() == apart.keys() == {"older", "newer"}
    for name, model in apart.items():
        found = together[name]
        assert found.config == model.config
        assert found.record == model.record
        for key, value in model.parameters.items():
            assert found.parameters[key].numpy().tobytes() == value.numpy().tobytes()
    assert [apart[name].config.seed for name in ("older", "newer")] == [0, 5]
    steps = sum(model.record.n_optimizer_steps for model in apart.values())
    assert sum(report.finished is None for report in reports) == steps
    assert {report.name for report in reports} == {"older", "newer"}


@pytest.mark.slow
def test_a_failure_ends_the_other_trainings_promptly():
    samples = planted_samples(400)
    samples.features[:100] = np.nan
    jobs = [TrainingJob("long", slice(100, 400)), TrainingJob("unsound", ALL)]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)
    news_at = []

    with pytest.raises(TRMError, match="model unsound must stay finite, got nan"):
        train_all(
            jobs,
            samples,
            endless,
            executor=2,
            progress=lambda _: news_at.append(time.monotonic()),
        )

    assert multiprocessing.active_children() == []
    assert time.monotonic() - news_at[-1] < 5


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_of_our_own():
    jobs = [TrainingJob(name, ALL) for name in ("a", "b")]
    endless = small_config(epochs=10_000, patience=10_000, max_batches_per_epoch=100)

    def end_all(_):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(TRMError, match="The workers were lost before"):
        train_all(jobs, planted_samples(400), endless, executor=2, progress=end_all)

    assert multiprocessing.active_children() == []
