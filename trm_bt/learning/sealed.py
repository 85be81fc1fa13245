"""Folders that prove their own integrity: a manifest has the SHA-256 of every file.

Reading holds a folder to its manifest, name by name and byte by byte. This proves
integrity, not origin.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from trm_bt.errors import CheckpointError
from trm_bt.manifest import DESCRIPTION_FILE, MANIFEST
from trm_bt.reading import read_bytes
from trm_bt.text import key_path, reason_of, shorten

FORMAT_VERSION: Final = 2
"""Version of the layout that this package writes, and the only one that it reads."""

WEIGHTS_FILE: Final = "model.safetensors"
EXTRAS: Final = ("MODEL_CARD.md", "history.json", "training.png")
"""Files for people, which a checkpoint may have; the model does not depend on them."""
MAX_BYTES: Final[Mapping[str, int]] = {
    MANIFEST: 2**14,
    DESCRIPTION_FILE: 2**24,
    WEIGHTS_FILE: 2**31,  # or less: what the settings of the model come to
    "MODEL_CARD.md": 2**20,
    "history.json": 2**24,
    "training.png": 2**24,
}
"""Largest size of each file of a checkpoint; a larger one is not read."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Layout:
    """How a folder with one model names its files.

    Parameters
    ----------
    description : str
        The file with the content of `checkpoint.json`.
    unread : tuple of str
        Other files that the manifest must list; what they hold is not read.
    ignored : frozenset of str
        Entries that may be there without being listed.
    """

    description: str = DESCRIPTION_FILE
    unread: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()

    def check_names(self, path: Path, names: set[str]) -> None:
        """Refuse a manifest that lacks a needed name, or has an unknown one."""
        needed = (WEIGHTS_FILE, self.description, *self.unread)
        if HUB.description in names - {*needed}:
            raise CheckpointError(
                f"{path}: lists the files of a folder for model hubs. Make it a "
                "checkpoint by `trm-bt import`."
            )
        if not {*needed} <= names <= {*needed, *EXTRAS}:
            raise damaged(
                path,
                f"must list {', '.join(needed[:-1])} and {needed[-1]}, may list "
                f"{', '.join(EXTRAS)}, got "
                f"{shorten(sorted(names))}",
            )


HUB: Final = Layout(
    "config.json",
    unread=("README.md",),
    ignored=frozenset({".cache", ".git", ".gitattributes"}),
)
"""A folder for model hubs, with what a hub, its client or a clone add to it."""


class _Version(BaseModel):
    """The one key that every format has."""

    format_version: int


class _Manifest(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """SHA-256 of each other file of the folder, in hexadecimal."""

    format_version: Literal[2]
    sha256: dict[str, str]


class SealedFolder:
    """A folder with one model, whose names are those of its manifest.

    Parameters
    ----------
    folder : Path
        The folder.
    layout : Layout
        How its files are named.

    Raises
    ------
    CheckpointError
        If an entry is no plain file, or the names differ from the manifest's.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder, self._layout = folder, layout
        found = _plain_files(folder, layout.ignored)
        path = folder / MANIFEST
        content = _read(path, MAX_BYTES[MANIFEST])
        _check_version(path, _validated(path, _Version, content).format_version)
        self._sha256 = parse(path, _Manifest, content).sha256
        layout.check_names(path, set(self._sha256))
        if strange := found ^ {MANIFEST, *self._sha256}:
            raise damaged(
                folder,
                f"must hold the files that {MANIFEST} lists and no other, differs in "
                f"{shorten(', '.join(sorted(strange)))}",
            )

    def path(self, name: str) -> Path:
        """Return where a file lies that a checkpoint calls by this name."""
        is_renamed = name == DESCRIPTION_FILE
        return self._folder / (self._layout.description if is_renamed else name)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the content of a file that has the SHA-256 of the manifest."""
        path = self.path(name)
        content = _read(path, limit or MAX_BYTES[name])
        if _digest(content) != self._sha256[path.name]:
            rule = f"its SHA-256 must be the one in {MANIFEST}"
            raise damaged(path, f"{rule}, got {_digest(content)}")
        return content

    def read_extras(self) -> dict[str, bytes]:
        """Return the files for people that are there."""
        return {name: self.read(name) for name in EXTRAS if name in self._sha256}


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of a folder that holds `files`."""
    hashes = {name: _digest(content) for name, content in files.items()}
    return canonical_json(_Manifest(format_version=FORMAT_VERSION, sha256=hashes))


def canonical_json(model: BaseModel) -> bytes:
    """Return sorted, indented JSON of a model: one content, one sequence of bytes."""
    content = model.model_dump(mode="json")
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def parse(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Parse a JSON file, which must be in canonical form."""
    parsed = _validated(path, model, content)
    if canonical_json(parsed) != content:
        raise damaged(path, "must be in canonical form, byte for byte")
    return parsed


def damaged(path: Path, what: str) -> CheckpointError:
    """Return the error of a file that is not as it was written."""
    return CheckpointError(f"{path}: {what}. Restore the folder from its source.")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _plain_files(folder: Path, ignored: frozenset[str]) -> set[str]:
    """Return the names in a folder, all of which must be plain files."""
    try:
        modes = {
            path.name: path.lstat().st_mode
            for path in folder.iterdir()
            if path.name not in ignored
        }
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
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise damaged(path, f"cannot be read: {reason_of(error)}") from error


def _validated(path: Path, model: type[_Model], content: bytes) -> _Model:
    """Validate JSON; the first broken rule becomes one sentence."""
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = key_path(first["loc"])
        where = f"`{key}`: " if key else ""
        raise damaged(path, where + shorten(first["msg"], 160)) from error


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
