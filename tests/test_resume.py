"""A training stopped at any epoch and resumed ends in the same bits."""

import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.planted import naming, planted_samples
from trm_bt.config import ModelConfig, TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.learning.dataset import Samples
from trm_bt.learning.records import TrainedModel, TrainingProgress
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema

SAMPLES = planted_samples(300)
SPAWN = multiprocessing.get_context("spawn")
"""A forked child of a process that has used two torch threads hangs."""


def make_config(model=None, **training) -> TRMConfig:
    model = {
        "hidden_dim": 16,
        "num_latent_steps": 2,
        "num_recursion_cycles": 2,
        **(model or {}),
    }
    settings = {"epochs": 4, "max_batches_per_epoch": 3, "batch_size": 60, **training}
    return TRMConfig(seed=3, model=ModelConfig(**model), training=naming(**settings))


CONFIG = make_config()
PAPER = {"architecture": "paper"}
ALL_AT_ONCE = {"class_weighting": "sqrt", "label_smoothing": 0.1, "utility": "log"}
WORSENS = {"epochs": 9, "patience": 1, "learning_rate": 0.05}


def fit(config, path, progress=None, samples=SAMPLES, name="test") -> TrainedModel:
    return train(
        samples, FeatureSchema(), config, name=name, progress=progress, unfinished=path
    )


class StoppedError(Exception):
    """Raised where a kill would fall."""


class StopAfterAnEpoch:
    """Let one epoch pass, and raise in the next; keep the news."""

    def __init__(self) -> None:
        self.news: list[TrainingProgress] = []

    def __call__(self, news: TrainingProgress) -> None:
        if any(earlier.finished for earlier in self.news):
            raise StoppedError
        self.news.append(news)


def stop_and_go(config, path) -> tuple[TrainedModel, list[list[TrainingProgress]]]:
    """Train an epoch a start; return the model and the news of each start."""
    starts = []
    while True:
        stop = StopAfterAnEpoch()
        starts.append(stop.news)
        try:
            return fit(config, path, stop), starts
        except StoppedError:
            assert len(starts) < 20


def bits(model: TrainedModel) -> dict[str, object]:
    return {
        "record": model.record.model_dump_json(),
        "mean": model.scaler.mean.tobytes(),
        **{k: v.numpy().tobytes() for k, v in model.parameters.items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [{}, PAPER], ids=["dual", "paper"])
@pytest.mark.parametrize(
    "training",
    [{}, ALL_AT_ONCE, WORSENS, {"grokfast_lambda": 0.0}],
    ids=["plain", "all at once", "stops early", "no filter"],
)
def test_stopped_after_every_epoch_it_ends_in_the_same_bits(
    architecture, training, tmp_path
):
    config = make_config(architecture, **training)
    whole = fit(config, None)

    parts, starts = stop_and_go(config, tmp_path / "state")

    assert bits(parts) == bits(whole)
    n_epochs = len(whole.record.history)
    assert len(starts) == n_epochs > 1
    if training is WORSENS:
        assert n_epochs == whole.record.best_epoch + 1 < 9


@pytest.mark.slow
def test_progress_goes_on_from_where_it_was(tmp_path):
    whole: list[TrainingProgress] = []
    fit(CONFIG, None, whole.append)

    _, starts = stop_and_go(CONFIG, tmp_path / "state")

    assert [news for start in starts for news in start] == whole
    assert [start[0].step for start in starts] == [1, 13, 25, 37]


def test_a_stop_before_the_first_epoch_is_over_leaves_nothing(tmp_path):
    def stop(news: TrainingProgress) -> None:
        if news.step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(CONFIG, tmp_path / "state", stop)

    assert not (tmp_path / "state").exists()
    assert bits(fit(CONFIG, tmp_path / "state")) == bits(fit(CONFIG, None))


def test_a_training_that_was_over_is_only_handed_back(tmp_path):
    done = fit(CONFIG, tmp_path / "state")
    news: list[TrainingProgress] = []

    again = fit(CONFIG, tmp_path / "state", news.append)

    assert bits(again) == bits(done)
    assert news == []


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Keep the state after one epoch of three."""
    path = tmp_path_factory.mktemp("kept") / "state"
    with pytest.raises(StoppedError):
        fit(CONFIG, path, StopAfterAnEpoch())
    return path


def changed(name, row) -> Samples:
    values = getattr(SAMPLES, name).copy()
    values[row] = values[row] * (1 + 1e-15) + (name == "winners")
    return replace(SAMPLES, **{name: values})


@pytest.mark.parametrize(
    "options",
    [
        {"config": CONFIG.model_copy(update={"seed": 4})},
        {"config": make_config(learning_rate=2e-3)},
        {"config": make_config({"hidden_dim": 32})},
        {"name": "other"},
        {"samples": SAMPLES.where(np.arange(300) < 299)},
        {"samples": changed("features", 0)},
        {"samples": changed("returns", 299)},
        {"samples": changed("winners", 0)},
        {"samples": replace(SAMPLES, known_on=SAMPLES.known_on.shift(1, "D"))},
        {"samples": replace(SAMPLES, variances=None)},
    ],
    ids=[
        "seed",
        "rate",
        "width",
        "name",
        "rows",
        "feature",
        "return",
        "winner",
        "known_on",
        "variances",
    ],
)
def test_another_training_is_refused(kept, options):
    with pytest.raises(CheckpointError, match="belongs to a training with other rows"):
        fit(**{"config": CONFIG, "path": kept, **options})


def damaged(kept: Path, tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "state"
    shutil.copytree(kept, path)
    (path / "state.safetensors").write_bytes(content)
    return path


def content_of(kept: Path) -> bytes:
    return (kept / "state.safetensors").read_bytes()


def test_every_truncation_is_refused(kept, tmp_path):
    content, rng = content_of(kept), np.random.default_rng(0)
    sizes = [0, 1, 8, len(content) - 1, *rng.integers(0, len(content), 30)]
    for i, size in enumerate(sizes):
        path = damaged(kept, tmp_path / str(i), content[:size])
        with pytest.raises(CheckpointError, match=r"state: must be the state.*Remove"):
            fit(CONFIG, path)


@pytest.mark.slow
def test_every_flipped_bit_is_refused(kept, tmp_path):
    content, rng = content_of(kept), np.random.default_rng(0)
    n_header = 8 + int.from_bytes(content[:8], "little")
    places = [
        *rng.integers(0, n_header, 150),
        *rng.integers(n_header, len(content), 150),
    ]
    path = damaged(kept, tmp_path, content)
    for place in places:
        wrong = bytearray(content)
        wrong[place] ^= 1 << int(rng.integers(0, 8))
        (path / "state.safetensors").write_bytes(wrong)
        with pytest.raises(CheckpointError, match="train from the start"):
            fit(CONFIG, path)


@pytest.mark.parametrize(
    "content",
    [b"nothing of the kind", safetensors.torch.save({"model.x": torch.zeros(2)})],
    ids=["text", "other tensors"],
)
def test_files_of_another_kind_are_refused(kept, tmp_path, content):
    path = damaged(kept, tmp_path, content)
    with pytest.raises(CheckpointError, match="must be the state of an unfinished"):
        fit(CONFIG, path)


def test_a_folder_whose_state_was_removed_is_no_state(kept, tmp_path):
    """A kill in the last moment of a training leaves such a folder."""
    path = damaged(kept, tmp_path, b"")
    (path / "state.safetensors").unlink()

    assert bits(fit(CONFIG, path)) == bits(fit(CONFIG, None))


def train_and_wait(path: Path, step: int, reached) -> None:
    """Train up to a pass, say so, and wait there to be killed."""

    def wait(news: TrainingProgress) -> None:
        if news.step == step and news.finished is None:
            reached.set()
            SPAWN.Event().wait()

    fit(CONFIG, path, wait)


@pytest.mark.evidence
def test_killed_in_three_epochs_it_ends_in_the_same_bits(tmp_path):
    path = tmp_path / "state"
    for step, is_kept in ((5, False), (20, True), (47, True)):  # of 48, 12 an epoch
        reached = SPAWN.Event()
        child = SPAWN.Process(target=train_and_wait, args=(path, step, reached))
        child.start()
        assert reached.wait(120)
        child.kill()
        child.join()
        assert path.exists() == is_kept

    news: list[TrainingProgress] = []
    model = fit(CONFIG, path, news.append)

    assert news[0].step == 37
    assert bits(model) == bits(fit(CONFIG, None))
