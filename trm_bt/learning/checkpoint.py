"""Store a trained model in a folder that proves its own integrity.

A checkpoint folder holds `model.safetensors`, `checkpoint.json`, optionally a few files
for people, and `manifest.json`, which lists the SHA-256 of all others. Loading checks
hashes first, then the rules of each value, then names, types and shapes of the
parameters. This proves integrity, not origin: load checkpoints only from people you
trust.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError, model_validator
from torch import Tensor

from trm_bt.errors import CheckpointError, RunError
from trm_bt.files import staged_folder
from trm_bt.learning.description import Description, Strict
from trm_bt.learning.memory import n_parameters
from trm_bt.learning.model import TinyRecursiveModel
from trm_bt.learning.records import TrainedModel
from trm_bt.manifest import MANIFEST, check_replaceable
from trm_bt.reading import read_bytes
from trm_bt.text import key_path, reason_of, shorten, shown

MANIFEST_FILE: Final = MANIFEST
FORMAT_VERSION: Final = 2
"""Version of the layout that this package writes, and the only one that it reads."""

WEIGHTS_FILE: Final = "model.safetensors"
DESCRIPTION_FILE: Final = "checkpoint.json"
EXTRAS: Final = ("MODEL_CARD.md", "history.json", "training.png")
"""Files for people, which a checkpoint may have; the model does not depend on them."""
MAX_BYTES: Final[Mapping[str, int]] = {
    MANIFEST_FILE: 2**14,
    DESCRIPTION_FILE: 2**24,
    WEIGHTS_FILE: 2**31,  # or less: what the settings of the model come to
    "MODEL_CARD.md": 2**20,
    "history.json": 2**24,
    "training.png": 2**24,
}
"""Largest size of each file; a larger one is not read."""

_MAX_HEADER: Final = 2**16
_N_READS: Final = 20
"""Reads before giving up on a folder that is replaced during each of them."""

_Model = TypeVar("_Model", bound=BaseModel)


class _Version(BaseModel):
    """The one key that every format has."""

    format_version: int


class _Manifest(Strict):
    """SHA-256 of each other file of the folder, in hexadecimal."""

    format_version: Literal[2]
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        needed, names = {WEIGHTS_FILE, DESCRIPTION_FILE}, set(self.sha256)
        if not needed <= names <= needed | set(EXTRAS):
            raise ValueError(
                f"must list {WEIGHTS_FILE} and {DESCRIPTION_FILE}, may list "
                f"{', '.join(EXTRAS)}, got {shorten(sorted(names ^ needed))}"
            )
        return self


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
    check_overwrite(folder, force=force)
    try:
        with staged_folder(folder, may_replace=force) as draft:
            for name, content in _encode(trained, extras or {}).items():
                (draft / name).write_bytes(content)
            try:
                _load(draft)
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
    for _ in range(_N_READS):
        before = _identity(folder)
        try:
            return _load(folder)
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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _canonical_json(model: BaseModel) -> bytes:
    """Return sorted, indented JSON of a model: one content, one sequence of bytes."""
    content = model.model_dump(mode="json")
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _encode(trained: TrainedModel, extras: Mapping[str, bytes]) -> dict[str, bytes]:
    """Turn a trained model into the contents of its files."""
    parameters = {k: v.cpu().contiguous() for k, v in trained.parameters.items()}
    files = {
        WEIGHTS_FILE: safetensors.torch.save(parameters),
        DESCRIPTION_FILE: _canonical_json(Description.of(trained)),
        **extras,
    }
    hashes = {name: _sha256(content) for name, content in files.items()}
    manifest = _Manifest(format_version=FORMAT_VERSION, sha256=hashes)
    return {**files, MANIFEST_FILE: _canonical_json(manifest)}


def _load(folder: Path) -> TrainedModel:
    """Read and check every file, once."""
    found = _plain_files(folder)
    path = folder / MANIFEST_FILE
    manifest = _parse(path, _Manifest, _read(path, MAX_BYTES[MANIFEST_FILE]))
    strange = found ^ {MANIFEST_FILE, *manifest.sha256}
    if strange:
        raise _damaged(
            folder,
            f"must hold the files that {MANIFEST_FILE} lists and no other, differs in "
            f"{shorten(', '.join(sorted(strange)))}",
        )
    files = {
        name: _sealed(folder / name, manifest, MAX_BYTES[name])
        for name in manifest.sha256
        if name != WEIGHTS_FILE
    }
    described = _parse(folder / DESCRIPTION_FILE, Description, files[DESCRIPTION_FILE])
    limit = _weight_bytes(described)
    weights = _sealed(folder / WEIGHTS_FILE, manifest, limit)
    return TrainedModel(
        described.name,
        described.config,
        described.feature_schema,
        described.scaler.scaler(),
        _decode(folder / WEIGHTS_FILE, weights, described),
        described.training,
    )


def _plain_files(folder: Path) -> set[str]:
    """Return the names in a folder, all of which must be plain files."""
    try:
        modes = {path.name: path.lstat().st_mode for path in folder.iterdir()}
    except OSError as error:
        raise CheckpointError(
            f"{folder}: a checkpoint must be a folder that can be read: "
            f"{reason_of(error)}."
        ) from error
    for name, mode in modes.items():
        if not stat.S_ISREG(mode):
            raise CheckpointError(
                f"{folder}: a checkpoint folder holds plain files only, "
                f"{shorten(name)} is a link, a folder or a special file. Put the file "
                "itself there."
            )
    return set(modes)


def _read(path: Path, limit: int) -> bytes:
    """Read a file whole, unless it is larger than its limit."""
    try:
        return read_bytes(path, limit)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise _damaged(path, f"cannot be read: {reason_of(error)}") from error


def _sealed(path: Path, manifest: _Manifest, limit: int) -> bytes:
    """Read a file that has the SHA-256 of the manifest."""
    content = _read(path, limit)
    if _sha256(content) != manifest.sha256[path.name]:
        rule = f"its SHA-256 must be the one in {MANIFEST_FILE}"
        raise _damaged(path, f"{rule}, got {_sha256(content)}")
    return content


def _weight_bytes(described: Description) -> int:
    """Return the largest size of the weights of a model, without making it."""
    n_allocations = len(described.feature_schema.table)
    n_values = n_parameters(described.config.model, n_allocations)
    return torch.float32.itemsize * n_values + _MAX_HEADER


def _parse(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Parse a JSON file, which must be in canonical form."""
    if model is _Manifest:
        _check_version(path, _validated(path, _Version, content).format_version)
    parsed = _validated(path, model, content)
    if _canonical_json(parsed) != content:
        raise _damaged(path, "must be in canonical form, byte for byte")
    return parsed


def _validated(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Validate JSON; the first broken rule becomes one sentence."""
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = key_path(first["loc"])
        where = f"`{key}`: " if key else ""
        raise _damaged(path, where + shorten(first["msg"], 160)) from error


def _check_version(path: Path, version: int) -> None:
    """Say which release reads another format."""
    if version == FORMAT_VERSION:
        return
    is_older = version < FORMAT_VERSION
    age, remedy = ("an older", "train again") if is_older else ("a newer", "upgrade")
    raise CheckpointError(
        f"{path}: written by {age} trm-bt, format {shorten(version)}; this one reads "
        f"{FORMAT_VERSION}: {remedy}."
    )


def _decode(path: Path, content: bytes, described: Description) -> dict[str, Tensor]:
    """Decode the parameters and hold them to the model that is described."""
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, f"is not a safetensors file: {shorten(error)}") from error
    with torch.device("meta"):
        model = TinyRecursiveModel(
            described.config.model, n_allocations=len(described.feature_schema.table)
        )
    needed, got = _forms(model.state_dict()), _forms(tensors)
    for name in sorted(needed.keys() | got.keys()):
        one, other = needed.get(name, "absent"), got.get(name, "absent")
        if one != other:
            raise _damaged(path, f"`{shorten(name)}` must be {one}, is {other}")
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


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: {what}. Restore the folder from its source.")
