"""Store a trained model in a folder that proves its own integrity.

A checkpoint folder holds `model.safetensors`, `checkpoint.json` and `manifest.json`,
which lists the SHA-256 of the other two. Both JSON files are in one canonical form and
are compared byte for byte, so that no byte of the folder can change unnoticed. This
proves integrity, not origin: load checkpoints only from people you trust.
"""

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from trm_bt.config import TRMConfig
from trm_bt.errors import CheckpointError
from trm_bt.files import staged_folder
from trm_bt.learning.dataset import Scaler
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel, TrainingRecord
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema

WEIGHTS: Final = "model.safetensors"
DESCRIPTION: Final = "checkpoint.json"
MANIFEST: Final = "manifest.json"
_FILES: Final = {WEIGHTS, DESCRIPTION, MANIFEST}

_Model = TypeVar("_Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Scaling(_Strict):
    """Mean and standard deviation of each feature, in the order of `names`."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Description(_Strict):
    """All of a trained model but its parameters."""

    format_version: Literal[1]
    name: str
    config: TRMConfig
    feature_schema: FeatureSchema
    scaler: _Scaling
    training: TrainingRecord
    versions: dict[str, str]
    weights_sha256: str


class _Manifest(_Strict):
    """SHA-256 of each other file of the folder, in hexadecimal."""

    format_version: Literal[1]
    sha256: dict[str, str]


def save_checkpoint(
    trained: TrainedModel, folder: Path, *, force: bool = False
) -> None:
    """Write a trained model to `folder`, whole or not at all.

    The files are written to a temporary folder beside the target, flushed to disk and
    renamed.

    Parameters
    ----------
    trained : TrainedModel
        What to store.
    folder : Path
        Target; its parent is made if need be.
    force : bool
        Whether to replace a checkpoint that is there already.

    Raises
    ------
    CheckpointError
        If the target exists and `force` is not given, or is no checkpoint, or cannot
        be written.
    """
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not force:
        raise CheckpointError(
            f"{folder}: must be new or empty. Choose another folder or pass `force`."
        )
    if not is_free and not is_checkpoint(folder):
        raise CheckpointError(
            f"{folder}: is no checkpoint, and only a checkpoint is replaced by "
            "`force`. Choose another folder."
        )
    try:
        with staged_folder(folder) as draft:
            for name, content in _encode(trained).items():
                (draft / name).write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}.") from error


def load_checkpoint(folder: Path) -> TrainedModel:
    """Read a checkpoint, believing nothing before everything is checked.

    Parameters
    ----------
    folder : Path
        What `save_checkpoint` wrote.

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
    contents = _read(folder)
    _check_manifest(folder, contents)
    description = _parse(folder / DESCRIPTION, _Description, contents[DESCRIPTION])
    if description.weights_sha256 != _sha256(contents[WEIGHTS]):
        raise CheckpointError(
            f"{folder / DESCRIPTION}: `weights_sha256` must be that of {WEIGHTS}. "
            "Restore the folder from its source."
        )
    scaler = _scaler(folder / DESCRIPTION, description.scaler)
    parameters = _parameters(folder / WEIGHTS, contents[WEIGHTS], description.config)
    return TrainedModel(
        description.name,
        description.config,
        description.feature_schema,
        scaler,
        parameters,
        description.training,
    )


def is_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a file of a checkpoint, be it damaged or whole."""
    return any((folder / name).is_file() for name in _FILES)


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
    folders = sorted(
        p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")
    )
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


def canonical_json(model: BaseModel) -> bytes:
    """Return sorted, indented JSON of a model: one content, one sequence of bytes."""
    text = json.dumps(
        model.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False
    )
    return (text + "\n").encode()


def _encode(trained: TrainedModel) -> dict[str, bytes]:
    """Turn a trained model into the contents of its files."""
    parameters = {k: v.cpu().contiguous() for k, v in trained.parameters.items()}
    weights = safetensors.torch.save(parameters)
    description = _Description(
        format_version=1,
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
        weights_sha256=_sha256(weights),
    )
    files = {WEIGHTS: weights, DESCRIPTION: canonical_json(description)}
    manifest = _Manifest(
        format_version=1, sha256={name: _sha256(data) for name, data in files.items()}
    )
    return {**files, MANIFEST: canonical_json(manifest)}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(folder: Path) -> dict[str, bytes]:
    """Read the three files of a folder that must hold these three and no other."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: a checkpoint must be a folder.")
    found = {path.name for path in folder.iterdir()}
    for name in sorted(_FILES - found):
        raise CheckpointError(f"{folder / name}: this file must be there, is missing.")
    for name in sorted(found - _FILES):
        raise CheckpointError(
            f"{folder / name}: a checkpoint folder holds {', '.join(sorted(_FILES))} "
            "and nothing else. Take it out."
        )
    try:
        return {name: (folder / name).read_bytes() for name in _FILES}
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error}.") from error


def _check_manifest(folder: Path, contents: dict[str, bytes]) -> None:
    """Hold every file against the manifest, the manifest against its own form."""
    manifest = _parse(folder / MANIFEST, _Manifest, contents[MANIFEST])
    if set(manifest.sha256) != _FILES - {MANIFEST}:
        raise CheckpointError(
            f"{folder / MANIFEST}: must list {WEIGHTS} and {DESCRIPTION}, got "
            f"{sorted(manifest.sha256)}."
        )
    for name, expected in sorted(manifest.sha256.items()):
        if _sha256(contents[name]) != expected:
            raise CheckpointError(
                f"{folder / name}: its SHA-256 must be the one in {MANIFEST}, got "
                f"{_sha256(contents[name])[:12]}… instead of {expected[:12]}…. "
                "Restore the folder from its source."
            )


def _parse(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Parse JSON that must be in canonical form."""
    try:
        parsed = model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path}: {f'`{key}`: ' if key else ''}{first['msg']}."
        ) from error
    if canonical_json(parsed) != content:
        raise CheckpointError(
            f"{path}: must be in canonical form, byte for byte. Restore the folder "
            "from its source."
        )
    return parsed


def _scaler(path: Path, scaling: _Scaling) -> Scaler:
    """Check the scaler's shape and sign."""
    if scaling.names != FEATURE_NAMES:
        raise CheckpointError(
            f"{path}: `scaler.names` must be the {len(FEATURE_NAMES)} features "
            f"{list(FEATURE_NAMES)}, got {list(scaling.names)}."
        )
    mean, std = np.array(scaling.mean), np.array(scaling.std)
    if (
        mean.shape != std.shape
        or len(mean) != len(FEATURE_NAMES)
        or not (std > 0).all()
    ):
        raise CheckpointError(
            f"{path}: `scaler` must have {len(FEATURE_NAMES)} means and as many "
            f"positive deviations, got {len(mean)} and {std.tolist()}."
        )
    return Scaler(mean, std)


def _parameters(path: Path, content: bytes, config: TRMConfig) -> dict[str, Tensor]:
    """Decode the weights and hold names, shapes, types and values to the model's."""
    try:
        found = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: is no safetensors file: {error}.") from error
    with torch.device("meta"):
        expected = TinyRecursiveModel(config.model).state_dict()
    if set(found) != set(expected):
        odd = sorted(set(found) ^ set(expected))
        raise CheckpointError(
            f"{path}: must hold the parameters of the model and no other, differs in "
            f"{', '.join(odd)}."
        )
    for name, like in expected.items():
        tensor = found[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise CheckpointError(
                f"{path}: `{name}` must be {like.dtype} of shape {tuple(like.shape)}, "
                f"got {tensor.dtype} of shape {tuple(tensor.shape)}."
            )
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: `{name}` must be finite in every element.")
    return found


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
