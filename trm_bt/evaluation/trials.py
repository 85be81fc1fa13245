"""The log of every configuration that was ever tried: the best of many is lucky.

One JSON object a line. A line is added under a lock by replacing the whole file, so
that a reader finds either the old log or the new one. What each trial earned is kept
beside the log, trials.returns beside trials.jsonl, in a file of its own.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from trm_bt.backtest import BacktestResult
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import excess_returns, sharpe
from trm_bt.files import write_atomically, write_text_atomically
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns

LOG_NAME: Final = "trials.jsonl"
"""Where the log is kept unless it is told otherwise: beside the run folders."""
_TIMEOUT: Final = 60.0


class Trial(BaseModel):
    """One configuration, and what it earned over a span out of sample.

    Parameters
    ----------
    configuration : str
        SHA-256 of all settings as JSON, the seed included.
    decisions : str
        SHA-256 of all target weights: other bars, or other code, are another trial.
    start, end : date
        First and last session after the base.
    n_sessions : int
        Sessions from the one to the other.
    sharpe : float or None
        Annual, in excess of cash; None where it has no meaning.
    recorded_at : datetime
        When it was first recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: str
    decisions: str
    start: date
    end: date
    n_sessions: int
    sharpe: float | None
    recorded_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the trial that it is, over whatever span."""
        return self.configuration, self.decisions

    @property
    def span(self) -> tuple[date, date]:
        """First and last session."""
        return self.start, self.end


def trial_of(
    config: TRMConfig,
    weights: pd.DataFrame,
    equity: pd.Series,
    cash_returns: pd.Series | None,
    recorded_at: datetime,
) -> Trial:
    """Return the trial that a run of `config` was.

    Parameters
    ----------
    config : TRMConfig
        All settings.
    weights : DataFrame of shape (n_decisions, 3)
        Target weights by session, all that the run decided.
    equity : Series of shape (n_sessions + 1,)
        Portfolio value at the closes; the first row is the base.
    cash_returns : Series of shape (n_cash,) or None
        As `trm_bt.evaluation.metrics.sharpe` takes it.
    recorded_at : datetime
        Now.
    """
    # rounded, so that machines agree; + 0.0 turns a negative zero into a plain one
    digest = hashlib.sha256(weights.index.to_numpy("datetime64[D]").tobytes())
    digest.update((weights.to_numpy(np.float64).round(9) + 0.0).tobytes())
    return Trial(
        configuration=hashlib.sha256(config.to_json().encode()).hexdigest(),
        decisions=digest.hexdigest(),
        start=equity.index[1].date(),
        end=equity.index[-1].date(),
        n_sessions=len(equity) - 1,
        sharpe=sharpe(equity, cash_returns),
        recorded_at=recorded_at,
    )


def target_weights(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the target weights of a table of decisions, oldest session first.

    Parameters
    ----------
    decisions : DataFrame of shape (n_decisions, n_columns)
        With `session`, target_equity, target_bond and target_cash.

    Returns
    -------
    DataFrame of shape (n_decisions, 3)
        Columns equity, bond and cash by session.
    """
    columns = ["equity", "bond", "cash"]
    names = [f"target_{name}" for name in columns]
    by_session = decisions.set_index(pd.DatetimeIndex(decisions["session"]))
    return by_session[names].astype(np.float64).set_axis(columns, axis=1).sort_index()


def record_run(
    out: Path, config: TRMConfig, result: BacktestResult, bars: Bars
) -> None:
    """Count a run of the allocator in the trials log beside its folder.

    Parameters
    ----------
    out : Path
        The run folder.
    config : TRMConfig
        All settings.
    result : BacktestResult
        What the allocator did out of sample, decisions included.
    bars : Bars
        The bars of the run.

    Raises
    ------
    RunError
        As `read_trials` does.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    weights, cash = target_weights(result.decisions), cash_returns(bars)
    trial = trial_of(config, weights, result.equity, cash, now)
    excess = excess_returns(result.equity, cash)
    record_trial(out.absolute().parent / LOG_NAME, trial, excess)


def read_trials(log: Path) -> list[Trial]:
    """Return the trials of a log, oldest first; none if there is no log yet.

    Raises
    ------
    RunError
        If a line is no trial: a log that cannot be counted must not be taken for short.
    """
    if not log.exists():
        return []
    trials = []
    lines = log.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            trials.append(Trial.model_validate_json(line))
        except ValidationError as error:
            raise RunError(
                f"{log}: line {number} must be a trial, got {line[:60]!r}. Mend "
                "that line, or remove it and count it by --earlier-trials."
            ) from error
    return trials


def record_trial(log: Path, trial: Trial, excess: pd.Series) -> list[Trial]:
    """Add a trial and what it earned to the log unless there, and return all trials.

    Parameters
    ----------
    log : Path
        The log, which need not be there yet.
    trial : Trial
    excess : Series of shape (n_sessions,)
        Session returns of the trial in excess of cash, as decimals.

    Raises
    ------
    RunError
        As `read_trials` does.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(log.with_name(f".{log.name}.lock"), timeout=_TIMEOUT):
        trials = read_trials(log)
        earned = _returns_file(log, trial)
        if not earned.exists():  # also of a trial that is older than these files
            table = excess.rename("excess").rename_axis("session").to_frame()
            write_atomically(earned, table.to_parquet)
        if (trial.key, trial.span) not in {(t.key, t.span) for t in trials}:
            trials.append(trial)
            lines = [known.model_dump_json() for known in trials]
            write_text_atomically(log, "\n".join(lines) + "\n")
    return trials


def read_returns(
    log: Path, trials: Sequence[Trial], sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Return what trials earned over given sessions.

    Parameters
    ----------
    log : Path
        The log of the trials.
    trials : sequence of Trial
        Some of its trials.
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions after the base, in order.

    Returns
    -------
    DataFrame of shape (n_sessions, n_known)
        Session returns in excess of cash, a column for each distinct trial that earned
        something on every session and whose returns were kept.

    Raises
    ------
    RunError
        If a file of returns cannot be read.
    """
    wanted = sessions[0].date(), sessions[-1].date()
    known: dict[tuple[str, str], pd.Series] = {}
    # a trial recorded over exactly these sessions before the same one over more
    for trial in sorted(trials, key=lambda trial: trial.span != wanted):
        file = _returns_file(log, trial)
        is_over = trial.start <= wanted[0] and trial.end >= wanted[1]
        if trial.key in known or not is_over or not file.exists():
            continue
        try:
            earned = pd.read_parquet(file)["excess"].reindex(sessions)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{file}: must hold what a trial earned, and cannot be read: {error}. "
                "Remove it, and make that run again."
            ) from error
        if earned.notna().all():
            known[trial.key] = earned
    return pd.DataFrame(dict(enumerate(known.values())), sessions)


def _returns_file(log: Path, trial: Trial) -> Path:
    """Return where the returns of a trial over its span are kept."""
    digests = "_".join(part[:16] for part in trial.key)
    name = f"{trial.start}_{trial.end}_{digests}.parquet"
    return log.with_suffix(".returns") / name


def n_distinct(trials: Sequence[Trial]) -> int:
    """Return how many trials there are; one over several spans is one."""
    return len({trial.key for trial in trials})


def sharpe_variance(trials: Sequence[Trial], n_sessions: int) -> float:
    """Return the variance of Sharpe ratios across trials, of one session.

    Never less than the variance that sampling alone gives the Sharpe ratio of a
    worthless strategy, 1 / (`n_sessions` - 1): few trials, or trials that are nearly
    the same, say little of how far luck reaches.

    Parameters
    ----------
    trials : sequence of Trial
        Those with a Sharpe ratio are counted.
    n_sessions : int
        Sessions of the strategy that is judged.

    Examples
    --------
    >>> sharpe_variance([], 101)
    0.01
    """
    by_sampling = 1.0 / (n_sessions - 1)
    known = [trial.sharpe for trial in trials if trial.sharpe is not None]
    if len(known) < 2:
        return by_sampling
    return max(by_sampling, float(np.var(known, ddof=1)) / SESSIONS_PER_YEAR)
