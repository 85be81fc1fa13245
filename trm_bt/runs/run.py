"""The one runner: bars, splits, models, decisions, backtests and pages in one folder.

Models are saved as soon as they are trained, so that a run that was stopped anywhere
resumes with those it has.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from trm_bt import report
from trm_bt.errors import BarsError, CheckpointError
from trm_bt.evaluation.benchmarks import OURS, baselines
from trm_bt.evaluation.trials import check_log, log_beside, record_run_trial
from trm_bt.files import exclusive_lock, staged_files
from trm_bt.learning.checkpoint import is_checkpoint, load_checkpoint
from trm_bt.learning.dataset import samples_from_labels, split_chronologically
from trm_bt.learning.memory import check_memory
from trm_bt.learning.policy import TRMPolicy
from trm_bt.learning.records import ProgressCallback, TrainedModel, TrainingProgress
from trm_bt.learning.splits import (
    CrisisPlan,
    Split,
    before_crises,
    by_calendar,
    plan_crises,
)
from trm_bt.learning.workers import TrainingJob, train_each
from trm_bt.manifest import check_replaceable, check_target
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import Bars
from trm_bt.market.decisions import Decision
from trm_bt.market.features import Features, compute_features
from trm_bt.market.labels import compute_labels
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
from trm_bt.runs.backtests import RecordedPolicy, backtest_all, compare_schedules
from trm_bt.runs.claim import claim, write_record
from trm_bt.runs.dataset import save_labels
from trm_bt.runs.decide import decide
from trm_bt.runs.request import training_bars
from trm_bt.runs.results import model_record, save_now, save_results, summarize
from trm_bt.runs.train import save_trained

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    """What a run works on, and the folder that it fills."""

    record: RunRecord
    bars: Bars
    features: Features
    labels: pd.DataFrame
    splits: Sequence[Split]
    plans: Sequence[CrisisPlan]
    out: Path

    @property
    def request(self) -> RunRequest:
        """Bars and settings."""
        return self.record.request

    @property
    def by_calendar(self) -> bool:
        """Whether the splits follow the calendar, not the crises."""
        return self.request.schedule == "calendar"

    def jobs(self) -> dict[Path, TrainingJob]:
        """Return the training of each checkpoint folder, seed by seed."""
        config, samples = self.request.config, samples_from_labels(self.labels)
        window = config.walkforward.window if self.by_calendar else None
        return {
            self.checkpoint(split, seed): TrainingJob(
                f"{split.name} seed {seed}" if self.by_calendar else split.name,
                split.samples(samples, window),
                seed,
            )
            for seed in self.seeds
            for split in self.splits
        }

    @property
    def seeds(self) -> range:
        """The seeds averaged in every split."""
        config = self.request.config
        n_seeds = config.walkforward.n_seeds if self.by_calendar else 1
        return range(config.seed, config.seed + n_seeds)

    def checkpoint(self, split: Split, seed: int) -> Path:
        """Return the checkpoint folder of a split's model."""
        folder = self.out / CHECKPOINTS
        return (folder / f"seed_{seed}" if self.by_calendar else folder) / split.name


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
    n_processes: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Train the models of every split, decide out of sample, backtest and report.

    Parameters
    ----------
    bars : str, Path or RunRequest
        "sample", "yahoo" or a folder, with the default settings; or a request, which
        has settings, span and the schedule of the splits beside them.
    out : str or Path
        The run folder. If it holds the same run unfinished, its checkpoints are kept
        and the rest is made; if it holds it finished, nothing is made.
    command : str, optional
        The command line, shown on the page; by default a call of this function.
    force : bool
        Replace another run.
    n_processes : int, optional
        Models trained at a time, by default one per processor.
    progress : callable, optional
        Called as each stage moves on.

    Returns
    -------
    Summary
        What summary.json holds.

    Raises
    ------
    BarsError, CheckpointError, ConfigError, RunError
        If the input is bad, another process is at work in the folder, or an existing
        checkpoint cannot be believed; the folder stays as it is then.
    """
    request = bars if isinstance(bars, RunRequest) else RunRequest(str(bars))
    out, command = Path(out), command or f"trm_bt.run({request.bars!r}, {str(out)!r})"
    _check_before(request, out)
    progress, seconds = progress or no_progress, dict[str, float]()
    work = _prepare(request, out, command, seconds)
    jobs = work.jobs()
    for job in jobs.values():  # refuse one of too few labels before any is trained
        split_chronologically(job.samples, request.config.training.validation_fraction)
    with exclusive_lock(out):
        if claim(out, work.record, jobs, force=force):
            _LOG.warning(
                "%s: this run is already done, and nothing was made. To repeat it, "
                "give another --out.",
                out,
            )
            return read_summary(out)
        with _timed(seconds, "training"):
            _train(work, jobs, n_processes, progress)
        with _timed(seconds, "deciding"):
            decided = _decide(work, progress)
        write_record(out, work.record)  # what is there is not of these decisions
        with _timed(seconds, "backtests"):
            summary = _save_tables(work, decided, progress)
        facts = {"finished": True, "models": tuple(decided.models), "seconds": seconds}
        write_record(out, work.record.model_copy(update=facts))
        save_now(decide(out, work.bars, device=request.device), out)
        with _timed(seconds, "report"):
            report.build(out, progress=progress)
        write_record(out, work.record.model_copy(update=facts))
    return summary


def _check_before(request: RunRequest, out: Path) -> None:
    """Refuse what could not end well before the bars are read."""
    if request.schedule == "calendar":
        request.config.check_walkable()
    else:
        request.config.check_trainable()
    check_memory(request.config)
    check_target(out)
    if not (out / RUN).exists():
        check_replaceable(out, force=True)
    check_log(log_beside(out))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note the wall seconds of a stage."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 2)


def _prepare(
    request: RunRequest, out: Path, command: str, seconds: dict[str, float]
) -> _Work:
    """Load the bars, compute features and labels, and lay out the splits."""
    config = request.config
    baselines(Allocations.of(config.labels.allocations))  # refuses a name that is taken
    with _timed(seconds, "bars"):
        bars = training_bars(request)
    with _timed(seconds, "features"):
        features = compute_features(bars, config.features)
    with _timed(seconds, "labels"):
        labels = compute_labels(bars, features, config.labels)
    features = replace(features, schema=features.schema.choosing(config.labels))
    record = RunRecord(
        finished=False,
        command=command,
        request=request,
        versions=versions(),
        bars=BarsRecord.of(bars),
        feature_schema=features.schema,
    )
    known_on = pd.DatetimeIndex(labels["known_on"])
    if request.schedule == "calendar":
        sessions = pd.DatetimeIndex(features.frame.index)
        splits = by_calendar(sessions, known_on, config)
        plans = plan_crises(bars.sessions, splits[0].first)
    else:
        minimum = config.training.min_labels
        splits, plans = before_crises(bars.sessions, known_on, minimum)
    if not splits:
        reasons = "; ".join(f"{plan.crisis.name}: {plan.reason}" for plan in plans)
        raise BarsError(
            "The bars must cover at least one crisis with enough history before it, "
            f"and cover none ({reasons})."
        )
    return _Work(record, bars, features, labels, splits, plans, out)


def _train(
    work: _Work,
    jobs: Mapping[Path, TrainingJob],
    n_processes: int | None,
    progress: Progress,
) -> None:
    """Train and save the models that are not there yet."""
    missing = {folder: job for folder, job in jobs.items() if not is_checkpoint(folder)}
    folders = {job.name: folder for folder, job in missing.items()}
    trainings = train_each(
        list(missing.values()),
        work.features.schema,
        work.request.config,
        n_processes=n_processes,
        progress=_training_progress(work, len(jobs), len(missing), progress),
    )
    with closing(trainings):  # whatever fails here, the processes end with it
        for model in trainings:
            save_trained(model, work.labels, work.bars, folders[model.name])
    progress("training", 1, 1)


def _training_progress(
    work: _Work, n_models: int, n_missing: int, progress: Progress
) -> ProgressCallback:
    """Turn the news of trainings side by side into one count, in thousandths."""
    shares: dict[str, float] = {}
    n_epochs = work.request.config.training.epochs

    def advance(news: TrainingProgress) -> None:
        shares[news.name] = news.step / news.total_steps
        done = n_models - n_missing + sum(shares.values())
        words = f"training {news.name}, epoch {news.epoch} of {n_epochs}"
        progress(words, round(1000 * done), 1000 * n_models)

    return advance


def _decide(work: _Work, progress: Progress) -> _Decided:
    """Have each split's models decide its sessions, and the crises begun in it."""
    frame = work.features.frame
    sessions = pd.DatetimeIndex(frame.index)
    decided = _Decided({OUT_OF_SAMPLE: []})
    for n_done, split in enumerate(work.splits):
        progress("deciding", n_done, len(work.splits))
        models = _models_of(work, split)
        policy = TRMPolicy(*[[model] for model in models], device=work.request.device)
        policy.check_schema(work.features.schema)

        for plan in filter(split.decides, work.plans):
            rows = frame[plan.mask(sessions)]
            decided.by_run[plan.crisis.name] = _decide_rows(policy, rows)
        decisions = _decide_rows(policy, frame[split.mask(sessions)])
        decided.by_run[OUT_OF_SAMPLE] += decisions
        decided.models += map(model_record, models)
        decided.rows += [_row(decision, split, models[0]) for decision in decisions]
    progress("deciding", 1, 1)
    return decided


def _decide_rows(policy: TRMPolicy, rows: pd.DataFrame) -> list[Decision]:
    return policy.decide(pd.DatetimeIndex(rows.index), rows.to_numpy())


def _models_of(work: _Work, split: Split) -> list[TrainedModel]:
    """Load a split's models and refuse one of other settings."""
    models = []
    for seed in work.seeds:
        folder = work.checkpoint(split, seed)
        model = load_checkpoint(folder)
        if model.config != work.request.config.model_copy(update={"seed": seed}):
            raise CheckpointError(
                f"{folder}: must be a model of this run's settings, and is of others. "
                "Remove it, and it is trained anew."
            )
        models.append(model)
    return models


def _row(decision: Decision, split: Split, model: TrainedModel) -> Mapping[str, object]:
    """Return a decision with whose it is and what its models knew."""
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


def _save_tables(work: _Work, decided: _Decided, progress: Progress) -> Summary:
    """Backtest what was decided, write every table of the run, and count it."""
    out, request, bars = work.out, work.request, work.bars
    policies = {
        name: RecordedPolicy(work.features.schema, decisions)
        for name, decisions in decided.by_run.items()
    }
    results, crises = backtest_all(bars, request, work.plans, policies, progress)
    seed = request.config.seed
    summary = summarize(bars, results, crises, work.plans, decided.models, seed=seed)
    policy = policies[OUT_OF_SAMPLE]
    summary = summary.model_copy(
        update=compare_schedules(bars, policy, results[OURS], request)
    )
    with staged_files(out) as new:
        work.features.frame.to_parquet(new / "features.parquet")
        save_labels(work.labels, work.features, bars, request.config.labels, new)
        pd.DataFrame(decided.rows).to_parquet(new / f"{OUT_OF_SAMPLE}.parquet")
        save_results(results, crises, new)
        write_json(new / SUMMARY, summary)
    record_run_trial(out, request.config, results[OURS], bars)
    return summary
