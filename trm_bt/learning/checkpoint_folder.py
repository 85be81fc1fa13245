"""Read the files of a checkpoint folder, believing neither their names nor their sizes.

Every file is read once, up to a limit, and held against the manifest as it was read:
what happens to the folder later changes nothing.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from trm_bt.errors import CheckpointError
from trm_bt.learning.checkpoint_json import Strict, parse_canonical, shown

WEIGHTS: Final = "model.safetensors"
DESCRIPTION: Final = "checkpoint.json"
MANIFEST: Final = "manifest.json"
EXTRAS: Final = ("MODEL_CARD.md", "history.json", "training.png")
"""Files for people, which a checkpoint may have; the model does not depend on them."""
CHECKPOINT_FILES: Final = frozenset({WEIGHTS, DESCRIPTION, MANIFEST, *EXTRAS})
MAX_BYTES: Final[Mapping[str, int]] = {
    MANIFEST: 2**14,
    DESCRIPTION: 2**24,
    "MODEL_CARD.md": 2**20,
    "history.json": 2**24,
    "training.png": 2**24,
}
"""Largest size of each file; that of the weights follows from the model's settings."""

_KINDS: Final = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_PLAIN_OPEN: Final[int] = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
)
"""Follow no link and wait for no pipe that has come since the file was looked at."""


class Manifest(Strict):
    """SHA-256 of each other file of the folder, in hexadecimal."""

    format_version: Literal[1]
    sha256: dict[str, str]


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest and hold the folder's entries against its list.

    Parameters
    ----------
    folder : Path
        A checkpoint folder. It may be reached through symbolic links; nothing in it
        may be one.

    Returns
    -------
    Manifest
        It lists all that is there and perhaps more, which `read_listed` finds missing.

    Raises
    ------
    CheckpointError
        If the folder holds anything but plain files; if the manifest is missing or
        breaks a rule; if it lists a name that no checkpoint has, or leaves out one that
        every checkpoint has, or one that is there.
    """
    found = _plain_files(folder)
    path = folder / MANIFEST
    content = read_plain(path, MAX_BYTES[MANIFEST])
    manifest = parse_canonical(path, Manifest, content)
    for name in manifest.sha256:
        _check_name(path, name)
    listed = {MANIFEST, *manifest.sha256}
    for name in (WEIGHTS, DESCRIPTION):
        if name not in listed:
            raise CheckpointError(
                f"{path}: must list {WEIGHTS} and {DESCRIPTION}, lists "
                f"{', '.join(sorted(manifest.sha256)) or 'nothing'}. Restore the "
                "folder from its source."
            )
    for name in sorted(found - listed):
        raise CheckpointError(
            f"{folder}: a checkpoint folder holds the files that {MANIFEST} lists and "
            f"nothing else, got {shown(name)}. Take it out."
        )
    return manifest


def read_listed(
    folder: Path, manifest: Manifest, name: str, max_bytes: int | None = None
) -> bytes:
    """Read a file that the manifest lists, once, and return what its hash stands for.

    Parameters
    ----------
    folder : Path
        The checkpoint folder.
    manifest : Manifest
        What `read_manifest` returned.
    name : str
        Which file.
    max_bytes : int, optional
        Its largest size, else the one in `MAX_BYTES`.

    Returns
    -------
    bytes
        The whole file.

    Raises
    ------
    CheckpointError
        If it is missing, is no plain file, is larger, or has another SHA-256.
    """
    path = folder / name
    content = read_plain(path, MAX_BYTES[name] if max_bytes is None else max_bytes)
    expected, got = manifest.sha256[name], sha256(content)
    if got != expected:
        raise CheckpointError(
            f"{path}: its SHA-256 must be the one in {MANIFEST}, got {got[:12]}... "
            f"instead of {shown(expected[:12])}.... Restore the folder from its source."
        )
    return content


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Read a plain file of at most `max_bytes`; a larger one is not read at all.

    Raises
    ------
    CheckpointError
        If the file is missing, is larger, or cannot be read.
    """
    try:
        n_bytes = path.lstat().st_size
        if n_bytes <= max_bytes:
            with os.fdopen(os.open(path, _PLAIN_OPEN), "rb") as file:
                return file.read(n_bytes + 1)  # one more if it grows: another hash
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: this file must be there, is missing. Restore the folder from its "
            "source."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}.") from error
    raise CheckpointError(
        f"{path}: must have at most {max_bytes} bytes, got {n_bytes}. Restore the "
        "folder from its source."
    )


def _plain_files(folder: Path) -> set[str]:
    """Return the names in a folder, all of which must be plain files."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: a checkpoint must be a folder.")
    found = set()
    try:
        for path in folder.iterdir():
            kind = stat.S_IFMT(path.lstat().st_mode)
            if kind != stat.S_IFREG:
                raise CheckpointError(
                    f"{folder}: a checkpoint folder holds plain files only, "
                    f"{shown(path.name)} is a {_KINDS.get(kind, 'special file')}. Take "
                    "it out, or put the file itself there."
                )
            found.add(path.name)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error}.") from error
    return found


def _check_name(path: Path, name: str) -> None:
    """Refuse a listed name that is a path, a known one misspelt, or unknown."""
    if name in CHECKPOINT_FILES - {MANIFEST}:
        return
    if name in {"", ".", ".."} or not {"/", "\\", ":", "\0"}.isdisjoint(name):
        rule = "must list names of files in the folder, and never a path"
    elif name.casefold() in {known.casefold() for known in CHECKPOINT_FILES}:
        rule = "must spell names as they are, capitals included, and not list itself"
    else:
        rule = f"may list {', '.join(sorted(CHECKPOINT_FILES - {MANIFEST}))} only"
    raise CheckpointError(
        f"{path}: {rule}, got '{shown(name)}'. Do not use this folder."
    )
