"""The command line: one sub-command per stage, and the only package that prints.

Exit codes: 0 done, 1 the job failed, 2 bad usage or bad input, 70 a bug of this
package, 130 interrupted by Ctrl-C.
"""

import logging
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Final, NoReturn

from cyclopts import CycloptsError

from trm_bt.cli import (  # noqa: F401, they add commands
    bars,
    dataset,
    decide,
    hub,
    models,
    runs,
    sweeps,
)
from trm_bt.cli.options import app
from trm_bt.cli.terminal import Terminal
from trm_bt.errors import BarsWarning, ConfigError, LookAheadError, TRMError
from trm_bt.text import one_line, reason_of, shorten, shown

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_FAILED: Final = 1
_BAD_INPUT: Final = 2
_BUG: Final = 70
_INTERRUPTED: Final = 130
_LONGEST_PATH: Final = 255
_HOME: Final = re.compile(r"^(--[a-z-]+=)?~(?=/|$)")
_FEWEST_COLUMNS: Final = 20
_TRAINED: Final = "Run the same command again: trained models are kept."
_RESUMING: Final = {
    "run": _TRAINED,
    "walkforward": _TRAINED,
    "train": "Run the same command again to resume.",
    "fetch": "Run the same command again: fetched bars are kept.",
    "sweep": "Run the same command again: finished folds and trials are kept.",
}


def main() -> None:
    """Run the command line and turn errors into one sentence and an exit code."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    _mend_surroundings()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a locale may lack a character
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_FAILED) from None
    except KeyboardInterrupt as interrupt:
        is_terminated = interrupt.args == (signal.SIGTERM,)
        _fail(
            f"Interrupted. {_how_to_resume(sys.argv[1:])}",
            _FAILED if is_terminated else _INTERRUPTED,
        )
    except CycloptsError as error:
        _fail(_shortened(" ".join(str(error).split()), 80), _BAD_INPUT)
    except TRMError as error:
        # a leak that was found is a result, not bad input
        is_bad_input = isinstance(error, ValueError)
        is_bad_input &= not isinstance(error, LookAheadError)
        _fail(str(error), _BAD_INPUT if is_bad_input else _FAILED)
    except OSError as error:
        _fail(f"The job failed: {_reason(error)}.", _FAILED)
    except MemoryError:
        _fail("The job failed: not enough memory.", _FAILED)
    except Exception as error:
        logging.getLogger(__name__).debug("the bug", exc_info=True)
        _fail(
            f"This is a bug of trm-bt: {shorten(f'{type(error).__name__}: {error}')}. "
            f"{_keep_traceback()}",
            _BUG,
        )


def _how_to_resume(tokens: list[str]) -> str:
    """Say how to resume a command that was interrupted."""
    command = tokens[0] if tokens else ""
    if command == "train" and "--self-check" in tokens:
        return "Run it again."
    if command == "train" and "--resume" not in tokens:
        return "Run it again with --resume."
    return _RESUMING.get(command, "No partial result was left: run it again.")


def _reason(error: OSError) -> str:
    """Say which file failed and why, without an error number."""
    if error.filename is None:
        return reason_of(error)
    name = str(error.filename)
    where = name if len(name) <= _LONGEST_PATH else shown(name)
    return f"{reason_of(error)}: {where}"


def _run(tokens: list[str]) -> None:
    """Parse the command line and call its command."""
    for number, token in enumerate(tokens, 1):
        if not _is_text(token):
            raise ConfigError(f"Argument {number} must be text, got {shown(token)}.")
    tokens = [_HOME.sub(_expanded, token) for token in tokens]
    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    for options in bound.arguments.values():
        if isinstance(options, Terminal):
            options.start_logging()
    command(*bound.args, **bound.kwargs)


def _mend_surroundings() -> None:
    """Go on where the caller has closed a stream, or set a width of no column.

    Help of a few columns is never done.
    """
    if sys.stdout is None or sys.stderr is None:
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - stays
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    width = os.environ.get("COLUMNS", "")
    if width and not (width.isdecimal() and int(width) >= _FEWEST_COLUMNS):
        del os.environ["COLUMNS"]


def _expanded(home: re.Match[str]) -> str:
    """Return a home folder that the shell left as it was, as in --out=~/run."""
    return f"{home[1] or ''}{Path.home()}"


def _show_warning(
    message: Warning | str, category: type[Warning], *where: object, **_: object
) -> None:
    """Print our own warnings as one sentence, and others with their place."""
    place = "" if issubclass(category, BarsWarning) else f"{where[0]}:{where[1]}: "
    print(f"trm-bt: warning: {one_line(f'{place}{message}')}", file=sys.stderr)


def _is_text(token: str) -> bool:
    """Return whether an argument has no bytes that the locale cannot decode."""
    return not any("\ud800" <= character <= "\udfff" for character in token)


def _shortened(sentence: str, longest: int) -> str:
    """Return a sentence that quotes no argument of more characters than `longest`."""
    values = [token.partition("=")[2] for token in sys.argv[1:]]  # of --name=value
    for token in sorted([*sys.argv[1:], *values], key=len, reverse=True):
        if len(token) > longest:
            sentence = sentence.replace(token, shorten(token))
    return sentence


def _keep_traceback() -> str:
    """Write the traceback to a file of its own, and say where and what to do."""
    try:
        handle, path = tempfile.mkstemp(prefix="trm-bt-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(f"trm-bt {version('trm-bt')}, Python {sys.version}\n")
            traceback.print_exc(file=file)
    except OSError as error:
        why = reason_of(error)
        return f"Its traceback could not be written: {why}. Run it with -vv to see it."
    return f"Please open an issue and attach its traceback, {path}."


def _interrupt(number: int, _: object) -> NoReturn:
    """Stop at the first signal, and let no second one disturb the tidying up."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _fail(sentence: str, code: int) -> NoReturn:
    sentence = one_line(_shortened(sentence, _LONGEST_PATH))
    print(f"trm-bt: {sentence}", file=sys.stderr)
    raise SystemExit(code)
