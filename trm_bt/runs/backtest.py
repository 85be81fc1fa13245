"""A backtest of a checkpoint: the tables and the pages of a run, without training."""

import shlex
from pathlib import Path

import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.evaluation.benchmarks import OURS
from trm_bt.evaluation.trials import check_log, log_beside, record_run_trial
from trm_bt.files import staged_folder
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.splits import plan_crises
from trm_bt.manifest import check_replaceable
from trm_bt.market.bars import Bars
from trm_bt.market.crises import crises_of
from trm_bt.market.features import Features, compute_features, with_inputs_of
from trm_bt.market.labels import compute_labels
from trm_bt.processes import Progress, no_progress
from trm_bt.report import build
from trm_bt.runfolder.records import (
    CHECKPOINTS,
    OUT_OF_SAMPLE,
    RUN,
    SUMMARY,
    BarsRecord,
    RunRecord,
    RunRequest,
    Summary,
    versions,
)
from trm_bt.runfolder.store import write_json
from trm_bt.runs.backtests import RecordedPolicy, backtest_all
from trm_bt.runs.claim import announce
from trm_bt.runs.dataset import save_labels
from trm_bt.runs.decide import decide
from trm_bt.runs.request import choosing, requested_bars
from trm_bt.runs.results import model_record, save_now, save_results, summarize


def backtest_checkpoint(
    request: RunRequest,
    checkpoint: Path,
    out: Path,
    *,
    allow_in_sample: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Backtest an existing checkpoint, alongside the baselines.

    Parameters
    ----------
    request : RunRequest
        Bars, device and settings.
    checkpoint : Path
        Folder of a checkpoint, a walk-forward set, or an ensemble of such sets.
    out : Path
        Folder of the result: the tables and the pages of a run.
    allow_in_sample : bool
        Whether sessions that the model was trained on are decided, and stamped.
    force : bool
        Replace an earlier backtest.
    progress : callable, optional
        Called after each run.

    Returns
    -------
    Summary
        What summary.json holds. The crises that begin after the first decision are run
        on their own, each with what the checkpoint decides.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad; nothing is written then.
    """
    check_replaceable(out, marker="equity.parquet", without=CHECKPOINTS, force=force)
    if not allow_in_sample:
        check_log(log_beside(out))
    bars, progress = requested_bars(request), progress or no_progress
    policy = TRMPolicy.load(
        checkpoint, device=request.device, allow_in_sample=allow_in_sample
    )
    request = choosing(request, policy.schema)
    read = with_inputs_of(bars, policy.schema)
    features = compute_features(read, policy.schema.lookbacks)
    decided = _decided(policy, features, _first_decision(bars, policy, checkpoint))
    plans = plan_crises(bars.sessions, decided.first, crises_of(request.crises))
    begun = [plan.crisis.name for plan in plans if plan.first is not None]
    policies = dict.fromkeys((OUT_OF_SAMPLE, *begun), decided)
    done = backtest_all(bars, request, plans, policies, progress)
    record = _record(request, bars, policy, command=_command(request, checkpoint, out))
    seed, models = policy.models[0].config.seed, record.models
    summary = summarize(bars, done, plans, models, seed=seed)
    with staged_folder(out) as folder:
        save_results(done.results, done.crises, folder)
        labels = compute_labels(bars, features, request.config.labels)
        save_labels(labels, features, bars, request.config.labels, folder)
        write_json(folder / SUMMARY, summary)
        write_json(folder / RUN, record)
        announce(folder)
        if not allow_in_sample:  # counted before it stands
            record_run_trial(out, request.config, done.results[OURS], bars)
    save_now(decide(policy, bars, config=request.config), out)
    build(out, progress=progress)
    return summary


def _decided(
    policy: TRMPolicy, features: Features, first: pd.Timestamp
) -> RecordedPolicy:
    """Decide every session from the first one on, once for all backtests."""
    policy.check_schema(features.schema)
    rows = features.frame.loc[first:]
    decisions = policy.decide(pd.DatetimeIndex(rows.index), rows.to_numpy())
    return RecordedPolicy(policy.schema, decisions)


def _record(
    request: RunRequest, bars: Bars, policy: TRMPolicy, *, command: str
) -> RunRecord:
    return RunRecord(
        finished=True,
        command=command,
        request=request,
        versions=versions(),
        bars=BarsRecord.of(bars),
        feature_schema=policy.schema,
        models=tuple(model_record(m) for group in policy.members for m in group),
    )


def _command(request: RunRequest, checkpoint: Path, out: Path) -> str:
    words = ["trm-bt", "backtest", "--bars", request.bars]
    return shlex.join([*words, "--checkpoint", str(checkpoint), "--out", str(out)])


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
