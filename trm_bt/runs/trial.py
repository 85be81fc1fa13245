"""One trial of a sweep: a whole walk-forward made of its folds, as bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from trm_bt.backtest import BacktestResult
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.trials import target_weights
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, mean_decision
from trm_bt.market.features import schema_for
from trm_bt.parquet import decode_parquet
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.backtests import RecordedPolicy, allocate
from trm_bt.runs.fold_task import HashedBars, read_fold


@dataclass(frozen=True)
class TrialResult:
    """What a walk-forward came to.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio values at the closes, the base first.
    weights : DataFrame of shape (n_decisions, 3)
        Target weights by session: equity, bond, cash.
    """

    equity: pd.Series
    weights: pd.DataFrame


def trade_folds(
    bars: Bars, config: TRMConfig, folds: Sequence[bytes]
) -> BacktestResult:
    """Backtest the mean of what the models of each session decided.

    Parameters
    ----------
    bars : Bars
    config : TRMConfig
        All settings.
    folds : sequence of bytes
        What `decide_fold` returned for each fold, in the order of `folds_by_key`.
    """
    by_session: dict[pd.Timestamp, list[Decision]] = {}
    for content in folds:
        for decision in read_fold(content):
            by_session.setdefault(decision.decided_on, []).append(decision)
    schema = schema_for(bars, config.features).choosing(config.labels)
    recorded = RecordedPolicy(schema, map(mean_decision, by_session.values()))
    request = RunRequest("", config, schedule="calendar")
    return allocate(bars, recorded, recorded.first, request)


def finish_trial(bars: HashedBars, config: TRMConfig, folds: Sequence[bytes]) -> bytes:
    """Do a trial whose folds are done; see `pack_trial`."""
    return pack_trial(trade_folds(bars.bars, config, folds))


def pack_trial(result: BacktestResult) -> bytes:
    """Return a parquet table of a walk-forward's values and target weights."""
    table = result.equity.rename("value").to_frame()
    table = table.join(target_weights(result.decisions), how="outer")
    out = BytesIO()
    parquet.write_table(pa.Table.from_pandas(table.rename_axis("session")), out)
    return out.getvalue()


def read_trial(content: bytes, name: str) -> TrialResult:
    """Read what `pack_trial` returned; raise `RunError` if that cannot be."""
    try:
        table = decode_parquet(content)
        weights = table[["equity", "bond", "cash"]].dropna()
        return TrialResult(table["value"].dropna(), weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{name}: its result must be a table of a trial, but cannot be read: "
            f"{error}. Remove its file to run it again."
        ) from error
