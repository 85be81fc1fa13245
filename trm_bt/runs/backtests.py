"""The backtests of a run: the allocator and its baselines, continuous and by crisis."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from trm_bt.backtest import BacktestResult, run_backtest
from trm_bt.errors import BarsError
from trm_bt.evaluation.benchmarks import OURS
from trm_bt.evaluation.trials import record_run_trial
from trm_bt.evaluation.walkforward import CrisisPlan
from trm_bt.files import check_replaceable, staged_folder
from trm_bt.learning.policy import TRMPolicy
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Policy
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import BASELINES, SUMMARY, RunRequest, Summary
from trm_bt.runfolder.store import write_json
from trm_bt.runs.request import requested_bars
from trm_bt.runs.results import crisis_equity, save_results, summarize
from trm_bt.strategies.baselines import FixedMix
from trm_bt.strategies.trm_allocator import TRMAllocator


def backtest_all(
    bars: Bars,
    request: RunRequest,
    plans: Sequence[CrisisPlan],
    policy_for: Callable[[CrisisPlan | None], Policy],
    decide_from: pd.Timestamp,
    tell: Progress,
) -> tuple[dict[str, BacktestResult], dict[str, tuple[BacktestResult, pd.DataFrame]]]:
    """Run the allocator and every baseline out of sample, and each crisis alone.

    The baselines of a crisis are cut from their continuous runs: a fixed mix,
    rebalanced each session, holds the same weights at the crisis's base whenever it was
    started.

    Parameters
    ----------
    bars : Bars
        All bars of the run.
    request : RunRequest
        Settings.
    plans : sequence of CrisisPlan
        All crises; those with a freeze are run.
    policy_for : callable
        The policy of a crisis's run, or for None that of the continuous run.
    decide_from : Timestamp
        First session of the continuous run.
    tell : callable
        Called after each run.

    Returns
    -------
    results : dict of str to BacktestResult
        Continuous runs by strategy, "trm" first.
    crises : dict of str to (BacktestResult, DataFrame)
        By crisis name, the allocator's run and every strategy's equity in the crisis.
    """
    planned = [plan for plan in plans if plan.frozen_on is not None]
    total = 1 + len(BASELINES) + len(planned)
    tell("backtests", 0, total)
    ours = allocate(bars, policy_for(None), decide_from, request)
    tell("backtests", 1, total)
    baselines = run_baselines(
        bars, request, decide_from, lambda done: tell("backtests", 1 + done, total)
    )
    results = {OURS: ours, **baselines}
    crises: dict[str, tuple[BacktestResult, pd.DataFrame]] = {}
    for plan in planned:
        tell("backtests", len(results) + len(crises), total)
        crisis = plan.crisis
        since = session_after(bars, plan.frozen_on)
        seen = bars.between(end=crisis.end)
        result = allocate(seen, policy_for(plan), since, request)
        equities = {OURS: result.equity} | {
            name: results[name].equity for name in BASELINES
        }
        crises[crisis.name] = result, crisis_equity(plan, equities)
    tell("backtests", total, total)
    return results, crises


def allocate(
    bars: Bars, policy: Policy, decide_from: pd.Timestamp, request: RunRequest
) -> BacktestResult:
    """Run the allocator with a policy.

    Parameters
    ----------
    bars : Bars
        Bars that reach back far enough for the first decision's features.
    policy : Policy
        Who decides.
    decide_from : Timestamp
        First session to decide on.
    request : RunRequest
        Settings.

    Raises
    ------
    BarsError
        If the bars end before any session may be decided.
    CheckpointError
        If the policy reads features of another schema.
    """
    config = request.config
    return run_backtest(
        bars,
        TRMAllocator,
        params={"policy": policy, **config.strategy.model_dump()},
        config=config.backtest,
        decide_from=decide_from,
        name=OURS,
    )


def run_baselines(
    bars: Bars,
    request: RunRequest,
    decide_from: pd.Timestamp,
    tell: Callable[[int], None],
) -> dict[str, BacktestResult]:
    """Run SPY, 60/40 and the eight allocations over the allocator's sessions.

    `tell` is called with the number of runs done.
    """
    results = {}
    for name, weights in BASELINES.items():
        results[name] = run_backtest(
            bars,
            FixedMix,
            params={"weights": weights},
            config=request.config.backtest,
            decide_from=decide_from,
            name=name,
        )
        tell(len(results))
    return results


def backtest_checkpoint(
    request: RunRequest,
    checkpoint: Path,
    out: Path,
    *,
    allow_in_sample: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Backtest a checkpoint that is there already, beside the baselines.

    Parameters
    ----------
    request : RunRequest
        Bars, device and settings.
    checkpoint : Path
        Folder of a checkpoint, a walk-forward set, or an ensemble of such sets.
    out : Path
        Folder for summary.json and the tables of equity, weights, decisions, orders.
    allow_in_sample : bool
        Whether sessions that the model was trained on are decided, and stamped.
    force : bool
        Replace an earlier backtest.
    progress : callable, optional
        Called after each run.

    Returns
    -------
    Summary
        Its crises are empty.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="equity.parquet", force=force)
    tell = progress or no_progress
    total = 1 + len(BASELINES)
    bars = requested_bars(request)
    policy = TRMPolicy.load(
        checkpoint, device=request.device, allow_in_sample=allow_in_sample
    )
    decide_from = _first_decision(bars, policy, checkpoint)
    ours = allocate(bars, policy, decide_from, request)
    tell("backtests", 1, total)
    baselines = run_baselines(
        bars,
        request,
        ours.equity.index[0],
        lambda done: tell("backtests", 1 + done, total),
    )
    results = {OURS: ours, **baselines}
    seed = policy.models[0].config.seed
    summary = summarize(bars, results, {}, [], [], seed=seed)
    with staged_folder(out) as folder:
        save_results(results, {}, folder)
        write_json(folder / SUMMARY, summary)
    if not allow_in_sample:
        record_run_trial(out, request.config, ours, bars)
    return summary


def _first_decision(bars: Bars, policy: TRMPolicy, path: Path) -> pd.Timestamp:
    """Return the first session that has features and that no model was trained on."""
    possible = bars.sessions[policy.schema.n_lookback - 1 :]
    known_on = pd.Timestamp(policy.models[0].record.last_label_known_on)
    if not policy.in_sample:
        possible = possible[possible > known_on]
    if not len(possible):
        raise BarsError(
            f"{path}: knows labels up to {known_on.date()}, and the bars end on "
            f"{bars.sessions[-1].date()}: no session is left to decide."
        )
    return possible[0]


def session_after(bars: Bars, session: pd.Timestamp | None) -> pd.Timestamp:
    """Return the first session after a freeze."""
    assert session is not None
    return bars.sessions[bars.sessions > session][0]
