"""Checkpoints: what is saved is loaded, whole or not at all."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.checkpoint_damages import BIAS, CONFIG, EXTRAS, FILES, contents_of, train_on
from tests.planted import planted_samples
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import (
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
    save_checkpoint,
)
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema


def test_what_is_loaded_equals_what_was_saved(brexit_model, checkpoint):
    loaded = load_checkpoint(checkpoint)

    assert loaded.name == "brexit"
    assert loaded.config == brexit_model.config
    assert loaded.schema == brexit_model.schema
    assert loaded.record == brexit_model.record
    assert loaded.scaler.mean.tobytes() == brexit_model.scaler.mean.tobytes()
    assert loaded.scaler.std.tobytes() == brexit_model.scaler.std.tobytes()
    assert loaded.parameters.keys() == brexit_model.parameters.keys()
    for name, value in brexit_model.parameters.items():
        assert torch.equal(loaded.parameters[name], value)


def test_folder_holds_three_files_and_a_readable_description(checkpoint):
    assert sorted(path.name for path in checkpoint.iterdir()) == sorted(FILES)
    manifest = json.loads((checkpoint / MANIFEST_FILE).read_bytes())
    assert manifest["format_version"] == 2
    assert manifest["sha256"] == {
        name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
        for name in (WEIGHTS_FILE, DESCRIPTION_FILE)
    }
    description = json.loads((checkpoint / DESCRIPTION_FILE).read_bytes())
    assert description["config"]["seed"] == 3
    assert description["versions"]["torch"] == torch.__version__
    assert len(description["training"]["history"]) == 2


def test_what_happens_to_the_files_later_changes_nothing(brexit_model, checkpoint):
    loaded = load_checkpoint(checkpoint)
    with (checkpoint / WEIGHTS_FILE).open("r+b") as file:
        file.write(b"\xff" * (checkpoint / WEIGHTS_FILE).stat().st_size)

    for name, value in brexit_model.parameters.items():
        assert torch.equal(loaded.parameters[name], value)


def test_the_other_architecture_is_stored_as_well(tmp_path):
    model = CONFIG.model.model_copy(update={"architecture": "paper"})
    config = CONFIG.model_copy(update={"model": model})
    trained = train(planted_samples(300), FeatureSchema(), config, name="paper")
    save_checkpoint(trained, tmp_path / "paper")

    loaded = load_checkpoint(tmp_path / "paper")

    assert loaded.config == config
    for name, value in trained.parameters.items():
        assert torch.equal(loaded.parameters[name], value)


def test_saving_twice_gives_the_same_bytes(brexit_model, checkpoint, tmp_path):
    save_checkpoint(brexit_model, tmp_path / "again")

    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (
            checkpoint / name
        ).read_bytes()


def test_a_file_in_place_of_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="must be a folder"):
            load_checkpoint(path)


@pytest.mark.skipif(os.name == "nt", reason="makes links as POSIX does")
def test_the_folder_itself_may_be_read_through_a_link_and_not_written(
    brexit_model, full_checkpoint
):
    link = full_checkpoint.parent / "newest"
    link.symlink_to(full_checkpoint.name)

    assert load_checkpoint(link).name == "brexit"
    with pytest.raises(CheckpointError, match="must not be a symbolic link"):
        save_checkpoint(brexit_model, link, force=True)
    assert link.is_symlink()
    assert (full_checkpoint / "training.png").exists()


def test_extras_are_stored_listed_and_held_to_their_hash(full_checkpoint):
    assert {name: (full_checkpoint / name).read_bytes() for name in EXTRAS} == EXTRAS
    listed = json.loads((full_checkpoint / MANIFEST_FILE).read_bytes())["sha256"]
    for name, content in EXTRAS.items():
        assert listed[name] == hashlib.sha256(content).hexdigest()
    (full_checkpoint / "MODEL_CARD.md").write_bytes(b"# better\n")

    with pytest.raises(CheckpointError, match=r"MODEL_CARD\.md: its SHA-256"):
        load_checkpoint(full_checkpoint)


@pytest.mark.parametrize(
    "name", ["model_card.md", "../x", MANIFEST_FILE, WEIGHTS_FILE, "a\nb"]
)
def test_other_extras_are_refused(brexit_model, tmp_path, name):
    with pytest.raises(CheckpointError, match=r"`extras` may hold MODEL_CARD\.md,"):
        save_checkpoint(brexit_model, tmp_path / "brexit", extras={name: b""})

    assert not list(tmp_path.iterdir())


def test_an_existing_target_is_refused_and_left_alone(brexit_model, checkpoint):
    before = {name: (checkpoint / name).read_bytes() for name in FILES}

    with pytest.raises(CheckpointError, match=r"already exists.*--force"):
        save_checkpoint(brexit_model, checkpoint)

    assert {name: (checkpoint / name).read_bytes() for name in FILES} == before


def test_force_replaces_a_checkpoint_that_is_as_it_was_written(
    brexit_model, checkpoint
):
    save_checkpoint(brexit_model, checkpoint, force=True)

    assert load_checkpoint(checkpoint).record == brexit_model.record
    assert os.listdir(checkpoint.parent) == ["brexit"]  # noqa: PTH208 - hidden ones too

    (checkpoint / WEIGHTS_FILE).write_bytes(b"damaged, or another's")
    with pytest.raises(CheckpointError, match="is not part of that, or was"):
        save_checkpoint(brexit_model, checkpoint, force=True)
    assert (checkpoint / WEIGHTS_FILE).read_bytes() == b"damaged, or another's"


@pytest.mark.parametrize(
    "beside", [[], [MANIFEST_FILE]], ids=["alone", "with a manifest"]
)
def test_force_replaces_nothing_but_a_checkpoint(brexit_model, tmp_path, beside):
    (tmp_path / "letters").mkdir()
    for name in ("dear.txt", *beside):
        (tmp_path / "letters" / name).write_text("dear")

    with pytest.raises(CheckpointError, match=r"dear\.txt is not"):
        save_checkpoint(brexit_model, tmp_path / "letters", force=True)

    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_a_model_that_would_not_load_replaces_nothing(brexit_model, checkpoint):
    before = contents_of(checkpoint)
    parameters = {**brexit_model.parameters, BIAS: torch.full((8,), np.nan)}
    broken = replace(brexit_model, parameters=parameters)

    with pytest.raises(CheckpointError, match=r"not load: .*bias.*finite"):
        save_checkpoint(broken, checkpoint, force=True)

    assert contents_of(checkpoint) == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["brexit"]


def test_a_target_that_cannot_be_written_is_one_sentence(brexit_model, tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(CheckpointError, match="must be in a writable folder"):
        save_checkpoint(brexit_model, tmp_path / "file" / "brexit")


REPLACING = """
import sys
from pathlib import Path
from trm_bt.learning.checkpoint import load_checkpoint, save_checkpoint
models = [load_checkpoint(Path(path)) for path in sys.argv[2:]]
print("begins", flush=True)
for turn in range(30):
    model = models[turn % 2]
    extras = {"MODEL_CARD.md": model.name.encode()} if turn % 2 else {}
    save_checkpoint(model, Path(sys.argv[1]), extras=extras, force=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform not in {"linux", "darwin"}, reason="no exchange in one step"
)
def test_a_reader_beside_a_writer_gets_the_old_or_the_new_checkpoint(tmp_path):
    """The models differ in every file, so that no mixture of them would load."""
    models = {name: train_on(n, name) for n, name in ((300, "one"), (350, "other"))}
    for name, model in models.items():
        save_checkpoint(model, tmp_path / name)
    target = tmp_path / "both"
    save_checkpoint(models["one"], target)
    paths = [target, *(tmp_path / name for name in models)]
    command = [sys.executable, "-c", REPLACING, *map(str, paths)]
    n_loaded = Counter[str]()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()  # it has imported
        while writer.poll() is None:
            loaded = load_checkpoint(target)
            stored = models[loaded.name].parameters
            for key in stored:
                assert torch.equal(loaded.parameters[key], stored[key])
            n_loaded[loaded.name] += 1

    assert writer.returncode == 0
    assert n_loaded.keys() == {"one", "other"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "one", "other"]
