"""One trial of a sweep: a whole walk-forward in one task, and its result as bytes."""

import json
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
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.workers import train_job
from trm_bt.market.bars import Bars
from trm_bt.market.labels import cash_returns
from trm_bt.parquet import decode_parquet, open_parquet
from trm_bt.reading import check_json
from trm_bt.runfolder.records import RunRequest
from trm_bt.runs.backtests import RecordedPolicy, allocate
from trm_bt.runs.work import lay_out
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


def walk_forward(bars: Bars, config: TRMConfig) -> BacktestResult:
    """Train, decide and backtest fold by fold, in this process and without a folder.

    Parameters
    ----------
    bars : Bars
    config : TRMConfig
        All settings.

    Returns
    -------
    BacktestResult
        The allocator's, the same to the bit as that of a walk-forward to a folder.
    """
    request = RunRequest("", config, device=config.training.device, schedule="calendar")
    work = lay_out(request, bars)
    work.check_jobs()
    decisions = []
    for n_done, split in enumerate(work.splits):
        tell_progress("folds", n_done, len(work.splits))
        models = [train_job(work.job(split, seed), work.lesson) for seed in work.seeds]
        policy = TRMPolicy(*[[model] for model in models], device=request.device)
        decisions += work.decide(policy, split)
    recorded = RecordedPolicy(work.features.schema, decisions)
    return allocate(bars, recorded, recorded.first, request)


def walk_trial(bars: Bars, config: TRMConfig) -> bytes:
    """Do a trial, and return a parquet table of its values and target weights."""
    result = walk_forward(bars, config)
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
    """Read what `walk_trial` returned; raise `RunError` if that cannot be."""
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
