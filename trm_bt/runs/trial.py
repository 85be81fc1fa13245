"""One trial of a sweep: a whole walk-forward made of its folds, as bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from trm_bt.backtest import BacktestResult
from trm_bt.config import TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.metrics import StrategyFigures, summarize_strategy
from trm_bt.evaluation.trials import target_weights
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision, mean_decision
from trm_bt.market.features import schema_for
from trm_bt.market.labels import cash_returns
from trm_bt.parquet import decode_parquet, open_parquet
from trm_bt.reading import check_json
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.backtests import RecordedPolicy, allocate
from trm_bt.runs.fold_task import (
    HashedBars,
    decide_fold,
    folds_by_key,
    read_fold,
    trained_settings,
)
from trm_bt.runs.pooled import Pooled
from trm_bt.tasks import tell_progress

_KEY = b"trm_bt.figures"


@dataclass(frozen=True)
class TrialResult:
    """What a walk-forward came to.

    Parameters
    ----------
    equity : Series of shape (n_sessions + 1,)
        Portfolio values at the closes, the base first.
    weights : DataFrame of shape (n_decisions, 3)
        Target weights by session: equity, bond, cash.
    figures : StrategyFigures
    """

    equity: pd.Series
    weights: pd.DataFrame
    figures: StrategyFigures


def walk_forward(
    bars: Bars, config: TRMConfig, pooled: Pooled | None = None
) -> BacktestResult:
    """Train, decide and backtest fold by fold, in this process and without a folder.

    Parameters
    ----------
    bars : Bars
    config : TRMConfig
        All settings.
    pooled : mapping of str to Bars, optional
        Further universes to train on.

    Returns
    -------
    BacktestResult
        The allocator's, the same to the bit as that of a walk-forward to a folder.
    """
    hashed, settings = HashedBars.of(bars, pooled), trained_settings(config)
    folds = folds_by_key(hashed, config).values()
    decided: list[bytes] = []
    for fold in folds:
        tell_progress("folds", len(decided), len(folds))
        decided.append(decide_fold(hashed, settings, fold))
    return trade_folds(bars, config, decided)


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
    return pack_trial(bars.bars, trade_folds(bars.bars, config, folds))


def pack_trial(bars: Bars, result: BacktestResult) -> bytes:
    """Return a parquet table of a walk-forward's values and target weights."""
    earned = None if bars.cash_rate is None else cash_returns(bars)
    figures = summarize_strategy(
        result.equity, orders=result.orders, cash_returns=earned
    )
    table = result.equity.rename("value").to_frame()
    table = table.join(target_weights(result.decisions), how="outer")
    arrow = pa.Table.from_pandas(table.rename_axis("session"))
    metadata = {**arrow.schema.metadata, _KEY: json.dumps(asdict(figures))}
    out = BytesIO()
    parquet.write_table(arrow.replace_schema_metadata(metadata), out)
    return out.getvalue()


def read_trial(content: bytes, name: str) -> TrialResult:
    """Read what `pack_trial` returned; raise `RunError` if that cannot be."""
    try:
        stated = open_parquet(content).metadata.metadata[_KEY]
        check_json(stated)
        table = decode_parquet(content)
        return TrialResult(
            table["value"].dropna(),
            table[["equity", "bond", "cash"]].dropna(),
            StrategyFigures(**json.loads(stated)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{name}: its result must be a table of a trial, but cannot be read: "
            f"{error}. Remove its file to run it again."
        ) from error
