"""Files and folders that are either the old ones or the new ones, never a mixture.

Both are made in a hidden work folder next to the target, on the same file system, which
a lock marks as in use. A writer that is killed leaves its work folder; the next one
that succeeds on the same target removes it. What is there already gives way only if
`trm_bt.manifest` says that this package wrote it, and no symbolic link is followed.
"""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from trm_bt.errors import RunError
from trm_bt.manifest import (
    MANIFEST,
    WORK_LOCK,
    check_replaceable,
    check_target,
    is_own_file,
    is_work_folder,
    manifest_text,
    names_in,
    read_manifest,
    sha256_of,
)

_EXCHANGING_CALLS: Final = {"linux": "renameat2", "darwin": "renameatx_np"}
_AT_FDCWD: Final = -100
"""The working folder, in Linux. No system reads it, because all paths are absolute."""
_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS."""
_CANNOT_EXCHANGE: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def exclusive_lock(target: Path) -> Iterator[None]:
    """Keep every other process that asks from working on `target` meanwhile.

    The lock is a hidden empty file next to `target`, which goes with it. A process that
    is killed leaves the file, which blocks no other.

    Parameters
    ----------
    target : Path
        A folder that grows, there or not.

    Raises
    ------
    RunError
        If another process is at work on it, or it could not be written.
    """
    check_target(target)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.lock")
    try:
        held = FileLock(path, timeout=0).acquire()
    except Timeout as error:
        what = "another process is writing it. Wait until it ends, or"
        if not path.exists():  # the lock could not be made
            what = f"{path.name} next to it cannot be written. Allow it, or"
        raise RunError(f"{target}: {what} choose another --out.") from error
    with held:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                if path.stat().st_size == 0:
                    path.unlink()


@contextmanager
def staged_folder(target: Path, *, may_replace: bool = True) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` when the block succeeds.

    When the block ends well, the new folder gets a manifest, unless it has one, its
    files are flushed to disk and the two folders exchange their names in one step, so
    that `target` is the old or the new folder at every moment and never missing. Where
    the system or the file system cannot exchange (Windows, some network file systems)
    there are two renames with a moment between them in which `target` is missing and
    the old folder stands in the hidden one. When the block raises, `target` stays as it
    was.

    Parameters
    ----------
    target : Path
        The folder to make.
    may_replace : bool
        Whether an existing target that is not empty gives way.

    Raises
    ------
    OSError
        If the folder cannot be written.
    RunError
        If what is there may not be replaced.
    """
    target = target.absolute()
    with _draft(target) as draft:
        draft.mkdir()
        yield draft
        if not (draft / MANIFEST).exists():
            text = manifest_text(names_in(draft))
            (draft / MANIFEST).write_text(text, encoding="utf-8")
        for path in draft.rglob("*"):
            _flush(path)
        _flush(draft)
        _take_place(draft, target, may_replace=may_replace)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Yield a new folder whose files go into `folder` when the block succeeds.

    Each goes there in one step, and the manifest of `folder` names it from then on.
    What else is in `folder` stays.

    Parameters
    ----------
    folder : Path
        A folder that is there.

    Raises
    ------
    OSError
        If a file cannot be written.
    RunError
        If the place of a file is taken by what this package did not write.
    """
    folder = folder.absolute()
    with _draft(folder / MANIFEST) as manifest:
        new = manifest.with_name("new")
        new.mkdir()
        yield new
        files = sorted(new.iterdir())
        names = read_manifest(folder)
        _check_place(folder / MANIFEST, {MANIFEST: None} if names else {})
        for path in files:
            _flush(path)
            _check_place(folder / path.name, names)
        hashes = {path.name: sha256_of(path) for path in files}
        # a kill between two renames leaves files that are known to be ours
        _replace_manifest(manifest, folder, {**names, **dict.fromkeys(hashes)})
        for path in files:
            path.replace(folder / path.name)
        _flush(folder)
        _replace_manifest(manifest, folder, {**names, **hashes})


def name_entries(folder: Path, names: Iterable[str]) -> None:
    """Have the manifest of a folder name files that will be there, and may change."""
    folder = folder.absolute()
    with _draft(folder / MANIFEST) as manifest:
        named = {**dict.fromkeys(names), **read_manifest(folder)}
        _replace_manifest(manifest, folder, named)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if this package wrote all of it; raise `RunError` if not."""
    check_replaceable(folder, force=True)
    folder = folder.absolute()
    if folder.exists():
        with _draft(folder) as draft:
            folder.rename(draft)
    elif folder.parent.exists():
        remove_leftovers(folder)  # of one that was killed while it removed


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file next to `path`, then rename it to `path`."""
    path = path.absolute()
    with _told_where(path), _draft(path) as draft:
        write(draft)
        _flush(draft)
        draft.replace(path)


def write_text_atomically(path: Path, text: str) -> None:
    """Make `path` a file that holds `text` as UTF-8, whole or not at all."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


@contextmanager
def many_files(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yield what writes a file into a folder by name, whole or not at all.

    All are made in one work folder next to `folder`, so that a file costs the same
    however many are there. Only one process may write there at a time.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    """
    folder = folder.absolute()
    with _draft(folder) as draft:
        folder.mkdir(exist_ok=True)

        def write(name: str, content: bytes) -> None:
            with _told_where(folder / name):
                draft.write_bytes(content)
                _flush(draft)
                draft.replace(folder / name)
                _flush(folder)

        yield write


@contextmanager
def _told_where(path: Path) -> Iterator[None]:
    """Have an error of the system name a path; that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a path of the same name in a locked work folder, which is then removed.

    If the block succeeds, what killed writers of `target` have left is removed as well.
    """
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work, lock = _locked_folder(target)
    try:
        yield work / target.name
        _flush(target.parent)
    finally:
        _empty(work)
        try:
            lock.release()
        finally:
            shutil.rmtree(work, ignore_errors=True)
    remove_leftovers(target)


def _locked_folder(target: Path) -> tuple[Path, FileLock]:
    """Make a work folder and lock it, again if it was taken for a leftover."""
    while True:
        work = Path(
            tempfile.mkdtemp(
                prefix=f".{target.name}.", suffix=".draft", dir=target.parent
            )
        )
        lock = FileLock(work / WORK_LOCK)
        try:
            with suppress(FileNotFoundError, FileExistsError):
                lock.acquire()
        except OSError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        if (work / WORK_LOCK).exists():
            return work, lock
        lock.release()


def remove_leftovers(target: Path) -> None:
    """Remove the work folders of writers of `target` that were killed."""
    # most names of a folder of many are told apart without a Path each
    start = f".{target.name}."
    for name in os.listdir(target.parent):  # noqa: PTH208
        work = target.parent / name
        if not name.startswith(start) or not is_work_folder(work, target.name):
            continue
        with suppress(OSError):
            work.rmdir()  # of a writer killed before it locked, or at the very end
        lock = work / WORK_LOCK
        if lock.is_file():
            with suppress(Timeout, OSError), FileLock(lock, timeout=0):
                _empty(work)
                shutil.rmtree(work, ignore_errors=True)


def _empty(work: Path) -> None:
    """Remove all but the lock, so that after a kill the next writer knows the rest."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != WORK_LOCK:
            path.unlink(missing_ok=True)


def _take_place(draft: Path, target: Path, *, may_replace: bool) -> None:
    """Give `draft` the place of `target`; a folder that was there gets the draft's."""
    if os.name == "nt":
        with suppress(OSError):
            target.rmdir()  # Windows renames to no name that is there, if only empty.
    try:
        draft.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        check_replaceable(target, force=may_replace)  # what came in meanwhile, too
        if not _exchange(draft, target):
            _rename_twice(draft, target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two absolute paths in one step, or return False where that cannot be."""
    name = _EXCHANGING_CALLS.get(sys.platform)
    call = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if call is None:
        return False
    at = ctypes.c_int(_AT_FDCWD)
    flags = ctypes.c_uint(_EXCHANGE)
    if call(at, os.fsencode(one), at, os.fsencode(other), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def _rename_twice(draft: Path, target: Path) -> None:
    """Put `target` aside and `draft` in its place; undo it if the second step fails."""
    old = draft.with_name(f"{draft.name}.old")
    target.rename(old)
    try:
        draft.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _check_place(path: Path, names: Mapping[str, str | None]) -> None:
    """Refuse to put a file where there is one that is not named, or was changed."""
    if os.path.lexists(path) and not is_own_file(path, path.name, names):
        raise RunError(
            f"{path}: must be what this package wrote there, but is not or was changed "
            "since. Move it away."
        )


def _replace_manifest(
    draft: Path, folder: Path, names: Mapping[str, str | None]
) -> None:
    draft.write_text(manifest_text(names), encoding="utf-8")
    _flush(draft)
    draft.replace(folder / MANIFEST)
    _flush(folder)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder to flush it.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
