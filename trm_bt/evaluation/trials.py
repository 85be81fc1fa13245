"""The log of every configuration that was ever tried: the best of many is lucky.

A log is a folder with one file per trial: a parquet table of its session returns, with
the trial as JSON in the metadata. A file appears whole or not at all, and nobody writes
into another's file, so that processes may record at the same time without a lock.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet
from pydantic import BaseModel, Field, ValidationError

from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import Equity, excess_returns, sharpe
from trm_bt.fields import Day
from trm_bt.files import remove_leftovers, write_atomically
from trm_bt.manifest import check_target
from trm_bt.market.bars import SESSIONS_PER_YEAR, Bars
from trm_bt.market.labels import cash_returns
from trm_bt.parquet import open_parquet, read_parquet
from trm_bt.reading import RECORD_BYTES, TABLE_BYTES, check_json, read_bytes, read_text

if TYPE_CHECKING:  # loads Backtrader, which pages do without
    from trm_bt.backtest import BacktestResult

LOG_NAME: Final = "trials"
"""Folder of the log, next to the run folders unless another one is given."""
TRIALS_BEFORE: Final = 546
"""Configurations that were tried before the shipped ones were settled on, and which no
log of a user holds; docs/evidence.md counts them."""
_KEY: Final = b"trm_bt.trial"
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Trial(BaseModel, frozen=True, extra="forbid"):
    """One configuration, and what it earned over a span out of sample.

    Parameters
    ----------
    version : 1
        Version of the file format.
    configuration : str
        SHA-256 of all settings as JSON, the seed included.
    decisions : str
        SHA-256 of the bars and of all target weights: other bars, or other code, are
        another trial, even where they decide alike.
    start, end : date
        First and last session after the base.
    n_sessions : int
        Sessions from the one to the other.
    sharpe : float or None
        Annual, in excess of cash; None where it has no meaning.
    recorded_at : datetime
        When it was first recorded.
    """

    version: Literal[1] = 1
    configuration: _Digest
    decisions: _Digest
    start: Day
    end: Day
    n_sessions: int
    sharpe: float | None
    recorded_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Identity of the trial, whatever its span."""
        return self.configuration, self.decisions

    @property
    def span(self) -> tuple[date, date]:
        """First and last session."""
        return self.start, self.end

    @property
    def file_name(self) -> str:
        """Name of its file: one trial over one span has one file."""
        digests = "_".join(part[:16] for part in self.key)
        return f"{self.start}_{self.end}_{digests}.parquet"


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


def record_trial(
    log: Path,
    config: TRMConfig,
    bars: str,
    weights: pd.DataFrame,
    equity: Equity,
    cash_returns: pd.Series | None,
) -> Trial:
    """Add a trial to a log, unless the log has it over this span.

    Parameters
    ----------
    log : Path
        Folder of the log; made if it is missing.
    config : TRMConfig
        All settings.
    bars : str
        SHA-256 of the bars that were decided on.
    weights : DataFrame of shape (n_decisions, 3)
        Target weights by session, all that the run decided.
    equity : Equity
    cash_returns : Series of shape (n_cash,) or None
        As in `trm_bt.evaluation.metrics.excess_returns`.
    """
    digest = hashlib.sha256(bars.encode())
    # rounded, so that machines agree; + 0.0 turns a negative zero into a plain one
    digest.update(weights.index.to_numpy("datetime64[D]").tobytes())
    digest.update((weights.to_numpy(np.float64).round(9) + 0.0).tobytes())
    trial = Trial(
        configuration=hashlib.sha256(config.to_json().encode()).hexdigest(),
        decisions=digest.hexdigest(),
        start=equity.index[1].date(),
        end=equity.index[-1].date(),
        n_sessions=len(equity) - 1,
        sharpe=sharpe(equity, cash_returns),
        recorded_at=datetime.now(UTC).replace(microsecond=0),
    )
    file = log / trial.file_name
    if file.exists():
        remove_leftovers(file)
    else:
        excess = excess_returns(equity, cash_returns).rename_axis("session")
        table = pa.Table.from_pandas(excess.to_frame("excess"))
        metadata = {**table.schema.metadata, _KEY: trial.model_dump_json()}
        table = table.replace_schema_metadata(metadata)
        write_atomically(file, lambda draft: parquet.write_table(table, draft))
    return trial


def record_run_trial(
    out: Path, config: TRMConfig, result: "BacktestResult", bars: Bars
) -> None:
    """Count a run of the allocator in the log next to its folder.

    Parameters
    ----------
    out : Path
        The run folder.
    config : TRMConfig
        All settings.
    result : BacktestResult
        Backtest of the allocator out of sample, decisions included.
    bars : Bars
        The bars of the run.
    """
    log, weights = log_beside(out), target_weights(result.decisions)
    cash, digest = cash_returns(bars), bars.sha256()
    record_trial(log, config, digest, weights, result.equity, cash)


def log_beside(run_folder: Path) -> Path:
    """Return the folder of the log that counts a run unless another one is given."""
    return run_folder.absolute().parent / LOG_NAME


def check_log(log: Path) -> None:
    """Raise `RunError` unless a run could be counted in a log, before it is made."""
    check_target(log)
    for trial in read_trials(log):
        _read_returns(log / trial.file_name)


def read_trials(log: Path) -> list[Trial]:
    """Return the trials of a log, oldest first; none if there is no log yet.

    Raises
    ------
    RunError
        If a file is no trial, or a log of an earlier version stands where this one
        belongs: a log that cannot be counted must not be taken for a short one.
    """
    for old in (log, log.with_name(f"{log.name}.jsonl")):
        if old.exists() and not old.is_dir():
            _refuse_old_log(old)
    trials = [_read_trial(file) for file in sorted(log.glob("*.parquet"))]
    return sorted(trials, key=lambda trial: trial.recorded_at)


def _refuse_old_log(old: Path) -> NoReturn:
    try:
        n_lines = len(read_text(old, RECORD_BYTES).splitlines())
    except (OSError, ValueError) as error:
        raise RunError(
            f"{old}: must be the folder of a trials log, but cannot be read: {error}. "
            "Move it away."
        ) from error
    raise RunError(
        f"{old}: must not be a trials log of an earlier version, but holds {n_lines} "
        f"lines. Move it away, and count its trials by --earlier-trials {n_lines}."
    )


def _read_trial(file: Path) -> Trial:
    """Return the trial of a file without its returns."""
    try:
        stated = open_parquet(read_bytes(file, TABLE_BYTES)).metadata.metadata[_KEY]
        check_json(stated)
        trial = Trial.model_validate_json(stated, strict=True)
        if file.name != trial.file_name:
            raise ValueError(f"must be named {trial.file_name}")
        return trial
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "it says nothing of one" if isinstance(error, KeyError) else str(error)
        if isinstance(error, ValidationError):
            reason = error.errors()[0]["msg"]
        raise RunError(
            f"{file}: must hold a trial of this version, but cannot be read: "
            f"{reason}. Give a folder of trials alone; or move the file away, and make "
            "that run again or count it by --earlier-trials."
        ) from error


def read_returns(
    log: Path, trials: Sequence[Trial], sessions: pd.DatetimeIndex
) -> pd.DataFrame:
    """Return what trials earned over given sessions.

    Parameters
    ----------
    log : Path
        Folder of the log of the trials.
    trials : sequence of Trial
        Some of its trials.
    sessions : DatetimeIndex of shape (n_sessions,)
        Sessions after the base, in order.

    Returns
    -------
    DataFrame of shape (n_sessions, n_known)
        Session returns in excess of cash, a column for each distinct trial that earned
        something on every session.

    Raises
    ------
    RunError
        If a file cannot be read.
    """
    wanted = sessions[0].date(), sessions[-1].date()
    known: dict[tuple[str, str], pd.Series] = {}
    # a trial recorded over exactly these sessions before the same one over more
    for trial in sorted(trials, key=lambda trial: trial.span != wanted):
        is_over = trial.start <= wanted[0] and trial.end >= wanted[1]
        if trial.key in known or not is_over:
            continue
        earned = _read_returns(log / trial.file_name).reindex(sessions)
        if earned.notna().all():
            known[trial.key] = earned
    return pd.DataFrame(dict(enumerate(known.values())), sessions)


def _read_returns(file: Path) -> pd.Series:
    """Return what a trial earned, by session."""
    try:
        excess = read_parquet(file)["excess"].astype(np.float64)
        sessions = excess.index
        if not isinstance(sessions, pd.DatetimeIndex) or not sessions.is_unique:
            raise ValueError("must have each session once")
        if not np.isfinite(excess).all():
            raise ValueError("must have finite returns")
        return excess
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{file}: must hold what a trial earned, but cannot be read: {error}. "
            "Remove it, and make that run again."
        ) from error


def n_distinct(trials: Sequence[Trial]) -> int:
    """Return how many trials there are; one over several spans is one."""
    return len({trial.key for trial in trials})


def sharpe_variance(ratios: Iterable[float | None], n_sessions: int) -> float:
    """Return the variance of Sharpe ratios across trials, of one session.

    Never less than the variance that sampling alone gives the Sharpe ratio of a
    worthless strategy, 1 / (`n_sessions` - 1): few trials, or trials that are nearly
    the same, say little of how far luck reaches.

    Parameters
    ----------
    ratios : iterable of float or None
        Annual Sharpe ratios of the trials; those that have none are not counted.
    n_sessions : int
        Sessions of the strategy that is judged.

    Examples
    --------
    >>> sharpe_variance([], 101)
    0.01
    """
    by_sampling = 1.0 / (n_sessions - 1)
    known = [ratio for ratio in ratios if ratio is not None]
    if len(known) < 2:
        return by_sampling
    return max(by_sampling, float(np.var(known, ddof=1)) / SESSIONS_PER_YEAR)
