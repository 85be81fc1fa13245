"""Checkpoints: whole or not at all, and no byte changes unnoticed."""

import hashlib
import json
import os
import shutil
import tracemalloc
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.checkpoint_damages import (
    LOADED,
    contents_of,
    dump,
    flipped,
    reseal,
    rule_of,
    spread,
    verdict,
)
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
EXTRAS = {
    "MODEL_CARD.md": b"# brexit\n",
    "history.json": b"[]",
    "training.png": b"\x89PNG\r\n\x1a\n",
}
ALL_FILES = (*FILES, *EXTRAS)
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


@pytest.fixture
def full_folder(trained, tmp_path) -> Path:
    """A checkpoint with all the files it may have."""
    save_checkpoint(trained, tmp_path / "brexit", extras=EXTRAS)
    return tmp_path / "brexit"


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


def test_every_flipped_bit_is_refused(full_folder):
    whole = contents_of(full_folder)
    rng = np.random.default_rng(0)
    sizes = {name: len(content) for name, content in whole.items()}
    for name, position in spread(sizes, 1200, rng):
        damaged = flipped(whole[name], position, int(rng.integers(8)))
        assert verdict(full_folder, whole, {name: damaged}) != LOADED, (name, position)
    assert verdict(full_folder, whole, {}) == LOADED


def test_every_truncation_and_addition_is_refused(full_folder):
    whole = contents_of(full_folder)
    sizes = {name: len(content) for name, content in whole.items()}
    for name, length in spread(sizes, 300, np.random.default_rng(1)):
        cut = {name: whole[name][:length]}
        assert verdict(full_folder, whole, cut) != LOADED, (name, length)
    for name, content in whole.items():
        for longer in (content + b"\n", b" " + content, content + content):
            assert verdict(full_folder, whole, {name: longer}) != LOADED, name


def test_any_file_of_another_checkpoint_is_refused(full_folder, tmp_path):
    other_extras = {name: content + b"other" for name, content in EXTRAS.items()}
    save_checkpoint(train_on(350, "other"), tmp_path / "other", extras=other_extras)
    whole, other = contents_of(full_folder), contents_of(tmp_path / "other")

    for n_swapped in range(1, len(ALL_FILES)):
        for names in combinations(ALL_FILES, n_swapped):
            swapped = {name: other[name] for name in names}
            assert verdict(full_folder, whole, swapped) != LOADED, names


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()

    with pytest.raises(CheckpointError, match=f"{name}: this file must be there"):
        load_checkpoint(folder)


def test_an_added_file_is_named(folder):
    (folder / "model.pkl").write_bytes(b"cos\nsystem\n")

    with pytest.raises(CheckpointError, match=r"and nothing else, got model\.pkl\."):
        load_checkpoint(folder)


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()

    with pytest.raises(CheckpointError, match=r"model\.safetensors is a folder"):
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
        (("format_version",), 2, "newer trm-bt, format 2; this one reads 1: upgrade"),
        (("format_version",), 0, "format_version"),
        (("surprise",), 1, "unknown key `surprise`"),
        (("config", "model", "hidden_dim"), 32, r"embedding.*shape \[32, 10\]"),
        (
            ("config", "model", "unknown key `config.model.hidden_dims`"),
            8,
            "unknown key `config.model.hidden_dims`",
        ),
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
            lambda t: t.update({BIAS: torch.zeros(7)}),
            r"shape \[8\], got \[7\]",
        ),
        (
            lambda t: t.update({BIAS: torch.zeros(8).double()}),
            "type F32, got F64",
        ),
        (
            lambda t: t.update({BIAS: torch.zeros(8).half()}),
            "type F32, got F16",
        ),
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


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "0 bytes, too short"),
        (b"\x80\x04N.", "must have at most 65536 bytes, claims 776864896"),
        (b"\xff" * 64, "must have at most 65536 bytes, claims 18446744073709551615"),
        ((65537).to_bytes(8, "little") + b" " * 65537, "claims 65537"),
        ((9).to_bytes(8, "little") + b"{}", "too short for its length and a header"),
        ((2).to_bytes(8, "little") + b"[]", "must be a JSON object, got list"),
        ((60000).to_bytes(8, "little") + b"[" * 60000, "must be JSON"),
    ],
    ids=["empty", "pickle", "ones", "long", "cut", "list", "deep"],
)
def test_a_resealed_header_is_checked_before_it_is_used(folder, content, rule):
    (folder / WEIGHTS).write_bytes(content)
    reseal(folder)

    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{rule}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b'"dtype":"F32",', b'"dtype":"F32","x":1,', "header must say"),
        (
            b'"dtype":"F32",',
            b'"dtype":"F32","dtype":"F32",',
            "`?dtype`? is there twice",
        ),
        (b"{", b'{"__metadata__":{"a":"b"},', "differs in __metadata__"),
        (b'"data_offsets":[0,', b'"data_offsets":[4,', "no safetensors file"),
    ],
    ids=["entry", "twice", "metadata", "offsets"],
)
def test_a_resealed_header_says_what_it_must_and_no_more(folder, old, new, rule):
    content = (folder / WEIGHTS).read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + n_header].replace(old, new, 1)
    assert header != content[8 : 8 + n_header]
    length = len(header).to_bytes(8, "little")
    (folder / WEIGHTS).write_bytes(length + header + content[8 + n_header :])
    reseal(folder)

    with pytest.raises(CheckpointError, match=rule):
        load_checkpoint(folder)


@pytest.mark.parametrize("change", [lambda c: c + b"\0" * 4, lambda c: c[:-4]])
def test_resealed_data_that_is_too_long_or_short_is_refused(folder, change):
    (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))
    reseal(folder)

    with pytest.raises(CheckpointError, match="bytes of parameters behind its header"):
        load_checkpoint(folder)


def test_a_model_beyond_reason_is_refused_unbuilt(folder):
    for hidden_dim in (16400, 2**40, 10**30):
        forge(
            folder, "config", "model", "hidden_dim", value=hidden_dim - hidden_dim % 16
        )
        with pytest.raises(
            CheckpointError, match="a model of at most 1073741824 bytes"
        ):
            load_checkpoint(folder)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_file_far_too_large_is_refused_unread(full_folder, name):
    """Ten gigabytes of holes: reading them would show in what Python holds."""
    with (full_folder / name).open("r+b") as file:
        file.truncate(10 * 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"{name}: must have at most"):
            load_checkpoint(full_folder)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../brexit/model.safetensors", "never a path"),
        ("./model.safetensors", "never a path"),
        ("/etc/passwd", "never a path"),
        ("C:\\model.safetensors", "never a path"),
        ("sub/history.json", "never a path"),
        ("history.json\0.png", "never a path"),
        ("..", "never a path"),
        ("", "never a path"),
        ("History.json", "capitals included"),
        ("MODEL.SAFETENSORS", "capitals included"),
        ("manifest.json", "not list itself"),
        ("history.js\u03bfn", "only, got"),
        ("two\nlines", "only, got"),
        ("x" * 5000, "only, got"),
        ("\u202egnp.gniniart", "only, got"),
    ],
    ids=ascii,
)
def test_a_manifest_may_list_known_names_only(full_folder, name, rule):
    manifest = json.loads((full_folder / MANIFEST).read_bytes())
    manifest["sha256"][name] = "0" * 64
    (full_folder / MANIFEST).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match=rule) as refusal:
        load_checkpoint(full_folder)

    rule_of(refusal.value)  # one short line, whatever the name


@pytest.mark.parametrize("name", [MANIFEST, DESCRIPTION])
def test_a_key_that_is_there_twice_is_refused(folder, name):
    content = (folder / name).read_bytes()
    twice = content.replace(b'"format_version": 1', b'"format_version": 1,' * 2, 1)
    (folder / name).write_bytes(twice.replace(b",,", b","))
    if name == DESCRIPTION:
        reseal(folder)

    with pytest.raises(CheckpointError, match="key format_version is there twice"):
        load_checkpoint(folder)


def test_a_newer_format_is_named_before_its_strange_files(folder):
    (folder / "optimizer.bin").write_bytes(b"x")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["sha256"]["optimizer.bin"] = "0" * 64
    (folder / MANIFEST).write_bytes(dump({**manifest, "format_version": 2, "new": 1}))

    with pytest.raises(
        CheckpointError, match=r"newer trm-bt, format 2; this one reads 1: upgrade"
    ):
        load_checkpoint(folder)


needs_special_files = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="makes links and pipes of POSIX"
)


@needs_special_files
@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, "history.json", "stranger"])
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("symbolic link", lambda path, kept: path.symlink_to(kept)),
        ("symbolic link", lambda path, kept: path.symlink_to(path.parent / "nowhere")),
        ("symbolic link", lambda path, kept: path.symlink_to("/dev/zero")),
        ("named pipe", lambda path, kept: os.mkfifo(path)),
        ("folder", lambda path, kept: path.mkdir()),
    ],
    ids=["link", "dangling", "device", "pipe", "folder"],
)
def test_only_plain_files_are_read(full_folder, tmp_path, name, kind, make):
    kept = tmp_path / "kept"
    path = full_folder / name
    if path.exists():
        path.rename(kept)  # a link to the very bytes is refused, too
    make(path, kept)

    with pytest.raises(CheckpointError, match=f"plain files only, {name} is a {kind}"):
        load_checkpoint(full_folder)


@needs_special_files
def test_the_folder_itself_may_be_reached_through_a_link(trained, full_folder):
    link = full_folder.parent / "newest"
    link.symlink_to(full_folder.name)

    assert load_checkpoint(link).name == "brexit"
    save_checkpoint(trained, link, force=True)
    assert link.is_symlink()
    assert not (full_folder / "training.png").exists()
    assert load_checkpoint(full_folder).name == "brexit"


def test_extras_are_stored_listed_and_held_to_their_hash(full_folder):
    assert {name: (full_folder / name).read_bytes() for name in EXTRAS} == EXTRAS
    listed = json.loads((full_folder / MANIFEST).read_bytes())["sha256"]
    for name, content in EXTRAS.items():
        assert listed[name] == hashlib.sha256(content).hexdigest()
    (full_folder / "MODEL_CARD.md").write_bytes(b"# better\n")

    with pytest.raises(CheckpointError, match=r"MODEL_CARD\.md: its SHA-256"):
        load_checkpoint(full_folder)


@pytest.mark.parametrize("name", ["model_card.md", "../x", MANIFEST, WEIGHTS, "a\nb"])
def test_other_extras_are_refused(trained, tmp_path, name):
    with pytest.raises(CheckpointError, match=r"`extras` may hold MODEL_CARD\.md,"):
        save_checkpoint(trained, tmp_path / "brexit", extras={name: b""})

    assert not list(tmp_path.iterdir())


def test_an_unlisted_extra_is_refused(folder):
    (folder / "MODEL_CARD.md").write_bytes(b"# who wrote this?\n")

    with pytest.raises(CheckpointError, match=r"nothing else, got MODEL_CARD\.md"):
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


@pytest.mark.parametrize("beside", [[], [MANIFEST]], ids=["alone", "with a manifest"])
def test_force_replaces_nothing_but_a_checkpoint(trained, tmp_path, beside):
    (tmp_path / "letters").mkdir()
    for name in ("dear.txt", *beside):
        (tmp_path / "letters" / name).write_text("dear")

    with pytest.raises(CheckpointError, match=r"is no checkpoint.*dear\.txt"):
        save_checkpoint(trained, tmp_path / "letters", force=True)

    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_a_model_that_would_not_load_replaces_nothing(trained, folder):
    before = contents_of(folder)
    broken = {**trained.parameters, BIAS: torch.full((8,), np.nan)}

    with pytest.raises(CheckpointError, match=r"not load again: .*bias.*finite"):
        save_checkpoint(replace(trained, parameters=broken), folder, force=True)

    assert contents_of(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["brexit"]


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
