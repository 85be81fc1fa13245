"""Store a trained model in a folder that proves its own integrity.

A checkpoint folder holds `model.safetensors`, `checkpoint.json`, at will a few files
for people, and `manifest.json`, which lists the SHA-256 of all others. This proves
integrity, not origin: load checkpoints only from people you trust.
"""

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch

from trm_bt.config import TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.files import staged_folder
from trm_bt.learning.checkpoint_folder import (
    CHECKPOINT_FILES,
    DESCRIPTION,
    EXTRAS,
    MANIFEST,
    WEIGHTS,
    Manifest,
    read_listed,
    read_manifest,
    sha256,
)
from trm_bt.learning.checkpoint_json import (
    FORMAT_VERSION,
    Strict,
    canonical_json,
    parse_canonical,
    shown,
)
from trm_bt.learning.checkpoint_weights import (
    decode_weights,
    max_file_bytes,
    parameter_shapes,
)
from trm_bt.learning.dataset import Scaler
from trm_bt.learning.records import TrainedModel, TrainingRecord
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema

_N_READS: Final = 20
"""A reader looks again this often when writers replace the folder under its hands."""


class _Scaling(Strict):
    """Mean and standard deviation of each feature, in the order of `names`."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Description(Strict):
    """All of a trained model but its parameters."""

    format_version: Literal[1]
    name: str
    config: TRMConfig
    feature_schema: FeatureSchema
    scaler: _Scaling
    training: TrainingRecord
    versions: dict[str, str]
    weights_sha256: str


def save_checkpoint(
    trained: TrainedModel,
    folder: Path,
    *,
    extras: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> None:
    """Write a trained model to `folder`, whole or not at all.

    The files are written to a hidden folder beside the target, flushed to disk, loaded
    once, and exchanged with what was there (see `trm_bt.files.staged_folder`): whatever
    happens meanwhile, `folder` is the old or the new checkpoint. Two writers of one
    folder do not disturb each other; the later one stays.

    Parameters
    ----------
    trained : TrainedModel
        What to store.
    folder : Path
        Target; its parent is made if need be.
    extras : mapping of str to bytes, optional
        Contents of `MODEL_CARD.md`, `history.json` and `training.png`, any or none.
    force : bool
        Whether to replace a checkpoint that is there already.

    Raises
    ------
    CheckpointError
        If the target exists and `force` is not given, or is no checkpoint, or cannot
        be written; if `extras` has another name; if the model would not load again.
    """
    for name in extras or {}:
        if name not in EXTRAS:
            raise CheckpointError(
                f"`extras` may hold {', '.join(EXTRAS)}, got {shown(name)}. Put it "
                "beside the checkpoint folder."
            )
    check_target(folder, force=force)
    try:
        with staged_folder(folder, may_replace=force) as draft:
            for name, content in _encode(trained, extras or {}).items():
                (draft / name).write_bytes(content)
            _check_loads(draft, folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}.") from error


def load_checkpoint(folder: Path) -> TrainedModel:
    """Read a checkpoint, believing nothing before everything is checked.

    A folder that is replaced while it is read gives the old or the new checkpoint.

    Parameters
    ----------
    folder : Path
        What `save_checkpoint` wrote; it may be reached through symbolic links.

    Returns
    -------
    TrainedModel
        Equal to what was stored.

    Raises
    ------
    CheckpointError
        If a file is missing, added or changed, or breaks a rule; the sentence names
        the file and the rule.
    """
    for _ in range(_N_READS):
        before = _identity(folder)
        try:
            return _load(folder)
        except CheckpointError:
            if _identity(folder) == before:
                raise
    raise CheckpointError(
        f"{folder}: must stay as it is while it is read, was replaced {_N_READS} "
        "times. Load it when its writer is done."
    )


def is_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a file of a checkpoint, be it damaged or whole."""
    return any((folder / name).is_file() for name in (WEIGHTS, DESCRIPTION, MANIFEST))


def load_checkpoints(path: Path) -> list[TrainedModel]:
    """Read one checkpoint folder, or every folder of a walk-forward set.

    Parameters
    ----------
    path : Path
        A checkpoint folder, or a folder of such folders; files beside them and hidden
        entries are passed over.

    Returns
    -------
    list of TrainedModel
        Oldest `last_label_known_on` first; one schema.

    Raises
    ------
    CheckpointError
        If a checkpoint cannot be believed, there is none, two know the same labels, or
        their schemas differ.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: a checkpoint must be a folder, got none.")
    if is_checkpoint(path):
        return [load_checkpoint(path)]
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}.") from error
    folders = [p for p in entries if p.is_dir() and not p.name.startswith(".")]
    if not folders:
        raise CheckpointError(
            f"{path}: must hold {MANIFEST} or checkpoint folders, got none."
        )
    models = sorted(
        (load_checkpoint(folder) for folder in folders),
        key=lambda model: model.record.last_label_known_on,
    )
    _check_set(path, models)
    return models


def check_target(folder: Path, *, force: bool) -> None:
    """Refuse to replace what is no checkpoint, and a checkpoint without `force`."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    if names == set():
        return
    if not force:
        raise CheckpointError(
            f"{folder}: must be new or empty. Choose another folder or pass `force`."
        )
    if not names or not is_checkpoint(folder) or not names <= CHECKPOINT_FILES:
        strange = ", ".join(sorted((names or set()) - CHECKPOINT_FILES))
        raise CheckpointError(
            f"{folder}: is no checkpoint, and only a checkpoint is replaced by "
            f"`force`, got {shown(strange) or 'no file of one'}. Choose another folder."
        )


def _check_loads(draft: Path, folder: Path) -> None:
    """Load what was written: nothing else takes the place of a checkpoint."""
    try:
        _load(draft)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: not written, for it would not load again: {error}"
        ) from error


def _encode(trained: TrainedModel, extras: Mapping[str, bytes]) -> dict[str, bytes]:
    """Turn a trained model into the contents of its files."""
    parameters = {k: v.cpu().contiguous() for k, v in trained.parameters.items()}
    weights = safetensors.torch.save(parameters)
    description = _Description(
        format_version=FORMAT_VERSION,
        name=trained.name,
        config=trained.config,
        feature_schema=trained.schema,
        scaler=_Scaling(
            names=FEATURE_NAMES,
            mean=tuple(trained.scaler.mean.tolist()),
            std=tuple(trained.scaler.std.tolist()),
        ),
        training=trained.record,
        versions={
            "python": ".".join(map(str, sys.version_info[:3])),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
        },
        weights_sha256=sha256(weights),
    )
    files = {WEIGHTS: weights, DESCRIPTION: canonical_json(description), **extras}
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        sha256={name: sha256(content) for name, content in files.items()},
    )
    return {**files, MANIFEST: canonical_json(manifest)}


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes when a folder or a name in it is replaced."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _load(folder: Path) -> TrainedModel:
    """Read and check every file, once."""
    manifest = read_manifest(folder)
    path = folder / DESCRIPTION
    description = parse_canonical(
        path, _Description, read_listed(folder, manifest, DESCRIPTION)
    )
    if description.weights_sha256 != manifest.sha256[WEIGHTS]:
        raise CheckpointError(
            f"{path}: `weights_sha256` must be that of {WEIGHTS} in {MANIFEST}. "
            "Restore the folder from its source."
        )
    scaler = _scaler(path, description.scaler)
    for name in manifest.sha256.keys() & set(EXTRAS):
        read_listed(folder, manifest, name)
    shapes = parameter_shapes(path, description.config.model)
    weights = read_listed(folder, manifest, WEIGHTS, max_file_bytes(shapes))
    return TrainedModel(
        description.name,
        description.config,
        description.feature_schema,
        scaler,
        decode_weights(folder / WEIGHTS, weights, shapes),
        description.training,
    )


def _scaler(path: Path, scaling: _Scaling) -> Scaler:
    """Check the scaler's shape and sign."""
    if scaling.names != FEATURE_NAMES:
        raise CheckpointError(
            f"{path}: `scaler.names` must be the {len(FEATURE_NAMES)} features "
            f"{list(FEATURE_NAMES)}, got {shown(list(scaling.names))}. Restore the "
            "folder from its source."
        )
    mean, std = np.array(scaling.mean), np.array(scaling.std)
    if (
        mean.shape != std.shape
        or len(mean) != len(FEATURE_NAMES)
        or not (std > 0).all()
    ):
        raise CheckpointError(
            f"{path}: `scaler` must have {len(FEATURE_NAMES)} means and as many "
            f"positive deviations, got {len(mean)} and {shown(std.tolist())}. "
            "Restore the folder from its source."
        )
    return Scaler(mean, std)


def _check_set(path: Path, models: list[TrainedModel]) -> None:
    """Refuse a set whose order or meaning is not plain."""
    for older, newer in pairwise(models):
        if older.record.last_label_known_on == newer.record.last_label_known_on:
            raise CheckpointError(
                f"{path}: models of a set must differ in the last label they know, "
                f"{older.name} and {newer.name} both end on "
                f"{newer.record.last_label_known_on}. Take one out."
            )
        difference = older.schema.difference(newer.schema)
        if difference is not None:
            raise CheckpointError(
                f"{path}: models of a set must share one feature schema, {older.name} "
                f"and {newer.name} differ: {difference}."
            )
