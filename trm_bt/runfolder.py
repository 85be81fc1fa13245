"""The files of a run: what was asked for, what came out, and who may overwrite it."""

import json
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd

from trm_bt.backtest import BacktestResult
from trm_bt.config import Device, LabelConfig, TRMConfig
from trm_bt.evaluation.crises import OUT_OF_SAMPLE, summarize_crises
from trm_bt.evaluation.metrics import summarize_strategy
from trm_bt.evaluation.walkforward import CrisisPlan
from trm_bt.feeds import load_bars
from trm_bt.files import check_replaceable
from trm_bt.learning.records import TrainedModel
from trm_bt.market.bars import Bars
from trm_bt.market.features import Features, FeatureSchema
from trm_bt.market.label_table import LABELS_FILE, describe_labels
from trm_bt.market.labels import cash_growth

_VERSIONED: Final = (
    "trm-bt",
    "backtrader",
    "numpy",
    "pandas",
    "pyarrow",
    "quantstats",
    "torch",
)

CrisisResults = Mapping[str, tuple[BacktestResult, pd.DataFrame]]
"""By crisis: the allocator's run, and every strategy's equity in the crisis."""


@dataclass(frozen=True)
class RunRequest:
    """What a run was asked for; two runs of one request are the same run.

    Parameters
    ----------
    bars : str
        "sample", "yahoo", or a folder.
    config : TRMConfig
        All settings, the seed included.
    start, end : str or None
        First and last date of the bars.
    observed : tuple of str
        Optional inputs that must be observed.
    device : {"auto", "cpu", "cuda"}
        Where the models decide.
    """

    bars: str
    config: TRMConfig = field(default_factory=TRMConfig)
    start: str | None = None
    end: str | None = None
    observed: tuple[str, ...] = ()
    device: Device = "auto"

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "bars": self.bars,
            "start": self.start,
            "end": self.end,
            "observed": list(self.observed),
            "device": self.device,
            "config": self.config.model_dump(mode="json"),
        }

    def load(self) -> Bars:
        """Load the bars that were asked for."""
        return load_bars(
            self.bars,
            start=self.start,
            end=self.end,
            observed=self.observed,
            long_bond=self.config.bars.long_bond,
        )


def check_target(out: Path, request: RunRequest, *, force: bool) -> None:
    """Refuse to write over anything but an earlier run of the same request.

    Raises
    ------
    RunError
        If `out` is there and is no run folder, or holds another run and not `force`.
    """
    record = out / "run.json"
    try:
        earlier = json.loads(record.read_text(encoding="utf-8")).get("request")
    except (OSError, ValueError, AttributeError):
        earlier = None
    is_same = earlier == request.to_dict()
    check_replaceable(out, marker=record.name, force=force or is_same)


def describe_bars(bars: Bars) -> dict[str, object]:
    """Return source, span and provenance of the bars as JSON values."""
    return {
        "source": bars.source,
        "derived": bars.is_derived,
        "start": _date(bars.sessions[0]),
        "end": _date(bars.sessions[-1]),
        "sessions": len(bars.sessions),
        "sha256": bars.sha256(),
        "roles": {role: entry.to_dict() for role, entry in bars.provenance.items()},
    }


def describe_cash(bars: Bars) -> str:
    """Say what cash earned, or why it earned nothing."""
    entry = bars.provenance.get("cash_rate")
    if bars.cash_rate is not None:
        return f"earned {entry.source if entry else 'the cash rate given'}"
    if entry is None:
        return "earned nothing: the bars have no cash rate"
    return f"earned nothing: {entry.source} {'; '.join(entry.notes)}"


def describe_run(
    request: RunRequest, command: str, bars: Bars, models: Iterable[TrainedModel]
) -> dict[str, object]:
    """Return what run.json records beside the seconds each stage took."""
    return {
        "command": command,
        "request": request.to_dict(),
        "config": request.config.model_dump(mode="json"),
        "versions": versions(),
        "bars": describe_bars(bars),
        "models": [model_facts(model) for model in models],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the figures depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _VERSIONED},
    }


def model_facts(model: TrainedModel) -> dict[str, object]:
    """Return span, size and validation figures of a trained model as JSON values."""
    record, best = model.record, model.record.best
    return {
        "name": model.name,
        "trained_from": record.train_start.isoformat(),
        "trained_until": record.last_label_known_on.isoformat(),
        "n_rows": record.n_train + record.n_validation,
        "n_train": record.n_train,
        "n_validation": record.n_validation,
        "n_purged": record.n_purged,
        "n_visited": record.n_visited,
        "seed": model.config.seed,
        "batch_size": record.batch_size,
        "n_optimizer_steps": record.n_optimizer_steps,
        "best_epoch": record.best_epoch,
        "validation": {
            "accuracy": best.validation_accuracy,
            "majority_accuracy": record.majority_accuracy,
            "utility": best.validation_utility,
            "best_fixed_utility": record.best_fixed_utility,
        },
    }


def summarize(
    bars: Bars,
    results: Mapping[str, BacktestResult],
    crises: CrisisResults,
    plans: Sequence[CrisisPlan],
    models: Mapping[str, TrainedModel],
    *,
    seed: int,
) -> dict[str, object]:
    """Return what summary.json holds.

    Parameters
    ----------
    bars : Bars
        The bars of the run.
    results : mapping of str to BacktestResult
        Continuous out-of-sample runs by strategy.
    crises : mapping
        By crisis, the allocator's run and every strategy's equity.
    plans : sequence of CrisisPlan
        All crises, those without data included.
    models : mapping of str to TrainedModel
        By crisis.
    seed : int
        Seed of the run.
    """
    cash_returns = None
    if bars.cash_rate is not None:
        cash_returns = pd.Series(cash_growth(bars.cash_rate) - 1.0, bars.sessions)
    ours = results["trm"]
    schema = FeatureSchema.model_validate(ours.decisions.attrs["feature_schema"])
    runs = [*results.values(), *(result for result, _ in crises.values())]
    return {
        "bars": describe_bars(bars),
        "cash": describe_cash(bars),
        "features": {
            "formula_version": schema.formula_version,
            "members": list(schema.members),
            "status": schema.status_by_name,
        },
        "out_of_sample": {
            "start": _date(ours.equity.index[1]),
            "end": _date(ours.equity.index[-1]),
            "sessions": len(ours.equity) - 1,
            "abstained": ours.n_abstained,
        },
        "strategies": {
            name: asdict(
                summarize_strategy(
                    result.equity, orders=result.orders, cash_returns=cash_returns
                )
            )
            for name, result in results.items()
        },
        "crises": summarize_crises(
            plans,
            {name: frame for name, (_, frame) in crises.items()},
            {name: model_facts(model) for name, model in models.items()},
        ),
        "orders": {
            "submitted": sum(result.n_submitted for result in runs),
            "completed": sum(result.n_completed for result in runs),
            "rejected": sum(result.n_rejected for result in runs),
            "gaps": describe_gaps(ours.executions),
        },
        "seed": seed,
    }


def describe_gaps(executions: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return how far weights were from their targets, at the fill and at the close.

    Parameters
    ----------
    executions : DataFrame of shape (n_executions, n_columns)
        Has `fill_gap` and `close_gap`, shares of the portfolio.

    Returns
    -------
    dict
        By "fill" and "close": median, p95, p99 and largest; empty without executions.

    Examples
    --------
    >>> gaps = pd.DataFrame({"fill_gap": [0.0, 0.0, 0.1], "close_gap": [0.1, 0.2, 0.3]})
    >>> describe_gaps(gaps)["close"]["median"]
    0.2
    """
    if executions.empty:
        return {}
    levels = {"median": 0.5, "p95": 0.95, "p99": 0.99, "largest": 1.0}
    return {
        at: {
            name: float(executions[f"{at}_gap"].quantile(level))
            for name, level in levels.items()
        }
        for at in ("fill", "close")
    }


def save_features(features: Features, bars: Bars, folder: Path) -> dict[str, object]:
    """Write features.parquet, features.csv and features.json into `folder`.

    The parquet file carries the schema too, as `Features` says. Returns what the JSON
    file holds: span, schema, status by feature, and the provenance of the bars.
    """
    features.frame.to_parquet(folder / "features.parquet")
    features.frame.to_csv(folder / "features.csv", index_label="session")
    facts = {
        "rows": len(features.frame),
        "start": _date(features.frame.index[0]),
        "end": _date(features.frame.index[-1]),
        "status": features.schema.status_by_name,
        "schema": features.schema.model_dump(mode="json"),
        "n_zero_denominators": features.n_zero_denominators,
        "bars": describe_bars(bars),
    }
    write_json(folder / "features.json", facts)
    return facts


def save_labels(
    labels: pd.DataFrame,
    features: Features,
    bars: Bars,
    config: LabelConfig,
    folder: Path,
) -> dict[str, object]:
    """Write labels.parquet, labels.csv and labels_summary.json into `folder`.

    The parquet file carries the feature schema too.

    Returns
    -------
    dict
        What labels_summary.json holds.
    """
    described = labels.copy(deep=False)
    described.attrs = features.frame.attrs
    described.to_parquet(folder / LABELS_FILE)
    labels.to_csv(folder / "labels.csv")
    summary: dict[str, object] = {
        **describe_labels(labels, config),
        "features": features.schema.status_by_name,
        "n_zero_denominators": features.n_zero_denominators,
        "bars": describe_bars(bars),
    }
    write_json(folder / "labels_summary.json", summary)
    return summary


def save_results(
    results: Mapping[str, BacktestResult], crises: CrisisResults, folder: Path
) -> None:
    """Write equity, weights, decisions, orders and executions of all runs."""
    equity = pd.DataFrame({name: result.equity for name, result in results.items()})
    equity.rename_axis("session").to_parquet(folder / "equity.parquet")
    # where there is no crisis, a table of no rows
    windows = {name: frame for name, (_, frame) in crises.items()} or {"": equity[:0]}
    pd.concat(windows, names=["crisis", "session"]).to_parquet(
        folder / "crisis_equity.parquet"
    )
    runs = [
        *((OUT_OF_SAMPLE, name, result) for name, result in results.items()),
        *((crisis, "trm", result) for crisis, (result, _) in crises.items()),
    ]
    tables = {
        "orders": [_tagged(result.orders, run, name) for run, name, result in runs],
        "executions": [
            _tagged(result.executions.reset_index(), run, name)
            for run, name, result in runs
            if name == "trm"
        ],
        "weights": [
            _tagged(result.weights.rename_axis("session").reset_index(), run, name)
            for run, name, result in runs
            if name == "trm"
        ],
        "decisions": [
            _tagged(result.decisions, run, name)
            for run, name, result in runs
            if name == "trm"
        ],
    }
    for table, parts in tables.items():
        whole = pd.concat(parts, ignore_index=True)
        whole.to_parquet(folder / f"{table}.parquet")


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note the wall seconds of a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 2)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON that any parser reads: no NaN, no infinity."""
    text = json.dumps(content, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _tagged(frame: pd.DataFrame, run: str, strategy: str) -> pd.DataFrame:
    tagged = frame.copy()
    tagged.insert(0, "run", run)
    tagged.insert(1, "strategy", strategy)
    return tagged


def _date(session: pd.Timestamp) -> str:
    return session.date().isoformat()
