"""What this package wrote in a folder: the one ground on which it deletes or replaces.

A folder that the package makes has a manifest, which names every entry: a file by its
SHA-256, or by null while it may still change, and a folder by its name with a slash.
The entries of such a folder are held to its own manifest or, where it has none, to the
names below its own. Whatever else is there is foreign.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from trm_bt.errors import RunError
from trm_bt.reading import RECORD_BYTES, read_json
from trm_bt.text import reason_of

MANIFEST: Final = "manifest.json"
DESCRIPTION_FILE: Final = "checkpoint.json"
"""What tells a folder as a checkpoint, which holds no other file."""
WORK_LOCK: Final = ".lock"
"""In a work folder, the file that its writer locks."""
_WORK_FORM: Final = r"\.[a-z0-9_]{8}\.draft"
_LONGEST_NAME: Final = 255 - len("..12345678.draft")
"""Bytes of a name that has a work folder beside it."""


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True)

    format_version: int
    sha256: dict[str, str | None]


def read_manifest(folder: Path) -> dict[str, str | None]:
    """Return what the manifest of a folder names, nothing without a sound one."""
    try:
        text = read_json(folder / MANIFEST, RECORD_BYTES)
        return _Manifest.model_validate_json(text).sha256
    except (OSError, ValidationError, ValueError):
        return {}


def manifest_text(names: Mapping[str, str | None]) -> str:
    """Return the text of a manifest."""
    content = {"format_version": 1, "sha256": dict(sorted(names.items()))}
    return json.dumps(content, indent=1) + "\n"


def names_in(folder: Path) -> dict[str, str | None]:
    """Return what a manifest of a folder as it is would name, of its subfolders too."""
    paths = sorted(folder.rglob("*"))
    return {
        path.relative_to(folder).as_posix() + "/" * path.is_dir(): (
            None if path.is_dir() else sha256_of(path)
        )
        for path in paths
    }


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_work_folder(path: Path, target: str | None = None) -> bool:
    """Return whether a path is a work folder of ours, for the `target` of a name."""
    name = ".+" if target is None else re.escape(target)
    return (
        re.fullmatch(rf"\.{name}{_WORK_FORM}", path.name) is not None
        and not path.is_symlink()
        and path.is_dir()
    )


def is_own_file(path: Path, name: str, names: Mapping[str, str | None]) -> bool:
    """Return whether the file at a path is the one that a manifest names."""
    if path.is_symlink() or not path.is_file() or name not in names:
        return False
    return names[name] is None or names[name] == sha256_of(path)


def first_foreign(folder: Path) -> Path | None:
    """Return the first entry of a folder that this package did not write, if any.

    An entry that was changed is foreign too, and so is every symbolic link.
    """
    while True:
        before = folder.stat().st_ino
        try:
            found = next(_foreign(folder, {}, ""), None)
        except FileNotFoundError:
            found = folder
        if found is None or folder.stat().st_ino == before:
            return found  # else another writer replaced the folder meanwhile


def _foreign(
    folder: Path, names: Mapping[str, str | None], prefix: str
) -> Iterator[Path]:
    """Yield foreign entries; `prefix` leads from the folder of the manifest to here."""
    if own := read_manifest(folder):
        names, prefix = {**own, MANIFEST: None}, ""
    for path in sorted(folder.iterdir()):
        name = prefix + path.name
        if path.is_dir() and not path.is_symlink():
            is_begun = (path / WORK_LOCK).is_file() or not any(path.iterdir())
            if is_work_folder(path) and is_begun:
                continue
            if f"{name}/" in names:
                yield from _foreign(path, names, f"{name}/")
            else:
                yield path
        elif not is_own_file(path, name, names):
            yield path


def check_unchanged(folder: Path) -> None:
    """Refuse to complete a folder in which a named entry is another one by now.

    Raises
    ------
    RunError
        If an entry that the manifest names is there, and is a symbolic link, of
        another kind, or a file that was changed.
    """
    names = read_manifest(folder)
    for name in names:
        path = folder / name
        is_own = is_own_file(path, name, names) or (
            name.endswith("/") and path.is_dir() and not path.is_symlink()
        )
        if os.path.lexists(path) and not is_own:
            raise RunError(
                f"{path}: must be what this package wrote there, but was changed or "
                "replaced since. Move it away, or choose another --out."
            )


def check_target(target: Path) -> None:
    """Refuse a target that could not be written, before any work is done.

    Raises
    ------
    RunError
        If it has no name of its own, is a symbolic link, has one that leads nowhere
        above it, or stands in a checkpoint, or below a file or a folder that is not
        writable.
    """
    if target.name in ("", "..") or len(os.fsencode(target.name)) > _LONGEST_NAME:
        raise RunError(
            f"{target}: must end in a name of at most {_LONGEST_NAME} bytes. Choose "
            "another --out."
        )
    if target.is_symlink():
        raise RunError(
            f"{target}: must not be a symbolic link. Give the folder itself."
        )
    for parent in target.absolute().parents:
        if (parent / DESCRIPTION_FILE).is_file():
            raise RunError(
                f"{target}: must not be in the checkpoint {parent}, which another file "
                "would damage. Choose another --out."
            )
    try:
        above = target.absolute().parent
        while not os.path.lexists(above):
            above = above.parent
        folders = [above.resolve(strict=True), *[target] * target.is_dir()]
    except (OSError, RuntimeError) as error:
        raise RunError(f"{target}: cannot be reached: {reason_of(error)}.") from error
    for folder in folders:
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise RunError(
                f"{target}: must be in a writable folder, but {folder} "
                "is not. Choose another --out."
            )


def check_replaceable(
    target: Path, *, force: bool, marker: str | None = None, without: str | None = None
) -> None:
    """Refuse a target that could not be written, or that holds what must not be lost.

    Raises
    ------
    RunError
        As `check_target` does; if `target` holds anything that this package did not
        write, with the name of the first; if it holds something, but not the file
        `marker`, which tells a result of this kind, or beside it `without`, which tells
        another kind; or if `force` is false.
    """
    check_target(target)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if Path.cwd().is_relative_to(target.absolute()):
        raise RunError(
            f"{target}: must not hold the working folder. Choose another --out, such "
            "as a new folder in it."
        )
    foreign = first_foreign(target) if target.is_dir() else target
    if foreign is not None:
        raise RunError(
            f"{target}: must be new or empty, or hold only what this package wrote, "
            f"but {foreign} is not part of that, or was changed. Choose another --out, "
            "or move it away."
        )
    if marker is not None and not (target / marker).is_file():
        raise RunError(
            f"{target}: must be a new folder or one that holds {marker}, but is "
            "neither. Choose another --out."
        )
    if without is not None and (target / without).exists():
        raise RunError(
            f"{target}: must be a new folder or a result of the same kind, but holds "
            f"{without}, which tells another. Choose another --out."
        )
    if not force:
        raise RunError(
            f"{target}: already exists. Choose another --out, or pass --force to "
            "replace it."
        )
