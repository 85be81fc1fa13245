"""Train every candidate, judge it by every rule, and print the tables.

    python -m benchmarks.selection BARS [--out DIR] [--seeds N] [--processes N]

Results of trainings are kept in DIR/trainings, so a run that was stopped goes on with
what is missing. Every candidate with every rule is a trial, in trials.jsonl beside DIR;
DIR/results.jsonl has a line for each.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ablation.folds import LAST_DAY, load_folds, mark_of
from benchmarks.resumable import claim, do_all, read_result
from benchmarks.selection.candidates import CANDIDATES
from benchmarks.selection.judge import RULES, Record, hold
from benchmarks.selection.table import Tried, render
from benchmarks.selection.trainings import Training, do, trainings_of
from trm_bt import load_bars
from trm_bt.config import LabelConfig, StrategyConfig, TRMConfig
from trm_bt.errors import RunError
from trm_bt.evaluation.rivals import FIXED
from trm_bt.evaluation.trials import LOG_NAME, record_trial, trial_of
from trm_bt.files import write_text_atomically
from trm_bt.learning.parallel import n_available_cpus
from trm_bt.market.bars import Bars
from trm_bt.market.labels import cash_returns
from trm_bt.strategies.rules import RULES as PRICE_RULES
from trm_bt.strategies.rules import history_of


def judge_all(
    bars: Bars, sessions: pd.DatetimeIndex, answers: dict[str, list[np.ndarray]]
) -> list[Tried]:
    """Hold what every candidate says, by every rule.

    Parameters
    ----------
    bars : Bars
        Bars of `sessions` alone.
    sessions : DatetimeIndex of shape (n_sessions,)
        The deciding sessions of all test spans.
    answers : dict of str to list of ndarray of shape (n_sessions, 8)
        By candidate, the probabilities of each seed.
    """
    tried = []
    for rule in RULES:
        for name, said in answers.items():
            tables = [pd.DataFrame(one, sessions) for one in (np.mean(said, 0), *said)]
            schedules = [rule.weights(table) for table in tables]
            matched = np.tile(schedules[0].mean(axis=0), (len(sessions), 1))
            joint, *seeds, mix = hold(bars, [*schedules, matched], rule.rebalance_band)
            table = pd.DataFrame(schedules[0], sessions, ["equity", "bond"])
            tried.append(Tried(name, rule, table, joint, seeds, mix))
    return tried


def others(whole: Bars, bars: Bars, sessions: pd.DatetimeIndex) -> dict[str, Record]:
    """Hold the fixed mixes, and the rules on past prices, over the same sessions."""
    rows = whole.sessions.get_indexer(sessions)
    history = history_of(whole)
    schedules = {
        **{n: np.tile(w[:2], (len(rows), 1)) for n, w in FIXED.items()},
        **{n: np.nan_to_num(r(history)[rows][:, :2]) for n, r in PRICE_RULES.items()},
    }
    return dict(zip(schedules, hold(bars, [*schedules.values()], 0.0), strict=True))


def settings_of(tried: Tried) -> TRMConfig:
    """Return all settings of a trial."""
    candidate = {one.name: one for one in CANDIDATES}[tried.candidate]
    strategy = StrategyConfig(**vars(tried.rule))
    return candidate.config(0).model_copy(update={"strategy": strategy})


def log_trials(tried: Sequence[Tried], bars: Bars, log: Path) -> None:
    """Count every trial."""
    now = datetime.now(UTC).replace(microsecond=0)
    cash = cash_returns(bars)
    for one in tried:
        weights = one.schedule.assign(cash=1.0 - one.schedule.sum(axis=1))
        equity = one.record.equity
        trial = trial_of(settings_of(one), weights, equity, cash, now)
        record_trial(log, trial, one.record.excess)


def main() -> None:
    """Do what is missing, then judge, count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bars", help="folder with SPY, TLT and VIX files, or sample")
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=n_available_cpus())
    options = parser.parse_args()
    fold_of = load_folds(options.bars)
    folds = fold_of(LabelConfig())
    try:
        claim(options.out, mark_of(folds))
    except RunError as error:
        parser.error(str(error))
    trainings = {
        candidate.name: [
            trainings_of(candidate, seed, fold_of(candidate.config(0).labels))
            for seed in range(options.seeds)
        ]
        for candidate in CANDIDATES
    }
    folder = options.out / "trainings"
    every = [one for seeds in trainings.values() for seed in seeds for one in seed]
    do_all(every, do, _in_a_line, folder, options.processes)
    answers = {
        name: [_said(folder, seed) for seed in seeds]
        for name, seeds in trainings.items()
    }
    sessions = pd.DatetimeIndex(np.concatenate([f.test.sessions for f in folds]))
    whole = load_bars(options.bars, end=LAST_DAY)
    bars = whole.between(sessions[0], sessions[-1])
    tried = judge_all(bars, sessions, answers)
    log_trials(tried, bars, options.out.parent / LOG_NAME)
    lines = [json.dumps(one.to_dict()) + "\n" for one in tried]
    write_text_atomically(options.out / "results.jsonl", "".join(lines))
    sys.stdout.write(render(tried, others(whole, bars, sessions)))


def _in_a_line(result: dict[str, Any]) -> str:
    return (
        f"{result['candidate']}, seed {result['seed']}, {result['fold']}: "
        f"{result['cpu_seconds']:.1f} s"
    )


def _said(folder: Path, trainings: Sequence[Training]) -> np.ndarray:
    """Return the probabilities of all test rows, shape (n_rows, 8).

    Where several models decide a span, their mean.
    """
    by_span: dict[str, list[np.ndarray]] = {}
    for training in trainings:
        result = read_result(folder, training)
        assert result is not None
        ends = np.cumsum([len(fold.test) for fold in training.decided])
        parts = np.split(np.asarray(result["probabilities"]), ends[:-1])
        for fold, part in zip(training.decided, parts, strict=True):
            by_span.setdefault(fold.name, []).append(part)
    return np.concatenate([np.mean(parts, axis=0) for parts in by_span.values()])


if __name__ == "__main__":
    main()
