"""Checkpoints: whole or not at all, and no byte changes unnoticed."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import (
    DESCRIPTION,
    MANIFEST,
    WEIGHTS,
    load_checkpoint,
    load_checkpoints,
    save_checkpoint,
)
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema

FILES = (WEIGHTS, DESCRIPTION, MANIFEST)
BIAS = "nets.readout.bias"
CONFIG = TRMConfig(
    seed=3,
    model=ModelConfig(hidden_dim=16, num_latent_steps=1, num_recursion_cycles=1),
    training=TrainingConfig(epochs=2, max_batches_per_epoch=2),
)


def train_on(n_rows: int, name: str, schema: FeatureSchema | None = None):
    schema = schema or FeatureSchema()
    return train(planted_samples(n_rows), schema, CONFIG, name=name)


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train_on(300, "brexit")


@pytest.fixture(scope="module")
def pristine(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "brexit"
    save_checkpoint(trained, folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path) -> Path:
    """A checkpoint of one's own to damage."""
    return shutil.copytree(pristine, tmp_path / "brexit")


def dump(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def reseal(folder: Path) -> None:
    """Make all hashes right again, as a careful forger would."""

    def sha256(name: str) -> str:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()

    description = json.loads((folder / DESCRIPTION).read_bytes())
    description["weights_sha256"] = sha256(WEIGHTS)
    (folder / DESCRIPTION).write_bytes(dump(description))
    hashes = {name: sha256(name) for name in (WEIGHTS, DESCRIPTION)}
    (folder / MANIFEST).write_bytes(dump({"format_version": 1, "sha256": hashes}))


def forge(folder: Path, *keys: str, value: object) -> None:
    """Change one entry of the description and make the hashes right."""
    description = json.loads((folder / DESCRIPTION).read_bytes())
    section = description
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    (folder / DESCRIPTION).write_bytes(dump(description))
    reseal(folder)


def test_what_is_loaded_equals_what_was_saved(trained, pristine):
    loaded = load_checkpoint(pristine)

    assert loaded.name == "brexit"
    assert loaded.config == trained.config
    assert loaded.schema == trained.schema
    assert loaded.record == trained.record
    assert loaded.scaler.mean.tobytes() == trained.scaler.mean.tobytes()
    assert loaded.scaler.std.tobytes() == trained.scaler.std.tobytes()
    assert loaded.parameters.keys() == trained.parameters.keys()
    for name, value in trained.parameters.items():
        assert torch.equal(loaded.parameters[name], value)


def test_folder_holds_three_files_and_a_readable_description(pristine):
    assert sorted(path.name for path in pristine.iterdir()) == sorted(FILES)
    description = json.loads((pristine / DESCRIPTION).read_bytes())
    assert description["config"]["seed"] == 3
    assert description["versions"]["torch"] == torch.__version__
    assert len(description["training"]["history"]) == 2
    weights = (pristine / WEIGHTS).read_bytes()
    assert description["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_saving_twice_gives_the_same_bytes(trained, pristine, tmp_path):
    save_checkpoint(trained, tmp_path / "again")

    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (
            pristine / name
        ).read_bytes()


def test_the_bare_resealed_folder_loads(folder):
    """The forger's tools below are sound: what they leave alone stays believable."""
    reseal(folder)

    assert load_checkpoint(folder).name == "brexit"


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(folder, name):
    path = folder / name
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    positions = rng.choice(len(content), min(400, len(content)), replace=False)
    for position in (0, len(content) - 1, *positions.tolist()):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="brexit"):
            load_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_and_addition_is_refused(folder, name):
    path = folder / name
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, len(content), 60).tolist()
    cuts = [content[:n] for n in (0, 1, len(content) - 1, *lengths)]
    for damaged in (*cuts, content + b"\n", b" " + content, content + content):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="brexit"):
            load_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(CheckpointError, match=f"{name}: this file must be there"):
        load_checkpoint(folder)


def test_an_added_file_is_named(folder):
    (folder / "model.pkl").write_bytes(b"cos\nsystem\n")

    with pytest.raises(CheckpointError, match=r"model\.pkl: a checkpoint folder holds"):
        load_checkpoint(folder)


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()

    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)


def test_a_file_in_place_of_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="must be a folder"):
            load_checkpoint(path)
        with pytest.raises(CheckpointError, match="must be a folder"):
            load_checkpoints(path)


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        (("format_version",), 2, "format_version"),
        (("surprise",), 1, "surprise"),
        (("config", "model", "hidden_dim"), 32, r"embedding.*shape \(32, 10\)"),
        (("config", "model", "hidden_dims"), 8, "hidden_dims"),
        (("config", "training", "learning_rate"), -1.0, "learning_rate"),
        (("feature_schema", "formula_version"), "x", "formula_version"),
        (("scaler", "std"), [1.0] * 9, "10 means"),
        (("scaler", "std"), [0.0] * 10, "positive deviations"),
        (("scaler", "names"), ["vix_level"] * 10, "scaler.names"),
        (("training", "last_label_known_on"), "soon", "last_label_known_on"),
        (("training", "best_epoch"), 3, "best_epoch"),
        (("training", "best_epoch"), 0, "best_epoch"),
        (("versions",), None, "versions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_resealed_forgery_is_held_to_the_rules(folder, keys, value, rule):
    forge(folder, *keys, value=value)

    with pytest.raises(CheckpointError, match=rule):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_without_a_number_where_one_must_be_is_refused(folder, text):
    path = folder / DESCRIPTION
    description = json.loads(path.read_bytes())
    description["scaler"]["mean"][0] = float(text.lower())
    path.write_bytes(dump(description))
    reseal(folder)

    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        load_checkpoint(folder)


def test_json_in_another_form_is_refused(folder):
    path = folder / DESCRIPTION
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode())
    hashes = json.loads((folder / MANIFEST).read_bytes())
    hashes["sha256"][DESCRIPTION] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / MANIFEST).write_bytes(dump(hashes))

    with pytest.raises(CheckpointError, match="canonical form"):
        load_checkpoint(folder)


def test_a_manifest_that_leaves_a_file_out_is_refused(folder):
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["sha256"][WEIGHTS]
    (folder / MANIFEST).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match="must list"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            lambda t: t.update({"nets.readout.bias": torch.zeros(7)}),
            r"shape \(8,\).*\(7,\)",
        ),
        (lambda t: t.update({"nets.readout.bias": torch.zeros(8).double()}), "float64"),
        (lambda t: t.update({"nets.readout.bias": torch.zeros(8).half()}), "float16"),
        (lambda t: t.update({"extra": torch.zeros(1)}), "differs in extra"),
        (lambda t: t.pop("nets.halt_out.bias"), r"differs in nets\.halt_out\.bias"),
        (lambda t: t["nets.readout.weight"].fill_(np.nan), "readout.weight.*finite"),
        (lambda t: t["nets.readout.bias"].fill_(-np.inf), "readout.bias.*finite"),
        (lambda t: t.clear(), "differs in"),
    ],
    ids=["shape", "double", "half", "extra", "missing", "nan", "inf", "empty"],
)
def test_resealed_weights_are_held_to_the_model(folder, trained, change, rule):
    tensors = {name: value.clone() for name, value in trained.parameters.items()}
    change(tensors)
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
    reseal(folder)

    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{rule}"):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\xff" * 64])
def test_resealed_nonsense_is_no_safetensors_file(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    reseal(folder)

    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(folder)


def test_an_existing_target_is_refused_and_left_alone(trained, folder):
    before = {name: (folder / name).read_bytes() for name in FILES}

    with pytest.raises(CheckpointError, match=r"must be new or empty.*`force`"):
        save_checkpoint(trained, folder)

    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_force_replaces_a_checkpoint_damaged_or_not(trained, folder):
    (folder / WEIGHTS).write_bytes(b"damaged")

    save_checkpoint(trained, folder, force=True)

    assert load_checkpoint(folder).record == trained.record
    assert os.listdir(folder.parent) == ["brexit"]  # noqa: PTH208 - hidden ones too


def test_force_replaces_nothing_but_a_checkpoint(trained, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")

    with pytest.raises(CheckpointError, match="is no checkpoint"):
        save_checkpoint(trained, tmp_path / "letters", force=True)

    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_a_target_that_cannot_be_written_is_one_sentence(trained, tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(trained, tmp_path / "file" / "brexit")


def test_a_set_comes_oldest_first(tmp_path):
    for n_rows, name in ((300, "b"), (250, "c"), (350, "a")):
        save_checkpoint(train_on(n_rows, name), tmp_path / name)
    (tmp_path / ".unfinished").mkdir()

    assert [model.name for model in load_checkpoints(tmp_path)] == ["c", "b", "a"]
    assert [model.name for model in load_checkpoints(tmp_path / "a")] == ["a"]


def test_a_set_must_be_ordered_by_what_its_models_know(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "one")
    save_checkpoint(trained, tmp_path / "two")

    with pytest.raises(CheckpointError, match="must differ in the last label"):
        load_checkpoints(tmp_path)


def test_a_set_must_share_one_schema(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "one")
    other = train_on(250, "other", FeatureSchema(has_put_call=True))
    save_checkpoint(other, tmp_path / "two")

    with pytest.raises(CheckpointError, match=r"share one feature schema.*put/call"):
        load_checkpoints(tmp_path)


def test_a_set_passes_over_files_and_needs_a_checkpoint(trained, tmp_path):
    (tmp_path / "one_history.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"must hold manifest\.json or"):
        load_checkpoints(tmp_path)
    (tmp_path / "one").mkdir()
    save_checkpoint(trained, tmp_path / "one")

    assert [model.name for model in load_checkpoints(tmp_path)] == [trained.name]
