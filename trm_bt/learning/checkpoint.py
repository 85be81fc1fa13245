"""Store a trained model in a folder that proves its own integrity.

A checkpoint folder holds `model.safetensors`, `checkpoint.json`, optionally a few files
for people, and `manifest.json`, which lists the SHA-256 of all others. Loading checks
hashes first, then the rules of each value, then names, types and shapes of the
parameters. This proves integrity, not origin: load checkpoints only from people you
trust.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trm_bt.errors import CheckpointError, RunError
from trm_bt.files import staged_folder
from trm_bt.learning.description import Description
from trm_bt.learning.memory import n_parameters
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel
from trm_bt.learning.sealed import (
    EXTRAS,
    MAX_BYTES,
    WEIGHTS_FILE,
    Layout,
    SealedFolder,
    canonical_json,
    damaged,
    manifest_of,
    parse,
)
from trm_bt.manifest import DESCRIPTION_FILE, MANIFEST, check_replaceable
from trm_bt.text import reason_of, shorten, shown

MANIFEST_FILE: Final = MANIFEST
_CHECKPOINT: Final = Layout()
_MAX_HEADER: Final = 2**16
_N_READS: Final = 20
"""Reads before giving up on a folder that is replaced during each of them."""


def save_checkpoint(
    trained: TrainedModel,
    folder: Path,
    *,
    extras: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> None:
    """Write a trained model to `folder`, whole or not at all.

    The files are written to a hidden folder next to the target, loaded once, and
    exchanged with what was there: `folder` is always the old or the new checkpoint. Of
    two writers the later one stays. See `trm_bt.files.staged_folder`.

    Parameters
    ----------
    trained : TrainedModel
        What to store.
    folder : Path
        Target; its parent is made if need be.
    extras : mapping of str to bytes, optional
        Contents of any of `MODEL_CARD.md`, `history.json` and `training.png`.
    force : bool
        Whether to replace an existing checkpoint.

    Raises
    ------
    CheckpointError
        If the target exists and `force` is not given, or is no checkpoint, or cannot
        be written; if `extras` has another name; if the model would not load again.
    """
    if unknown := sorted(set(extras or {}) - set(EXTRAS)):
        raise CheckpointError(
            f"`extras` may hold {', '.join(EXTRAS)}, got {shorten(unknown[0])}. Put it "
            "next to the checkpoint folder."
        )
    store_checkpoint(_encode(trained, extras or {}), folder, force=force)


def store_checkpoint(
    files: Mapping[str, bytes], folder: Path, *, force: bool = False
) -> None:
    """Write the files of a checkpoint as `save_checkpoint` does, and their manifest.

    Parameters
    ----------
    files : mapping of str to bytes
        Contents by name, as `read_checkpoint` returns them.
    folder, force
        As in `save_checkpoint`.
    """
    check_overwrite(folder, force=force)
    try:
        with staged_folder(folder, may_replace=force) as draft:
            for name, content in {**files, MANIFEST_FILE: manifest_of(files)}.items():
                (draft / name).write_bytes(content)
            try:
                _load(draft, _CHECKPOINT)
            except CheckpointError as error:
                raise CheckpointError(
                    f"{folder}: not written, because it would not load: {error}"
                ) from error
    except RunError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written: {reason_of(error)}."
        ) from error


def load_checkpoint(folder: Path) -> TrainedModel:
    """Read what `save_checkpoint` wrote, and check everything in it.

    A folder that is replaced while it is read gives the old or the new checkpoint. It
    may be reached through symbolic links.

    Raises
    ------
    CheckpointError
        If a file is missing, added or changed, or breaks a rule; the sentence names
        the file and the rule.
    """
    return read_checkpoint(folder)[0]


def read_checkpoint(
    folder: Path, layout: Layout = _CHECKPOINT
) -> tuple[TrainedModel, dict[str, bytes]]:
    """Read a model as `load_checkpoint` does, from a folder of another layout too.

    Returns
    -------
    TrainedModel
        The model.
    dict of str to bytes
        The bytes it was read from, by the names of a checkpoint, without a manifest.
    """
    for _ in range(_N_READS):
        before = _identity(folder)
        try:
            return _load(folder, layout)
        except CheckpointError:
            if _identity(folder) == before:
                raise
    raise CheckpointError(
        f"{folder}: must stay as it is while it is read, was replaced {_N_READS} "
        "times. Load it when it is complete."
    )


def is_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a file of a checkpoint, be it damaged or whole."""
    names = (WEIGHTS_FILE, DESCRIPTION_FILE)
    return any((folder / name).is_file() for name in names)


def check_overwrite(folder: Path, *, force: bool) -> None:
    """Raise `CheckpointError` if `save_checkpoint` would refuse the folder.

    It replaces nothing but a checkpoint, and a checkpoint only with `force`.
    """
    try:
        check_replaceable(folder, marker=MANIFEST_FILE, force=force)
    except RunError as error:
        raise CheckpointError(str(error)) from error
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if strange := sorted(names - set(MAX_BYTES)):
        raise CheckpointError(
            f"{folder}: must be a new folder or a checkpoint, but holds "
            f"{shown(strange[0])}. Choose another folder."
        )


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes when a folder or a name in it is replaced."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _encode(trained: TrainedModel, extras: Mapping[str, bytes]) -> dict[str, bytes]:
    """Turn a trained model into the contents of its files."""
    parameters = {k: v.cpu().contiguous() for k, v in trained.parameters.items()}
    return {
        WEIGHTS_FILE: safetensors.torch.save(parameters),
        DESCRIPTION_FILE: canonical_json(Description.of(trained)),
        **extras,
    }


def _load(folder: Path, layout: Layout) -> tuple[TrainedModel, dict[str, bytes]]:
    """Read and check every file, once."""
    found = SealedFolder(folder, layout)
    files = {DESCRIPTION_FILE: found.read(DESCRIPTION_FILE), **found.read_extras()}
    path = found.path(DESCRIPTION_FILE)
    described = parse(path, Description, files[DESCRIPTION_FILE])
    weights = found.read(WEIGHTS_FILE, _weight_bytes(described))
    trained = TrainedModel(
        described.name,
        described.config,
        described.feature_schema,
        described.scaler.scaler(),
        _decode(found.path(WEIGHTS_FILE), weights, described),
        described.training,
    )
    return trained, {WEIGHTS_FILE: weights, **files}


def _weight_bytes(described: Description) -> int:
    """Return the largest size of the weights of a model, without making it."""
    n_allocations = len(described.feature_schema.table)
    n_values = n_parameters(described.config.model, n_allocations)
    return torch.float32.itemsize * n_values + _MAX_HEADER


def _decode(path: Path, content: bytes, described: Description) -> dict[str, Tensor]:
    """Decode the parameters and hold them to the model that is described."""
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise damaged(path, f"is not a safetensors file: {shorten(error)}") from error
    with torch.device("meta"):
        model = TinyRecursiveModel(
            described.config.model, n_allocations=len(described.feature_schema.table)
        )
    needed, got = _forms(model.state_dict()), _forms(tensors)
    for name in sorted(needed.keys() | got.keys()):
        one, other = needed.get(name, "absent"), got.get(name, "absent")
        if one != other:
            raise damaged(path, f"`{shorten(name)}` must be {one}, is {other}")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: `{name}` must be finite in every element, but is not. Train "
                "the model again."
            )
    return tensors


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return type and shape of each tensor, in words."""
    return {name: f"{t.dtype} {[*t.shape]}" for name, t in tensors.items()}
