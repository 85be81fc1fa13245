"""The error tree: each sentence gives name, rule, value, place and remedy."""

from trm_bt.text import one_line


class TRMError(Exception):
    """Base of every error that `trm_bt` raises on purpose: one line, for any terminal.

    Parameters
    ----------
    sentence : str
        Line breaks and control characters in it do not reach the reader.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


class ConfigError(TRMError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class BarsError(TRMError, ValueError):
    """Bars break a rule: shape, order, calendar, price or role."""


class FetchError(TRMError):
    """A data vendor refuses, fails, or sends implausible data."""


class LookAheadError(TRMError, ValueError):
    """A value depends on what comes after the session on which it is known."""


class CheckpointError(TRMError, ValueError):
    """A checkpoint is missing, damaged, or of another schema."""


class RunError(TRMError, ValueError):
    """A run folder is missing, incomplete, or belongs to another run."""


class WorkerError(TRMError):
    """A worker cannot run the tasks of this process: its code differs."""


class BarsWarning(UserWarning):
    """Bars are unusual but not wrong: they are used, and this says what to check."""


class SetupWarning(UserWarning):
    """A Cerebro is set up so that its account may not behave as intended."""


class UniverseWarning(UserWarning):
    """A model trades other assets than those that it was evaluated on."""
