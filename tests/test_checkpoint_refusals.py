"""Everything but the checkpoint that was written is refused, and told why."""

import hashlib
import json
import os
import re
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.checkpoint_damages import (
    ALL_FILES,
    BIAS,
    EXTRAS,
    FILES,
    LOADED,
    contents_of,
    dump,
    flipped,
    forge,
    reseal,
    rule_of,
    spread,
    train_on,
    verdict,
)
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import (
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
    save_checkpoint,
)


def test_the_bare_resealed_folder_loads(checkpoint):
    """The forger's tools below are sound: what they leave alone stays believable."""
    reseal(checkpoint)

    assert load_checkpoint(checkpoint).name == "brexit"


@pytest.mark.slow
def test_every_flipped_bit_is_refused(full_checkpoint):
    whole = contents_of(full_checkpoint)
    rng = np.random.default_rng(0)
    sizes = {name: len(content) for name, content in whole.items()}
    for name, position in spread(sizes, 600, rng):
        damaged = flipped(whole[name], position, int(rng.integers(8)))
        assert verdict(full_checkpoint, whole, {name: damaged}) != LOADED, (
            name,
            position,
        )
    assert verdict(full_checkpoint, whole, {}) == LOADED


@pytest.mark.slow
def test_every_truncation_and_addition_is_refused(full_checkpoint):
    whole = contents_of(full_checkpoint)
    sizes = {name: len(content) for name, content in whole.items()}
    for name, length in spread(sizes, 300, np.random.default_rng(1)):
        cut = {name: whole[name][:length]}
        assert verdict(full_checkpoint, whole, cut) != LOADED, (name, length)
    for name, content in whole.items():
        for longer in (content + b"\n", b" " + content, content + content):
            assert verdict(full_checkpoint, whole, {name: longer}) != LOADED, name


def test_any_file_of_another_checkpoint_is_refused(full_checkpoint, tmp_path):
    other_extras = {name: content + b"other" for name, content in EXTRAS.items()}
    save_checkpoint(train_on(350, "other"), tmp_path / "other", extras=other_extras)
    whole, other = contents_of(full_checkpoint), contents_of(tmp_path / "other")

    for n_swapped in range(1, len(ALL_FILES)):
        for names in combinations(ALL_FILES, n_swapped):
            swapped = {name: other[name] for name in names}
            assert verdict(full_checkpoint, whole, swapped) != LOADED, names


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()

    with pytest.raises(
        CheckpointError,
        match=f"lists and no other, differs in {name}|{name}: cannot be read",
    ):
        load_checkpoint(checkpoint)


def test_an_added_file_is_named(checkpoint):
    (checkpoint / "model.pkl").write_bytes(b"cos\nsystem\n")

    with pytest.raises(CheckpointError, match=r"and no other, differs in model\.pkl\."):
        load_checkpoint(checkpoint)


def test_a_folder_in_place_of_a_file_is_refused(checkpoint):
    (checkpoint / WEIGHTS_FILE).unlink()
    (checkpoint / WEIGHTS_FILE).mkdir()

    with pytest.raises(
        CheckpointError, match=r"plain files only, model\.safetensors is"
    ):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        (("format_version",), 2, "`format_version`: Extra inputs"),
        (("surprise",), 1, "`surprise`: Extra inputs"),
        (("config", "model", "hidden_dim"), 32, r"`embedding.*\[32\], is"),
        (("config", "model", "hidden_dim"), 8192, "less than or equal to 4096"),
        (("config", "model", "hidden_dim"), 10**32, "config.model.hidden_dim"),
        (("config", "model", "hidden_dims"), 8, "`config.model.hidden_dims`: Extra"),
        (("config", "model", "effective_depth"), 4, "canonical form"),
        (("config", "training", "learning_rate"), -1.0, "learning_rate"),
        (("config", "training", "epochs"), "2", "epochs.*valid integer"),
        (("feature_schema", "formula_version"), "x", "formula_version"),
        (("scaler", "std"), [1.0] * 9, "at least 10 items"),
        (("scaler", "std"), [0.0] * 10, "scaler.std.0.*greater than 0"),
        (("scaler", "names"), ["vix_level"] * 10, "`names` must be the features"),
        (("training", "last_label_known_on"), "soon", "last_label_known_on"),
        (("training", "best_epoch"), 3, "best_epoch"),
        (("training", "best_epoch"), 0, "best_epoch"),
        (("versions",), None, "versions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_resealed_forgery_is_held_to_the_rules(checkpoint, keys, value, rule):
    forge(checkpoint, *keys, value=value)

    with pytest.raises(CheckpointError, match=rule):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_without_a_number_where_one_must_be_is_refused(checkpoint, text):
    path = checkpoint / DESCRIPTION_FILE
    description = json.loads(path.read_bytes())
    description["scaler"]["mean"][0] = float(text.lower())
    path.write_bytes(dump(description))
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        load_checkpoint(checkpoint)


def test_json_in_another_form_is_refused(checkpoint):
    path = checkpoint / DESCRIPTION_FILE
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode())
    hashes = json.loads((checkpoint / MANIFEST_FILE).read_bytes())
    hashes["sha256"][DESCRIPTION_FILE] = hashlib.sha256(path.read_bytes()).hexdigest()
    (checkpoint / MANIFEST_FILE).write_bytes(dump(hashes))

    with pytest.raises(CheckpointError, match="canonical form"):
        load_checkpoint(checkpoint)


def test_a_manifest_that_leaves_a_file_out_is_refused(checkpoint):
    manifest = json.loads((checkpoint / MANIFEST_FILE).read_bytes())
    del manifest["sha256"][WEIGHTS_FILE]
    (checkpoint / MANIFEST_FILE).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match="must list"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            lambda t: t.update({BIAS: torch.zeros(7)}),
            r"torch\.float32 \[8\], is torch\.float32 \[7\]",
        ),
        (
            lambda t: t.update({BIAS: torch.zeros(8).double()}),
            r"must be torch\.float32 \[8\], is torch\.float64",
        ),
        (
            lambda t: t.update({BIAS: torch.zeros(8).half()}),
            r"must be torch\.float32 \[8\], is torch\.float16",
        ),
        (
            lambda t: t.update({"extra": torch.zeros(1)}),
            "`extra` must be absent, is torch",
        ),
        (
            lambda t: t.pop("nets.halt_out.bias"),
            r"`nets\.halt_out\.bias` must be torch.*, is absent",
        ),
        (lambda t: t["nets.readout.weight"].fill_(np.nan), "readout.weight.*finite"),
        (lambda t: t["nets.readout.bias"].fill_(-np.inf), "readout.bias.*finite"),
        (lambda t: t.clear(), "is absent"),
    ],
    ids=["shape", "double", "half", "extra", "missing", "nan", "inf", "empty"],
)
def test_resealed_weights_are_held_to_the_model(checkpoint, brexit_model, change, rule):
    tensors = {name: value.clone() for name, value in brexit_model.parameters.items()}
    change(tensors)
    (checkpoint / WEIGHTS_FILE).write_bytes(safetensors.torch.save(tensors))
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{rule}"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04N.",
        b"\xff" * 64,
        (9).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (60000).to_bytes(8, "little") + b"[" * 60000,
    ],
    ids=["empty", "pickle", "ones", "cut", "list", "deep"],
)
def test_resealed_files_of_another_kind_are_refused(checkpoint, content):
    (checkpoint / WEIGHTS_FILE).write_bytes(content)
    reseal(checkpoint)

    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: is not a safetensors"
    ):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c + b"\0" * 4,
        lambda c: c[:-4],
        lambda c: c.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1),
        lambda c: c.replace(b'"F32"', b'"X32"', 1),
    ],
    ids=["longer", "shorter", "offsets", "type"],
)
def test_resealed_weights_that_are_no_sound_file_are_refused(checkpoint, change):
    content = (checkpoint / WEIGHTS_FILE).read_bytes()
    assert change(content) != content
    (checkpoint / WEIGHTS_FILE).write_bytes(change(content))
    reseal(checkpoint)

    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: is not a safetensors"
    ):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_file_far_too_large_is_refused_unread(full_checkpoint, name):
    """Ten gigabytes of holes: reading them would show in what Python holds."""
    with (full_checkpoint / name).open("r+b") as file:
        file.truncate(10 * 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=f"{name}: must have at most"):
            load_checkpoint(full_checkpoint)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name",
    [
        "../brexit/model.safetensors",
        "/etc/passwd",
        "C:\\model.safetensors",
        "..",
        "",
        "MODEL.SAFETENSORS",
        "manifest.json",
        "two\nlines",
        "x" * 5000,
        "\u202egnp.gniniart",
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_manifest_may_list_known_names_only(full_checkpoint, name):
    manifest = json.loads((full_checkpoint / MANIFEST_FILE).read_bytes())
    manifest["sha256"][name] = "0" * 64
    (full_checkpoint / MANIFEST_FILE).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match="must list") as refusal:
        load_checkpoint(full_checkpoint)

    rule_of(refusal.value)  # one short line, whatever the name


@pytest.mark.parametrize(
    ("name", "first"), [(MANIFEST_FILE, "format_version"), (DESCRIPTION_FILE, "name")]
)
def test_a_key_that_is_there_twice_is_refused(checkpoint, name, first):
    content = (checkpoint / name).read_bytes()
    (line,) = re.findall(rf'\n "{first}": .*,'.encode(), content)
    (checkpoint / name).write_bytes(content.replace(line, line * 2))
    if name == DESCRIPTION_FILE:
        reseal(checkpoint)

    with pytest.raises(CheckpointError, match="canonical form"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        (1, "an older trm-bt, format 1; this one reads 2: train again"),
        (3, "a newer trm-bt, format 3; this one reads 2: upgrade"),
    ],
)
def test_another_format_is_named_before_its_strange_files(checkpoint, version, rule):
    (checkpoint / "optimizer.bin").write_bytes(b"x")
    manifest = json.loads((checkpoint / MANIFEST_FILE).read_bytes())
    manifest["sha256"]["optimizer.bin"] = "0" * 64
    changed = {**manifest, "format_version": version, "new": 1}
    (checkpoint / MANIFEST_FILE).write_bytes(dump(changed))

    with pytest.raises(CheckpointError, match=f"written by {rule}"):
        load_checkpoint(checkpoint)


needs_special_files = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="makes links and pipes of POSIX"
)


@needs_special_files
@pytest.mark.parametrize(
    "name", [WEIGHTS_FILE, MANIFEST_FILE, "history.json", "stranger"]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda path, kept: path.symlink_to(kept),
        lambda path, kept: path.symlink_to(path.parent / "nowhere"),
        lambda path, kept: path.symlink_to("/dev/zero"),
        lambda path, kept: os.mkfifo(path),
        lambda path, kept: path.mkdir(),
    ],
    ids=["link", "dangling", "device", "pipe", "folder"],
)
def test_only_plain_files_are_read(full_checkpoint, tmp_path, name, make):
    kept = tmp_path / "kept"
    path = full_checkpoint / name
    if path.exists():
        path.rename(kept)  # a link to the very bytes is refused, too
    make(path, kept)

    with pytest.raises(CheckpointError, match=f"plain files only, {name} is a link"):
        load_checkpoint(full_checkpoint)


def test_an_unlisted_extra_is_refused(checkpoint):
    (checkpoint / "MODEL_CARD.md").write_bytes(b"# who wrote this?\n")

    with pytest.raises(CheckpointError, match=r"no other, differs in MODEL_CARD\.md"):
        load_checkpoint(checkpoint)
