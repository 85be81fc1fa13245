"""A small checkpoint, ways to damage one, and the rule that refuses each."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import (
    DESCRIPTION_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
)
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.trainer import train
from trm_bt.market.features import FeatureSchema

FILES = (WEIGHTS_FILE, DESCRIPTION_FILE, MANIFEST_FILE)
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

Contents = Mapping[str, bytes]
"""Bytes by file name."""

RULES = {
    "only plain files": "holds plain files only",
    "a file missing or too many": "lists and no other, differs in",
    "a file too large": "must have at most",
    "another SHA-256": "its SHA-256 must be the one in",
    "a newer format": "written by a newer trm-bt",
    "an older format": "written by an older trm-bt",
    "no JSON": "Invalid JSON",
    "an unknown key": "Extra inputs are not permitted",
    "not in canonical form": "must be in canonical form",
    "names in the manifest": "must list model.safetensors and",
    "no safetensors": "is not a safetensors file",
    "parameters of another model": "must be torch.",
    "a parameter too many": "must be absent, is torch",
    "not finite": "must be finite",
    "a value against its rule": "Restore the folder from its source",
}
"""Name of each rule, and what its sentence says; the first that fits counts, but for
the general one."""
GENERAL = "a value against its rule"
LOADED = "LOADED"


def train_on(
    n_rows: int, name: str, schema: FeatureSchema | None = None
) -> TrainedModel:
    schema = schema or FeatureSchema()
    return train(planted_samples(n_rows), schema, CONFIG, name=name)


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rule_of(error: CheckpointError) -> str:
    """Name the rule that an error speaks of; its text must be one short line."""
    text = str(error)
    assert text.isprintable(), text
    assert text.endswith((".", "upgrade.")), text
    assert len(text) < 700, text
    fitting = [name for name, words in RULES.items() if words in text]
    assert fitting, text
    return next((name for name in fitting if name != GENERAL), GENERAL)


def verdict(folder: Path, whole: Contents, changed: Mapping[str, bytes | None]) -> str:
    """Change files, or remove them, load, put all back; return the rule or LOADED.

    Any other error than a CheckpointError passes through.
    """
    for name, content in changed.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    try:
        load_checkpoint(folder)
    except CheckpointError as error:
        return rule_of(error)
    else:
        return LOADED
    finally:
        for name in changed:
            if name in whole:
                (folder / name).write_bytes(whole[name])
            else:
                (folder / name).unlink()


def spread(
    sizes: Mapping[str, int], n: int, rng: np.random.Generator
) -> Iterator[tuple[str, int]]:
    """Draw positions in files: half spread evenly over the files, half over the bytes.

    The first fall on the first and the last byte of each file.
    """
    names = sorted(sizes)
    yield from [(name, at) for name in names for at in (0, sizes[name] - 1)][:n]
    shares = np.array([sizes[name] for name in names]) / sum(sizes.values())
    for i in range(n - 2 * len(names)):
        by_bytes = names[rng.choice(len(names), p=shares)]
        name = names[i // 2 % len(names)] if i % 2 else by_bytes
        yield name, int(rng.integers(sizes[name]))


def flipped(content: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


def dump(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def resealed(contents: Contents) -> dict[str, bytes]:
    """Make all hashes right again, as a careful forger would."""
    hashes = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
        if name != MANIFEST_FILE
    }
    return {**contents, MANIFEST_FILE: dump({"format_version": 2, "sha256": hashes})}


def reseal(folder: Path) -> None:
    """Make the hashes of a folder right again."""
    for name, content in resealed(contents_of(folder)).items():
        (folder / name).write_bytes(content)


def forge(folder: Path, *keys: str, value: object) -> None:
    """Change one entry of the description and make the hashes right."""
    description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
    section = description
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    (folder / DESCRIPTION_FILE).write_bytes(dump(description))
    reseal(folder)
