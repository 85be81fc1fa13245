"""The command line: one sub-command a stage, and the only package that prints.

Exit codes: 0 done, 1 the job failed, 2 bad usage or bad input.
"""

import signal
import sys
import warnings

from trm_bt.cli import (  # noqa: F401, they add their commands
    bars,
    compare,
    dataset,
    models,
    runs,
    walkforward,
)
from trm_bt.cli.options import app
from trm_bt.errors import BarsWarning, LookAheadError, TRMError

_TYPER_INTERRUPTED = 130
"""Exit code into which Typer turns a KeyboardInterrupt, without a word."""


def main() -> None:
    """Run the command line and turn errors into one sentence and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app()
    except TRMError as error:
        # a leak that was found is an answer, not a mistake of the one who asked
        is_bad_input = isinstance(error, ValueError)
        is_bad_input &= not isinstance(error, LookAheadError)
        _fail(str(error), 2 if is_bad_input else 1)
    except OSError as error:
        _fail(f"The job failed: {error}.", 1)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _TYPER_INTERRUPTED:
            raise
        _fail("Interrupted.", 1)


def _show_warning(
    message: Warning | str, category: type[Warning], *where: object, **_: object
) -> None:
    """Print our own warnings as one sentence, and others with their place."""
    place = "" if issubclass(category, BarsWarning) else f"{where[0]}:{where[1]}: "
    print(f"trm-bt: warning: {place}{message}", file=sys.stderr)


def _interrupt(*_: object) -> None:
    """Stop at the first signal, and let no second one disturb the tidying up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(sentence: str, code: int) -> None:
    print(f"trm-bt: {sentence}", file=sys.stderr)
    raise SystemExit(code)
