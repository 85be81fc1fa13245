"""Text from outside: shown in one line that any terminal prints, and read as a date."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

_N_SHOWN: Final = 80
_LINE_BREAK: Final = re.compile(r"\s*[\r\n]\s*")
_DATE: Final = re.compile(r"(1[7-9]|2[01])\d\d-\d\d-\d\d", re.ASCII)


def one_line(text: str) -> str:
    r"""Return text without line breaks, every other control character escaped.

    Examples
    --------
    >>> one_line("red: \x1b[31m\n  done")
    'red: \\x1b[31m done'
    """
    text = _LINE_BREAK.sub(" ", text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shorten(value: object, most: int = _N_SHOWN) -> str:
    """Return at most `most` characters of a value's text, in one line.

    Examples
    --------
    >>> len(shorten("x" * 100)), shorten("short")
    (80, 'short')
    """
    text = one_line(str(value)[: 2 * most])
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object) -> str:
    """Return a user's value as Python writes it, at most 80 characters of it.

    Examples
    --------
    >>> shown("a date"), shown(5)
    ("'a date'", '5')
    """
    return shorten(repr(value))


def key_path(parts: Iterable[object]) -> str:
    """Return where a value stands in JSON, keys of the user's among them.

    Examples
    --------
    >>> key_path(["training", "epochs"]), len(key_path(["x" * 100]))
    ('training.epochs', 80)
    """
    return shorten(".".join(map(str, parts)))


def iso_date(text: str) -> date:
    """Return the date that is written YYYY-MM-DD, and no other way.

    Years are 1700 to 2199, those that fit into nanoseconds.

    Raises
    ------
    ValueError
        If it is written otherwise, or is no date.
    """
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # of that form, but no date
    raise ValueError(f"must be a date as YYYY-MM-DD, got {shown(text)}")


def reason_of(error: Exception) -> str:
    """Return why something failed, without the number of a system's error.

    Examples
    --------
    >>> reason_of(FileNotFoundError(2, "No such file or directory", "x"))
    'No such file or directory'
    >>> reason_of(ValueError("must be text"))
    'must be text'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def span_text(start: object, end: object) -> str:
    """Return two dates as words, whichever of them is given.

    Examples
    --------
    >>> span_text("2050-01-01", None)
    'between 2050-01-01 and the end'
    """
    return f"between {start or 'the start'} and {end or 'the end'}"
