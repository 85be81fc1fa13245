"""Files and folders that are either the old ones or the new ones, never a mixture.

Both are made in a hidden work folder beside the target, on the same file system, which
a lock marks as in use. A writer that is killed leaves its work folder; the next one
that succeeds on the same target removes it.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from trm_bt.errors import RunError

_WORK_SUFFIX: Final = ".draft"
_WORK_LOCK: Final = ".lock"
_EXCHANGING_CALLS: Final = {"linux": "renameat2", "darwin": "renameatx_np"}
_AT_FDCWD: Final = -100
"""The working folder, in Linux. No system reads it, because all paths are absolute."""
_EXCHANGE: Final = 2
"""RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS."""
_CANNOT_EXCHANGE: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def check_replaceable(target: Path, *, marker: str, force: bool) -> None:
    """Refuse a target folder that holds anything that must not be lost.

    Raises
    ------
    RunError
        If `target` has files and either lacks `marker`, the file that shows what wrote
        it, or may not be replaced because `force` is false.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / marker).is_file():
        raise RunError(
            f"{target}: must be a new folder or one that holds {marker}, and is "
            "neither. Choose another --out."
        )
    if not force:
        raise RunError(
            f"{target}: is there already. Choose another --out, or pass --force to "
            "replace it."
        )


@contextmanager
def exclusive_lock(target: Path) -> Iterator[None]:
    """Keep every other process that asks from working on `target` meanwhile.

    The lock is a hidden file beside `target`, which stays; the lock itself ends with
    the process, however that ends.

    Parameters
    ----------
    target : Path
        A folder that grows, there or not. If it is a symbolic link, what it points to
        is locked.

    Raises
    ------
    RunError
        If another process is at work on it.
    """
    folder = Path(os.path.realpath(target))
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise RunError(
            f"{target}: another process is at work on it. Wait until it ends, or "
            "choose another --out."
        ) from error
    with held:
        yield


@contextmanager
def staged_folder(target: Path, *, may_replace: bool = True) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` when the block succeeds.

    When the block ends well, the files of the new folder are flushed to disk and the
    two folders exchange their names in one step, so that `target` is the old or the new
    folder at every moment and never missing. Where the system or the file system cannot
    exchange (Windows, some network file systems) there are two renames with a moment
    between them in which `target` is missing and the old folder stands in the hidden
    one. When the block raises, `target` stays as it was.

    Parameters
    ----------
    target : Path
        The folder to make. If it is a symbolic link, what it points to is replaced.
    may_replace : bool
        Whether an existing target that is not empty gives way.

    Raises
    ------
    OSError
        If the folder cannot be written, or is in the way and may not be replaced.
    """
    target = Path(os.path.realpath(target))
    with _draft(target) as draft:
        draft.mkdir()
        yield draft
        for path in draft.rglob("*"):
            _flush(path)
        _flush(draft)
        _take_place(draft, target, may_replace=may_replace)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`."""
    path = path.absolute()
    try:
        with _draft(path) as draft:
            write(draft)
            _flush(draft)
            draft.replace(path)
    except OSError as error:
        if error.errno and error.filename is None:  # a full disk does not say where
            error.filename = str(path)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Make `path` a file that holds `text` as UTF-8, whole or not at all."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a path of the same name in a locked work folder, which is then removed.

    If the block succeeds, what killed writers of `target` have left is removed as well.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work, lock = _locked_folder(target)
    try:
        yield work / target.name
        _flush(target.parent)
    finally:
        _empty(work)
        lock.release()
        shutil.rmtree(work, ignore_errors=True)
    remove_leftovers(target)


def _locked_folder(target: Path) -> tuple[Path, FileLock]:
    """Make a work folder and lock it, again if it was taken for a leftover."""
    while True:
        work = Path(
            tempfile.mkdtemp(
                prefix=f".{target.name}.", suffix=_WORK_SUFFIX, dir=target.parent
            )
        )
        lock = FileLock(work / _WORK_LOCK)
        with suppress(FileNotFoundError):
            lock.acquire()
        if (work / _WORK_LOCK).exists():
            return work, lock
        lock.release()


def remove_leftovers(target: Path) -> None:
    """Remove the work folders of writers of `target` that were killed."""
    form = re.compile(
        re.escape(f".{target.name}.") + "[a-z0-9_]{8}" + re.escape(_WORK_SUFFIX)
    )
    for work in list(target.parent.iterdir()):
        if not form.fullmatch(work.name) or work.is_symlink():
            continue
        with suppress(OSError):
            work.rmdir()  # of a writer killed before it locked, or at the very end
        lock = work / _WORK_LOCK
        if lock.is_file():
            with suppress(Timeout, OSError), FileLock(lock, timeout=0):
                _empty(work)
                shutil.rmtree(work, ignore_errors=True)


def _empty(work: Path) -> None:
    """Remove all but the lock, so that after a kill the next writer knows the rest."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _WORK_LOCK:
            path.unlink(missing_ok=True)


def _take_place(draft: Path, target: Path, *, may_replace: bool) -> None:
    """Give `draft` the place of `target`; a folder that was there gets the draft's."""
    if os.name == "nt":
        with suppress(OSError):
            target.rmdir()  # Windows renames to no name that is there, if only empty.
    try:
        draft.rename(target)
    except OSError as error:
        if not may_replace or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
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


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder to flush it.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
