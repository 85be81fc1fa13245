"""A small checkpoint, ways to damage one, and the rule that refuses each."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.planted import planted_samples
from trm_bt.config import ModelConfig, TrainingConfig, TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint import DESCRIPTION, MANIFEST, WEIGHTS, load_checkpoint
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

Contents = Mapping[str, bytes]
"""Bytes by file name."""

RULES = {
    "only plain files": "holds plain files only",
    "a file is missing": "this file must be there",
    "a file too many": "and nothing else, got",
    "header too long": "its header must have at most",
    "a file too large": "must have at most",
    "another SHA-256": "its SHA-256 must be the one in",
    "weights of another description": "`weights_sha256` must be that of",
    "no JSON": "must be JSON",
    "no JSON object": "must be a JSON object",
    "a newer format": "written by a newer trm-bt",
    "an unknown key": "unknown key",
    "not in canonical form": "must be in canonical form",
    "the manifest lists a path": "never a path",
    "the manifest misspells a name": "must spell names as they are",
    "the manifest lists an unknown name": "only, got",
    "the manifest leaves a file out": "must list model.safetensors and",
    "scaler of other features": "`scaler",
    "a value against its rule": "Restore the folder from its source",
    "a model too large": "`config.model` must describe a model of at most",
    "header too long for the file": "too short for its length",
    "parameters of another model": "must hold the parameters of the model",
    "an odd entry in the header": "the header must say",
    "another type": "must be of type",
    "another shape": "must have shape",
    "bytes missing or left over": "bytes of parameters behind its header",
    "refused by safetensors": "is no safetensors file",
    "not finite": "must be finite",
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
    """Make all hashes right again, as a careful forger would.

    The hash of the weights is put into the description as text, so that the rest of it
    keeps its bytes, damaged as they may be.
    """
    sealed = dict(contents)

    def sha256(name: str) -> str:
        return hashlib.sha256(sealed[name]).hexdigest()

    start = sealed[DESCRIPTION].rfind(b'"weights_sha256": "') + 19
    if start >= 19:
        text = sealed[DESCRIPTION]
        sealed[DESCRIPTION] = (
            text[:start] + sha256(WEIGHTS).encode() + text[start + 64 :]
        )
    hashes = {name: sha256(name) for name in sealed if name != MANIFEST}
    sealed[MANIFEST] = dump({"format_version": 1, "sha256": hashes})
    return sealed


def reseal(folder: Path) -> None:
    """Make the hashes of a folder right again."""
    for name, content in resealed(contents_of(folder)).items():
        (folder / name).write_bytes(content)


def forge(folder: Path, *keys: str, value: object) -> None:
    """Change one entry of the description and make the hashes right."""
    description = json.loads((folder / DESCRIPTION).read_bytes())
    section = description
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    (folder / DESCRIPTION).write_bytes(dump(description))
    reseal(folder)
