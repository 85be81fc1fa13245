"""The one runner: bars, splits, models, decisions, backtests and pages in one folder.

Models are saved as soon as they are trained, so that an interrupted run resumes with
them.
"""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trm_bt import report
from trm_bt.errors import CheckpointError
from trm_bt.evaluation.benchmarks import OURS, baselines
from trm_bt.evaluation.trials import check_log, log_beside, record_run_trial
from trm_bt.executors import Runner, opened
from trm_bt.files import exclusive_lock, staged_files
from trm_bt.learning.checkpoint import is_checkpoint, load_checkpoint
from trm_bt.learning.memory import check_memory
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import TrainedModel, TrainingProgress
from trm_bt.learning.splits import Split
from trm_bt.learning.workers import TrainingJob, train_each
from trm_bt.manifest import check_replaceable, check_target
from trm_bt.market.allocations import Allocations
from trm_bt.market.decisions import Decision
from trm_bt.processes import Progress, no_progress
from trm_bt.runfolder.records import (
    CHECKPOINTS,
    OUT_OF_SAMPLE,
    RUN,
    SUMMARY,
    BarsRecord,
    ModelRecord,
    RunRecord,
    RunRequest,
    Summary,
    versions,
)
from trm_bt.runfolder.store import read_summary, write_json
from trm_bt.runs.backtests import RecordedPolicy, backtest_all
from trm_bt.runs.claim import claim, write_record
from trm_bt.runs.dataset import save_labels
from trm_bt.runs.decide import decide
from trm_bt.runs.pooled import Pooled, training_universes
from trm_bt.runs.results import model_record, save_now, save_results, summarize
from trm_bt.runs.train import save_trained
from trm_bt.runs.work import Seconds, Work, lay_out, timed

_LOG = logging.getLogger(__name__)


@dataclass
class _Decided:
    """What the models of the splits decided.

    Parameters
    ----------
    by_run : dict of str to list of Decision
        The decisions of the continuous run, and those of each crisis, all by the split
        in which it begins.
    models : list of ModelRecord
        Split by split, the models that decided it.
    rows : list of dict
        A row of the table of decisions for each decision of the continuous run.
    """

    by_run: dict[str, list[Decision]] = field(default_factory=dict)
    models: list[ModelRecord] = field(default_factory=list)
    rows: list[Mapping[str, object]] = field(default_factory=list)


def run(
    bars: RunRequest | str | Path,
    out: str | Path,
    *,
    command: str | None = None,
    force: bool = False,
    executor: Runner = None,
    progress: Progress | None = None,
) -> Summary:
    """Train the models of every split, decide out of sample, backtest and report.

    More than one process are new ones, which import the caller's main module: guard a
    script with ``if __name__ == "__main__"``.

    Parameters
    ----------
    bars : str, Path or RunRequest
        "sample", "yahoo" or a folder, with the default settings; or a request, which
        also has settings, span and schedule.
    out : str or Path
        The run folder. If it holds the same run unfinished, the run resumes with its
        checkpoints; if it holds it finished, nothing is done.
    command : str, optional
        The command line, shown on the page; by default a call of this function.
    force : bool
        Replace another run.
    executor : Executor, Workers or int, optional
        What trains the models and makes backtests and pages; a number of processes, by
        default one per processor.
    progress : callable, optional
        Called as each stage advances.

    Returns
    -------
    Summary
        What summary.json holds.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, another process uses the folder, or an existing checkpoint
        is invalid; the folder is then unchanged.
    """
    request = bars if isinstance(bars, RunRequest) else RunRequest(str(bars))
    out, command = Path(out), command or f"trm_bt.run({request.bars!r}, {str(out)!r})"
    _check_before(request, out)
    progress, seconds = progress or no_progress, Seconds()
    with timed(seconds, "bars"):
        loaded, pooled = training_universes(request)
    work = lay_out(request, loaded, seconds, pooled)
    work.check_jobs()
    record, jobs = _record(work, pooled, command), _jobs(out, work)
    with exclusive_lock(out), opened(executor) as pool:
        if claim(out, record, jobs, force=force):
            _LOG.warning(
                "%s: this run is already complete; nothing was done. To repeat it, "
                "give another --out.",
                out,
            )
            return read_summary(out)
        with timed(seconds, "training"):
            _train(work, jobs, pool, progress)
        with timed(seconds, "deciding"):
            decided = _decide(out, work, progress)
        write_record(out, record)  # what is there is not of these decisions
        with timed(seconds, "backtests"):
            summary = _save_tables(out, work, decided, pool, progress)
        facts = {"finished": True, "models": tuple(decided.models), "seconds": seconds}
        write_record(out, record.model_copy(update=facts))
        save_now(decide(out, work.bars, device=request.device), out)
        with timed(seconds, "report"):
            report.build(out, executor=pool, progress=progress)
        write_record(out, record.model_copy(update=facts))
    return summary


def _check_before(request: RunRequest, out: Path) -> None:
    """Refuse what would fail later, before the bars are read."""
    if request.schedule == "calendar":
        request.config.check_walkable()
    else:
        request.config.check_trainable()
    check_memory(request.config)
    check_target(out)
    if not (out / RUN).exists():
        check_replaceable(out, force=True)
    check_log(log_beside(out))
    table = request.config.labels.allocations
    baselines(Allocations.of(table))  # refuses a name that is taken


def _jobs(out: Path, work: Work) -> dict[Path, TrainingJob]:
    """Return the training of each checkpoint folder, seed by seed."""
    return {
        _checkpoint(out, work, split, seed): work.job(split, seed)
        for seed in work.seeds
        for split in work.splits
    }


def _record(work: Work, pooled: Pooled, command: str) -> RunRecord:
    """Return what is known of a run before its first model is trained."""
    return RunRecord(
        finished=False,
        command=command,
        request=work.request,
        versions=versions(),
        bars=BarsRecord.of(work.bars),
        feature_schema=work.features.schema,
        pooled={name: BarsRecord.of(bars) for name, bars in pooled.items()},
    )


def _checkpoint(out: Path, work: Work, split: Split, seed: int) -> Path:
    """Return the checkpoint folder of a split's model."""
    folder = out / CHECKPOINTS
    return (folder / f"seed_{seed}" if work.by_calendar else folder) / split.name


def _train(
    work: Work, jobs: Mapping[Path, TrainingJob], executor: Runner, progress: Progress
) -> None:
    """Train and save the missing models."""
    missing = {folder: job for folder, job in jobs.items() if not is_checkpoint(folder)}
    folders = {job.name: folder for folder, job in missing.items()}
    n_epochs = work.request.config.training.epochs
    shares = _Shares(len(jobs), len(jobs) - len(missing), n_epochs, progress)
    trainings = train_each(
        list(missing.values()), work.lesson, executor=executor, progress=shares.hear
    )
    with closing(trainings):  # whatever fails here, the processes end with it
        for model in trainings:
            save_trained(model, work.labels, work.bars, folders[model.name])
            shares.advance(model.name, 1.0)
    progress("training", 1, 1)


class _Shares:
    """Turns the news of trainings side by side into one count, in thousandths."""

    def __init__(
        self, n_models: int, n_there: int, n_epochs: int, progress: Progress
    ) -> None:
        self._n_models, self._n_there = n_models, n_there
        self._n_epochs, self._progress = n_epochs, progress
        self._shares: dict[str, float] = {}

    def hear(self, news: TrainingProgress) -> None:
        """Note how far a training is."""
        words = f"training {news.name}, epoch {news.epoch} of {self._n_epochs}"
        self.advance(news.name, news.step / news.total_steps, words)

    def advance(self, name: str, share: float, words: str = "training") -> None:
        """Note which share of a training is done."""
        self._shares[name] = share
        done = self._n_there + sum(self._shares.values())
        self._progress(words, round(1000 * done), 1000 * self._n_models)


def _decide(out: Path, work: Work, progress: Progress) -> _Decided:
    """Have each split's models decide its sessions, and the crises begun in it."""
    decided = _Decided({OUT_OF_SAMPLE: []})
    for n_done, split in enumerate(work.splits):
        progress("deciding", n_done, len(work.splits))
        models = _models_of(out, work, split)
        policy = TRMPolicy(*[[model] for model in models], device=work.request.device)
        policy.check_schema(work.features.schema)

        for plan in filter(split.decides, work.plans):
            decided.by_run[plan.crisis.name] = work.decide(policy, plan)
        decisions = work.decide(policy, split)
        decided.by_run[OUT_OF_SAMPLE] += decisions
        decided.models += map(model_record, models)
        decided.rows += [_row(decision, split, models[0]) for decision in decisions]
    progress("deciding", 1, 1)
    return decided


def _models_of(out: Path, work: Work, split: Split) -> list[TrainedModel]:
    """Load a split's models and refuse one of other settings."""
    models = []
    for seed in work.seeds:
        folder = _checkpoint(out, work, split, seed)
        model = load_checkpoint(folder)
        if model.config != work.request.config.model_copy(update={"seed": seed}):
            raise CheckpointError(
                f"{folder}: must be a model with this run's settings, but has others. "
                "Remove it to train it again."
            )
        models.append(model)
    return models


def _row(decision: Decision, split: Split, model: TrainedModel) -> Mapping[str, object]:
    """Return a decision with its models and what they knew."""
    return {
        "session": decision.decided_on,
        "fold": split.name,
        "model": decision.decided_by,
        "base_model": decision.model,
        "n_seeds": decision.n_models,
        "trained_until": pd.Timestamp(model.record.validation_end),
        "last_label_known_on": pd.Timestamp(model.record.last_label_known_on),
        "allocation": decision.allocation,
        "confidence": decision.confidence,
        "halt_prob": decision.halt_prob,
        "n_steps": decision.n_steps,
        **{f"prob_{k}": p for k, p in enumerate(decision.probabilities)},
    }


def _save_tables(
    out: Path, work: Work, decided: _Decided, executor: Runner, progress: Progress
) -> Summary:
    """Backtest what was decided, write every table of the run, and count it."""
    request, bars = work.request, work.bars
    policies = {
        name: RecordedPolicy(work.features.schema, decisions)
        for name, decisions in decided.by_run.items()
    }
    plans, seed = work.plans, request.config.seed
    done = backtest_all(bars, request, plans, policies, progress, executor)
    summary = summarize(bars, done, plans, decided.models, seed=seed)
    with staged_files(out) as new:
        work.features.frame.to_parquet(new / "features.parquet")
        save_labels(work.labels, work.features, bars, request.config.labels, new)
        pd.DataFrame(decided.rows).to_parquet(new / f"{OUT_OF_SAMPLE}.parquet")
        save_results(done.results, done.crises, new)
        write_json(new / SUMMARY, summary)
    record_run_trial(out, request.config, done.results[OURS], bars)
    return summary
