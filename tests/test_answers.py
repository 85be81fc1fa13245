"""Kept answers: the bits of computed ones, never another model's, and no damage."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.learning import answers
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema

SAMPLES = planted_samples(300)
CONFIG = TRMConfig(
    model=ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1),
    training=TrainingConfig(epochs=1, max_batches_per_epoch=2),
)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    schema = FeatureSchema(status=("proxy",) + ("observed",) * 9)
    return train(SAMPLES.where(np.arange(300) < 100), schema, CONFIG, name="m")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of answers of its own, and a memory that holds none."""
    monkeypatch.setenv(answers.SWITCH, str(tmp_path / "kept"))
    answers._kept.cache_clear()
    yield tmp_path / "kept"
    answers._kept.cache_clear()


@pytest.fixture
def n_computed(monkeypatch) -> list[int]:
    """Numbers of rows that a network was asked for, call by call."""
    asked, predict = [], TinyRecursiveModel.predict

    def noted(self, features, **options):
        asked.append(len(features))
        return predict(self, features, **options)

    monkeypatch.setattr(TinyRecursiveModel, "predict", noted)
    return asked


def decide(model: TrainedModel, rows: slice = slice(None), **options) -> list[bytes]:
    """Decide, and return all that a decision holds as bytes."""
    policy = TRMPolicy([model], allow_in_sample=True, **options)
    return [
        b"".join(
            np.asarray(part).tobytes()
            for part in (
                one.probabilities,
                one.halt_prob,
                one.n_steps,
                one.z_scores,
                one.step_probabilities,
            )
        )
        for one in policy.decide(SAMPLES.sessions[rows], SAMPLES.features[rows])
    ]


def new_process() -> None:
    """Forget what is in memory."""
    answers._kept.cache_clear()


def test_rows_are_computed_once_and_have_the_same_bits(model, folder, n_computed):
    expected = decide(model, keeps_answers=False)
    n_computed.clear()

    assert decide(model, slice(100, 250)) == expected[100:250]
    assert decide(model) == expected
    assert decide(model, slice(7, 8)) == expected[7:8]
    new_process()
    assert decide(model) == expected

    assert n_computed == [150, 150]


def test_nothing_is_kept_where_the_switch_is_off(
    model, folder, n_computed, monkeypatch
):
    monkeypatch.setenv(answers.SWITCH, "off")
    for _ in range(2):
        decide(model)
    assert n_computed == [300, 300]
    assert not folder.exists()


def test_a_policy_may_take_nothing_that_is_kept(model, folder, n_computed):
    decide(model)
    decide(model, keeps_answers=False)
    assert n_computed == [300, 300]


def test_a_few_rows_are_kept_in_memory_alone(model, folder, n_computed):
    for row in range(3):
        decide(model, slice(row, row + 1))
    assert decide(model, slice(3)) == decide(model, slice(3), keeps_answers=False)
    assert n_computed == [1, 1, 1, 3]
    assert not folder.exists()


def test_another_model_has_answers_of_its_own(model, folder, n_computed):
    decide(model)
    name = "readout.bias"
    shifted = {**model.parameters}
    (name,) = [key for key in shifted if key.endswith(name)]
    shifted[name] = shifted[name] + 1e-6
    other = replace(model, parameters=shifted)
    patient = CONFIG.model.model_copy(update={"halt_threshold": 0.999})
    later = replace(model, config=CONFIG.model_copy(update={"model": patient}))
    for changed in (other, later):
        assert decide(changed) == decide(changed, keeps_answers=False)
    assert n_computed == [300] * 5
    assert len(list(folder.iterdir())) == 3


def test_answers_of_other_kernels_are_not_taken(model, folder, n_computed, monkeypatch):
    decide(model)
    monkeypatch.setattr(answers, "kernel_bits", lambda config, widths: b"other")
    decide(model)
    assert n_computed == [300, 300]


DAMAGES = {
    "a bit": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_counts_as_none_and_is_written_anew(
    model, folder, n_computed, damage
):
    expected = decide(model)
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    new_process()

    assert decide(model) == expected

    assert n_computed == [300, 300]
    assert path.read_bytes() == sound


def test_a_folder_that_cannot_be_written_matters_to_nobody(model, folder):
    folder.write_text("a file of somebody's")
    assert decide(model) == decide(model, keeps_answers=False)
    assert folder.read_text() == "a file of somebody's"


def test_the_oldest_files_and_rows_go_first(model, folder, monkeypatch):
    folder.mkdir()
    for age in (3, 2, 1):
        path = folder / f"{age}{answers._SUFFIX}"
        path.write_bytes(bytes(1000))
        os.utime(path, (1e9 - age, 1e9 - age))
    (folder / "notes.txt").write_bytes(bytes(10**6))
    monkeypatch.setattr(answers, "MAX_ROWS", 120)
    decide(model)
    (new,) = [one for one in folder.iterdir() if len(one.name) > 20]
    n_bytes = new.stat().st_size
    assert n_bytes - answers._N_SEAL < 121 * 300
    new.unlink()
    new_process()

    monkeypatch.setattr(answers, "MAX_BYTES", n_bytes + 1500)
    decide(model)

    left = {one.name for one in folder.iterdir()}
    assert left == {new.name, f"1{answers._SUFFIX}", "notes.txt"}


@pytest.mark.usefixtures("two_threads")
def test_threads_of_torch_are_left_alone(model, folder):
    before = torch.get_num_threads()
    decide(model)
    assert torch.get_num_threads() == before
