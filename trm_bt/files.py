"""Files and folders that are either the old ones or the new ones, never a mixture."""

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

if sys.platform != "win32":
    import fcntl

_DRAFT_SUFFIX: Final = ".draft"
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
def sole_worker(target: Path) -> Iterator[None]:
    """Keep every other process that asks from working on `target` meanwhile.

    The lock is a hidden file beside `target`, which stays; what is locked is given free
    when the process ends, however it ends.

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

    The work happens in a hidden folder beside `target`, which is removed when the block
    raises. When it ends well, its files are flushed to disk and the two folders
    exchange their names in one step, so that `target` is the old or the new folder at
    every moment and never missing. Where the system or the file system cannot exchange
    (Windows, some network file systems) there are two renames with a moment between
    them in which `target` is missing and the old folder stands inside a hidden one.

    A writer that is killed leaves its hidden folder. The next one that succeeds on the
    same target removes it; it knows a living writer's folder by a lock that ends with
    its process. Where folders cannot be locked (the same systems) none is removed.

    Parameters
    ----------
    target : Path
        The folder to make. If it is a symbolic link, what it points to is replaced.
    may_replace : bool
        Whether a target that is there and not empty gives way.

    Raises
    ------
    OSError
        If the folder cannot be written, or is in the way and may not be replaced.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _draft(target) as draft:
        draft.chmod(0o755)
        yield draft
        _flush_tree(draft)
        _take_place(draft, target, may_replace=may_replace)
        _flush(target.parent)
    _remove_leftovers(target)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", dir=path.parent
        ) as work:
            draft = Path(work) / path.name
            write(draft)
            _flush(draft)
            draft.replace(path)
    except OSError as error:
        if error.errno and error.filename is None:  # a full disk does not say where
            error.filename = str(path)
        raise
    _flush(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Make `path` a file that holds `text` as UTF-8, whole or not at all."""
    write_atomically(path, lambda draft: draft.write_text(text, encoding="utf-8"))


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `target`, locked; remove what bears its name then.

    After an exchange that is the folder which was replaced.
    """
    draft, lock = _locked_folder(target)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_folder(target: Path) -> tuple[Path, int | None]:
    """Make a hidden folder and lock it, again if it was taken for a leftover."""
    while True:
        draft = Path(
            tempfile.mkdtemp(
                prefix=f".{target.name}.", suffix=_DRAFT_SUFFIX, dir=target.parent
            )
        )
        lock = _lock(draft, wait=True)
        if draft.exists():
            return draft, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder until the handle is closed or the process dies, or return None."""
    if sys.platform == "win32":
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None  # Another writer has removed it.
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None  # A living writer holds it, or the file system knows no locks.
    return handle


def _remove_leftovers(target: Path) -> None:
    """Remove the hidden folders of writers of `target` that were killed."""
    form = re.compile(
        re.escape(f".{target.name}.") + "[a-z0-9_]{8}" + re.escape(_DRAFT_SUFFIX)
    )
    for path in list(target.parent.iterdir()):
        if form.fullmatch(path.name):
            lock = _lock(path, wait=False)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _take_place(draft: Path, target: Path, *, may_replace: bool) -> None:
    """Give `draft` the name `target`; a folder that bore it gets the draft's name."""
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
    with _draft(target) as aside:
        old = aside / target.name
        target.rename(old)
        try:
            draft.rename(target)
        except BaseException:
            old.rename(target)
            raise


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder to flush it.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
