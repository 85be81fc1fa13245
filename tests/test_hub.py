"""A checkpoint that goes through a hub folder is the same, or it is refused."""

import json
import os
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.checkpoint_damages import (
    EXTRAS,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    contents_of,
    dump,
    flipped,
    reseal,
    rule_of,
    train_on,
)
from tests.command_line import invoke
from trm_bt.errors import CheckpointError, RunError, TRMError
from trm_bt.learning.checkpoint import save_checkpoint
from trm_bt.learning.policy import TRMPolicy
from trm_bt.runs.decide import decide
from trm_bt.runs.hub import export_checkpoint, import_checkpoint

HUB_FILES = (WEIGHTS_FILE, "config.json", *EXTRAS)
"""What an import takes."""
needs_posix = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="makes links and pipes of POSIX"
)


@pytest.fixture(scope="module")
def exported(brexit_folders, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "brexit"
    export_checkpoint(brexit_folders["full"], folder)
    return folder


@pytest.fixture
def hub(exported, tmp_path) -> Path:
    """A hub folder of one's own to damage."""
    return shutil.copytree(exported, tmp_path / "hub" / "brexit")


def refusal_of(hub: Path) -> CheckpointError:
    """Import what must be refused; nothing may be written."""
    out = hub.parent / "theirs"
    before = set(hub.parent.iterdir())
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(hub, out)
    assert set(hub.parent.iterdir()) == before
    return refusal.value


@pytest.mark.parametrize("kind", ["bare", "full"])
def test_every_byte_is_the_same_after_the_round_trip(brexit_folders, kind, tmp_path):
    export_checkpoint(brexit_folders[kind], tmp_path / "hub")
    import_checkpoint(tmp_path / "hub", tmp_path / "theirs")

    assert contents_of(tmp_path / "theirs") == contents_of(brexit_folders[kind])


def test_it_decides_the_same_and_scales_the_same(tiny_checkpoint, tmp_path):
    bars, folder = tiny_checkpoint
    export_checkpoint(folder, tmp_path / "hub")
    import_checkpoint(tmp_path / "hub", tmp_path / "theirs")

    mine, theirs = (
        TRMPolicy.load(path, keeps_answers=False)
        for path in (folder, tmp_path / "theirs")
    )

    scalers = [policy.models[0].scaler for policy in (mine, theirs)]
    assert scalers[0].mean.tobytes() == scalers[1].mean.tobytes()
    assert scalers[0].std.tobytes() == scalers[1].std.tobytes()
    sessions = bars.sessions[-60:]
    rows = np.random.default_rng(0).normal(size=(60, 10))
    decided = [policy.decide(sessions, rows) for policy in (mine, theirs)]
    bits = [[d.probabilities.tobytes() for d in decisions] for decisions in decided]
    assert bits[0] == bits[1]
    assert {decision.allocation for decision in decided[0]} != {None}
    assert decide(folder, bars) == decide(tmp_path / "theirs", bars)


def test_the_folder_has_what_a_hub_shows(exported):
    assert {path.name for path in exported.iterdir()} == {
        *HUB_FILES,
        "README.md",
        MANIFEST_FILE,
    }
    config = json.loads((exported / "config.json").read_bytes())
    assert config["name"] == "brexit"
    assert {"feature_schema", "scaler", "training"} < config.keys()
    readme = (exported / "README.md").read_text(encoding="utf-8")
    assert EXTRAS["MODEL_CARD.md"].decode() in readme


def test_the_front_matter_says_what_is_known(tmp_path):
    yaml = pytest.importorskip("yaml", reason="reads the front matter")
    trained = train_on(300, name := 'a "b": #1\n---\n- x')
    save_checkpoint(trained, tmp_path / "model")
    export_checkpoint(tmp_path / "model", tmp_path / "hub")

    readme = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(readme.split("\n---\n")[0])

    assert front["license"] == "unknown"
    assert front["library_name"] == "trm_bt"
    assert "datasets" not in front
    (index,) = front["model-index"]
    assert index["name"] == name
    (result,) = index["results"]
    best = trained.record.history[trained.record.best_epoch - 1]
    assert [metric["value"] for metric in result["metrics"]] == [
        best.validation_accuracy,
        trained.record.majority_accuracy,
        best.validation_utility,
        trained.record.best_fixed_utility,
    ]


def test_an_edited_readme_and_what_a_download_adds_are_no_obstacle(
    hub, brexit_folders, tmp_path
):
    (hub / "README.md").write_text("---\nlicense: mit\n---\n")
    (hub / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (hub / ".cache" / "huggingface").mkdir(parents=True)

    import_checkpoint(hub, tmp_path / "theirs")

    assert contents_of(tmp_path / "theirs") == contents_of(brexit_folders["full"])


@pytest.mark.parametrize("name", HUB_FILES)
def test_every_kind_of_damage_to_a_file_is_refused(hub, name):
    whole = (hub / name).read_bytes()
    last = len(whole) - 1
    damages = [flipped(whole, at, 3) for at in (0, last // 2, last)]
    damages += [b"", whole[:-1], whole + b"\n", b"cos\nsystem\n"]
    for damage in damages:
        (hub / name).write_bytes(damage)
        assert rule_of(refusal_of(hub)) == "another SHA-256", damage[:20]


@pytest.mark.parametrize("name", [*HUB_FILES, "README.md"])
def test_a_missing_file_is_named(hub, name):
    (hub / name).unlink()

    assert f"and no other, differs in {name}." in str(refusal_of(hub))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pkl", "checkpoint.json", "setup.py", ".env"]
)
def test_a_foreign_file_is_named(hub, name):
    (hub / name).write_bytes(b"cos\nsystem\n")

    assert f"and no other, differs in {name}." in str(refusal_of(hub))


@pytest.mark.parametrize(
    "name",
    [
        "../brexit/model.safetensors",
        "/etc/passwd",
        "sub/config.json",
        "C:\\config.json",
        "..",
        "",
        "CONFIG.JSON",
        "pytorch_model.bin",
        "checkpoint.json",
        "manifest.json",
        "two\nlines",
        "x" * 5000,
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_a_manifest_may_list_known_names_only(hub, name):
    manifest = json.loads((hub / MANIFEST_FILE).read_bytes())
    manifest["sha256"][name] = "0" * 64
    (hub / MANIFEST_FILE).write_bytes(dump(manifest))

    error = refusal_of(hub)

    assert "must list model.safetensors, config.json and README.md" in str(error)
    assert len(str(error)) < 700 + len(str(hub))


@pytest.mark.parametrize("name", [WEIGHTS_FILE, "config.json", "README.md"])
def test_a_manifest_must_list_what_a_model_needs(hub, name):
    manifest = json.loads((hub / MANIFEST_FILE).read_bytes())
    del manifest["sha256"][name]
    (hub / MANIFEST_FILE).write_bytes(dump(manifest))

    assert "must list model.safetensors, config.json" in str(refusal_of(hub))


@needs_posix
@pytest.mark.parametrize("name", [*HUB_FILES, "README.md", MANIFEST_FILE, "stranger"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path, kept: path.symlink_to(kept),
        lambda path, kept: path.symlink_to("/dev/zero"),
        lambda path, kept: os.mkfifo(path),
        lambda path, kept: path.mkdir(),
    ],
    ids=["link", "device", "pipe", "folder"],
)
def test_only_plain_files_are_read(hub, tmp_path, name, make):
    if (hub / name).exists():
        (hub / name).rename(tmp_path / "kept")
    make(hub / name, tmp_path / "kept")

    assert f"plain files only, {name} is a link" in str(refusal_of(hub))


@pytest.mark.parametrize("name", [*HUB_FILES, MANIFEST_FILE])
def test_a_file_far_too_large_is_refused_unread(hub, name):
    with (hub / name).open("r+b") as file:
        file.truncate(2**32)
    tracemalloc.start()
    try:
        assert f"{name}: must have at most" in str(refusal_of(hub))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "first"), [(MANIFEST_FILE, "format_version"), ("config.json", "name")]
)
def test_a_key_that_is_there_twice_is_refused(hub, name, first):
    content = (hub / name).read_bytes()
    (line,) = re.findall(rf'\n "{first}": .*,'.encode(), content)
    (hub / name).write_bytes(content.replace(line, line * 2))
    if name == "config.json":
        reseal(hub)

    assert "canonical form" in str(refusal_of(hub))


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        (("config", "model", "hidden_dim"), 32, r"model\.safetensors: `embedding"),
        (("scaler", "std"), [0.0] * 10, r"config\.json: `scaler.std.0`"),
        (("scaler", "mean"), [1.0] * 9, r"config\.json: `scaler.mean`"),
        (("surprise",), 1, r"config\.json: `surprise`: Extra inputs"),
        (("training", "best_epoch"), 9, "best_epoch"),
    ],
    ids=str,
)
def test_a_resealed_forgery_is_held_to_the_rules(hub, keys, value, rule):
    config = json.loads((hub / "config.json").read_bytes())
    section = config
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    (hub / "config.json").write_bytes(dump(config))
    reseal(hub)

    assert re.search(rule, str(refusal_of(hub)))


def test_resealed_weights_of_another_kind_are_refused(hub):
    (hub / WEIGHTS_FILE).write_bytes(b"\x80\x04N.")
    reseal(hub)

    assert "is not a safetensors file" in str(refusal_of(hub))


def test_each_kind_of_folder_is_refused_where_the_other_is_meant(
    hub, full_checkpoint, tmp_path
):
    with pytest.raises(CheckpointError, match=r"must list .*, config\.json and README"):
        import_checkpoint(full_checkpoint, tmp_path / "a")
    with pytest.raises(CheckpointError, match="Make it a checkpoint by `trm-bt import"):
        export_checkpoint(hub, tmp_path / "b")
    with pytest.raises(CheckpointError, match="Make it a checkpoint by `trm-bt import"):
        TRMPolicy.load(hub)


@pytest.mark.parametrize("depth", ["a", "seed_0/a", "checkpoints/seed_0/a"])
def test_several_models_are_exported_one_by_one(brexit_folders, tmp_path, depth):
    for name in ("a", "b"):
        folder = (tmp_path / "set" / depth).with_name(name)
        shutil.copytree(brexit_folders["bare"], folder)

    with pytest.raises(CheckpointError, match=r"holds 2\. Export one of them") as error:
        export_checkpoint(tmp_path / "set", tmp_path / "out")
    assert str(folder) in str(error.value)


def test_an_export_replaces_nothing_but_an_unedited_export(
    exported, full_checkpoint, tmp_path
):
    hub = tmp_path / "hub"
    export_checkpoint(full_checkpoint, hub)
    with pytest.raises(RunError, match="pass --force"):
        export_checkpoint(full_checkpoint, hub)
    export_checkpoint(full_checkpoint, hub, force=True)
    assert contents_of(hub) == contents_of(exported)

    (hub / "README.md").write_text("mine")
    with pytest.raises(RunError, match=r"README\.md is not part of that"):
        export_checkpoint(full_checkpoint, hub, force=True)
    assert (hub / "README.md").read_text() == "mine"
    other = shutil.copytree(full_checkpoint, tmp_path / "other")
    with pytest.raises(RunError, match=r"one that holds config\.json"):
        export_checkpoint(full_checkpoint, other, force=True)


def test_an_import_replaces_nothing_but_a_checkpoint(hub, full_checkpoint, tmp_path):
    with pytest.raises(TRMError, match="pass --force"):
        import_checkpoint(hub, full_checkpoint)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(TRMError, match=r"mine\.txt is not"):
        import_checkpoint(hub, tmp_path / "notes", force=True)
    import_checkpoint(hub, full_checkpoint, force=True)
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("inner", [".", "inner", "a/b"])
def test_nothing_is_written_into_what_is_read(hub, full_checkpoint, inner):
    before = contents_of(full_checkpoint), contents_of(hub)
    for command, folder in (
        (export_checkpoint, full_checkpoint),
        (import_checkpoint, hub),
    ):
        with pytest.raises(RunError, match="must lie outside"):
            command(folder, folder / inner, force=True)
    assert before == (contents_of(full_checkpoint), contents_of(hub))


def test_the_commands_say_where_the_result_is(full_checkpoint, tmp_path):
    hub, theirs = tmp_path / "hub", tmp_path / "theirs"

    assert invoke("export", full_checkpoint, "--out", hub, "--format", "hub", "-q") == (
        0,
        f"{hub / 'README.md'}\n",
        "",
    )
    code, said, _ = invoke("import", hub, "--out", theirs, "--json")
    assert code == 0
    assert json.loads(said)["name"] == "brexit"
    assert contents_of(theirs) == contents_of(full_checkpoint)
    (hub / "model.pkl").write_bytes(b"")
    code, _, error = invoke("import", hub, "--out", theirs, "--force")
    assert code == 2
    assert error.count("\n") == 1
    assert "differs in model.pkl" in error
