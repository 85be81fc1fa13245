"""How every file is read: a regular file of bounded size, and JSON that is plain.

All functions raise `OSError` or `ValueError`, whose text is the reason. Who calls knows
whose file it is, and says so.
"""

import json
import os
import stat
from pathlib import Path
from typing import Final

from pydantic_core import from_json

from trm_bt.text import reason_of, shown

TEXT_BYTES: Final = 2**20
"""Largest size of what people write: settings, windows, lists of members."""
RECORD_BYTES: Final = 2**24
"""Largest size of a JSON file that this package writes."""
TABLE_BYTES: Final = 2**26
"""Largest size of a table, encoded."""
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe without a writer is opened at once, and then refused."""


def check_file(path: Path, limit: int) -> None:
    """Refuse what `read_bytes` would, for a library that opens the file itself."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        raise ValueError(f"must be a regular file of at most {limit:,} bytes")


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Symbolic links are followed, since nothing is written.
    """
    try:
        handle = os.open(path, _FLAGS)
    except OSError as error:
        raise type(error)(reason_of(error)) from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("must be a regular file, but is a folder, pipe or device")
        if status.st_size > limit:
            raise ValueError(f"must have at most {limit:,} bytes, but has more")
        content = file.read(status.st_size + 1)
    if len(content) != status.st_size:
        raise ValueError("must not change while it is read")
    return content


def read_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """Return the text of a file in UTF-8, without a byte order mark."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"must be text in UTF-8: {error}") from error


def read_json(path: Path, limit: int = RECORD_BYTES) -> str:
    """Return the text of a JSON file, which `check_json` has found plain."""
    text = read_text(path, limit)
    check_json(text)
    return text


def check_json(text: str | bytes) -> None:
    """Raise `ValueError` unless text is JSON, nested 200 deep at most, no key twice."""
    from_json(
        text, allow_inf_nan=False
    )  # bounds the depth, which the parser of Python does not
    json.loads(text, object_pairs_hook=_check_pairs)


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    names = set()
    for name, _ in pairs:
        if name in names:
            raise ValueError(f"must have each key once, has {shown(name)} twice")
        names.add(name)
