"""Files and folders that are either the old ones or the new ones, never a mixture."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trm_bt.errors import RunError


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
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `target` when the block succeeds.

    The work happens in a hidden folder beside `target`. When the block ends well, its
    files are flushed to disk and it is renamed; an earlier `target` is removed only
    then. When the block raises, the hidden folder is removed and `target` stays.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        work.chmod(0o755)
        yield work
        _flush_tree(work)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.rename(old / target.name)
            work.rename(target)
            shutil.rmtree(old)
        else:
            work.rename(target)
        _flush(target.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


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
