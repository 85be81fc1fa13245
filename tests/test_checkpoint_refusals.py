"""Everything but the checkpoint that was written is refused, and told why."""

import hashlib
import json
import os
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
    DESCRIPTION,
    MANIFEST,
    WEIGHTS,
    load_checkpoint,
    save_checkpoint,
)


def test_the_bare_resealed_folder_loads(checkpoint):
    """The forger's tools below are sound: what they leave alone stays believable."""
    reseal(checkpoint)

    assert load_checkpoint(checkpoint).name == "brexit"


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

    with pytest.raises(CheckpointError, match=f"{name}: this file must be there"):
        load_checkpoint(checkpoint)


def test_an_added_file_is_named(checkpoint):
    (checkpoint / "model.pkl").write_bytes(b"cos\nsystem\n")

    with pytest.raises(CheckpointError, match=r"and nothing else, got model\.pkl\."):
        load_checkpoint(checkpoint)


def test_a_folder_in_place_of_a_file_is_refused(checkpoint):
    (checkpoint / WEIGHTS).unlink()
    (checkpoint / WEIGHTS).mkdir()

    with pytest.raises(CheckpointError, match=r"model\.safetensors is a folder"):
        load_checkpoint(checkpoint)


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
def test_a_resealed_forgery_is_held_to_the_rules(checkpoint, keys, value, rule):
    forge(checkpoint, *keys, value=value)

    with pytest.raises(CheckpointError, match=rule):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_without_a_number_where_one_must_be_is_refused(checkpoint, text):
    path = checkpoint / DESCRIPTION
    description = json.loads(path.read_bytes())
    description["scaler"]["mean"][0] = float(text.lower())
    path.write_bytes(dump(description))
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        load_checkpoint(checkpoint)


def test_json_in_another_form_is_refused(checkpoint):
    path = checkpoint / DESCRIPTION
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode())
    hashes = json.loads((checkpoint / MANIFEST).read_bytes())
    hashes["sha256"][DESCRIPTION] = hashlib.sha256(path.read_bytes()).hexdigest()
    (checkpoint / MANIFEST).write_bytes(dump(hashes))

    with pytest.raises(CheckpointError, match="canonical form"):
        load_checkpoint(checkpoint)


def test_a_manifest_that_leaves_a_file_out_is_refused(checkpoint):
    manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    del manifest["sha256"][WEIGHTS]
    (checkpoint / MANIFEST).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match="must list"):
        load_checkpoint(checkpoint)


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
def test_resealed_weights_are_held_to_the_model(checkpoint, brexit_model, change, rule):
    tensors = {name: value.clone() for name, value in brexit_model.parameters.items()}
    change(tensors)
    (checkpoint / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{rule}"):
        load_checkpoint(checkpoint)


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
def test_a_resealed_header_is_checked_before_it_is_used(checkpoint, content, rule):
    (checkpoint / WEIGHTS).write_bytes(content)
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{rule}"):
        load_checkpoint(checkpoint)


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
def test_a_resealed_header_says_what_it_must_and_no_more(checkpoint, old, new, rule):
    content = (checkpoint / WEIGHTS).read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + n_header].replace(old, new, 1)
    assert header != content[8 : 8 + n_header]
    length = len(header).to_bytes(8, "little")
    (checkpoint / WEIGHTS).write_bytes(length + header + content[8 + n_header :])
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match=rule):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("change", [lambda c: c + b"\0" * 4, lambda c: c[:-4]])
def test_resealed_data_that_is_too_long_or_short_is_refused(checkpoint, change):
    (checkpoint / WEIGHTS).write_bytes(change((checkpoint / WEIGHTS).read_bytes()))
    reseal(checkpoint)

    with pytest.raises(CheckpointError, match="bytes of parameters behind its header"):
        load_checkpoint(checkpoint)


def test_a_model_beyond_reason_is_refused_unbuilt(checkpoint):
    for hidden_dim in (8192, 16400, 2**40, 10**32):
        forge(checkpoint, "config", "model", "hidden_dim", value=hidden_dim)
        with pytest.raises(
            CheckpointError, match="a model of at most 1073741824 bytes"
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
    ids=lambda value: ascii(value)[:30],
)
def test_a_manifest_may_list_known_names_only(full_checkpoint, name, rule):
    manifest = json.loads((full_checkpoint / MANIFEST).read_bytes())
    manifest["sha256"][name] = "0" * 64
    (full_checkpoint / MANIFEST).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match=rule) as refusal:
        load_checkpoint(full_checkpoint)

    rule_of(refusal.value)  # one short line, whatever the name


@pytest.mark.parametrize("name", [MANIFEST, DESCRIPTION])
def test_a_key_that_is_there_twice_is_refused(checkpoint, name):
    content = (checkpoint / name).read_bytes()
    twice = content.replace(b'"format_version": 1', b'"format_version": 1,' * 2, 1)
    (checkpoint / name).write_bytes(twice.replace(b",,", b","))
    if name == DESCRIPTION:
        reseal(checkpoint)

    with pytest.raises(CheckpointError, match="key format_version is there twice"):
        load_checkpoint(checkpoint)


def test_a_newer_format_is_named_before_its_strange_files(checkpoint):
    (checkpoint / "optimizer.bin").write_bytes(b"x")
    manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    manifest["sha256"]["optimizer.bin"] = "0" * 64
    (checkpoint / MANIFEST).write_bytes(
        dump({**manifest, "format_version": 2, "new": 1})
    )

    with pytest.raises(
        CheckpointError, match=r"newer trm-bt, format 2; this one reads 1: upgrade"
    ):
        load_checkpoint(checkpoint)


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
def test_only_plain_files_are_read(full_checkpoint, tmp_path, name, kind, make):
    kept = tmp_path / "kept"
    path = full_checkpoint / name
    if path.exists():
        path.rename(kept)  # a link to the very bytes is refused, too
    make(path, kept)

    with pytest.raises(CheckpointError, match=f"plain files only, {name} is a {kind}"):
        load_checkpoint(full_checkpoint)


def test_weights_go_with_one_description_only(checkpoint, tmp_path):
    save_checkpoint(train_on(350, "other"), tmp_path / "other")
    other = (tmp_path / "other" / WEIGHTS).read_bytes()
    (checkpoint / WEIGHTS).write_bytes(other)
    manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    manifest["sha256"][WEIGHTS] = hashlib.sha256(other).hexdigest()
    (checkpoint / MANIFEST).write_bytes(dump(manifest))

    with pytest.raises(CheckpointError, match="`weights_sha256` must be"):
        load_checkpoint(checkpoint)


def test_an_unlisted_extra_is_refused(checkpoint):
    (checkpoint / "MODEL_CARD.md").write_bytes(b"# who wrote this?\n")

    with pytest.raises(CheckpointError, match=r"nothing else, got MODEL_CARD\.md"):
        load_checkpoint(checkpoint)
