"""Models: train one, backtest it, and audit it for look-ahead."""

import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from trm_bt.cli.options import (
    CrisesOptions,
    DeviceOption,
    ForceOption,
    Once,
    OutputOptions,
    TrainingOptions,
    WorkerOptions,
    app,
)
from trm_bt.cli.tables import audit_table, check_table, model_table, summary_parts
from trm_bt.cli.terminal import Stages, Terminal
from trm_bt.errors import ConfigError, LookAheadError, TRMError
from trm_bt.text import shown

if TYPE_CHECKING:
    from trm_bt.learning.records import EpochRecord, TrainingProgress
    from trm_bt.runfolder.records import RunRequest

_BASIS_POINT: Final = 1e-4
_HEADER: Final = (
    "epoch   loss: all   name   halt  profit | validation: loss  accuracy (majority)"
    "  bp per session (best fixed) |   rate   left"
)
_SHORT_HEADER: Final = (
    "epoch   loss: train       validation  accuracy (majority)    left"
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What to train, and how to treat an earlier training."""

    out: Path | None = None
    """Folder of the checkpoint."""
    resume: bool = False
    """Resume an interrupted training."""
    self_check: bool = False
    """Only check that training works; no --out."""
    force: ForceOption = False


@app.command(name="train")
def train_command(
    inputs: TrainingOptions = TrainingOptions(),
    *,
    training: TrainOptions = TrainOptions(),
    device: DeviceOption = "auto",
    terminal: Terminal = Terminal(),
) -> None:
    """Train one model on all labels of the bars and save it as a checkpoint."""
    request = inputs.request(device)
    if training.self_check == (training.out is not None):
        raise ConfigError("Give either `--out` to train or `--self-check` to check.")
    if training.out is None:
        _check_training(request, terminal)
        return
    from trm_bt.runs.results import model_record
    from trm_bt.runs.train import train_checkpoint

    with terminal.progress() as stages:
        model = train_checkpoint(
            request,
            training.out,
            force=training.force,
            resume=training.resume,
            progress=EpochLines(stages),
        )
    record = model_record(model)
    terminal.show(record, model_table(record), path=training.out / "MODEL_CARD.md")


class EpochLines:
    """Turn the progress of a training into a bar and one line per epoch.

    Losses are means over the epoch. "majority" is the accuracy of always naming the
    majority class of the validation rows, "best fixed" the utility of the best single
    allocation on them, both with hindsight.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._start = time.monotonic()
        self._first_step: int | None = None
        self._is_wide = stages.width >= len(_HEADER)

    def __call__(self, progress: "TrainingProgress") -> None:
        """Show one optimiser step or one epoch."""
        words = f"training {progress.name}, epoch {progress.epoch}"
        self._stages(words, progress.step, progress.total_steps)
        if self._first_step is None:
            self._start, self._first_step = time.monotonic(), progress.step - 1
            self._stages.say(_HEADER if self._is_wide else _SHORT_HEADER)
        if progress.finished is not None:
            taken, n_done = time.monotonic() - self._start, progress.step
            pace = taken / max(n_done - self._first_step, 1)
            seconds_left = round(pace * (progress.total_steps - n_done))
            line = _line if self._is_wide else _short_line
            self._stages.say(line(progress, progress.finished, seconds_left))


def _short_line(
    progress: "TrainingProgress", epoch: "EpochRecord", seconds_left: int
) -> str:
    """Return what an 80-column terminal has room for."""
    left = f"{seconds_left // 60}:{seconds_left % 60:02}"
    return (
        f"{epoch.epoch:5} {epoch.train_loss:12.4f} {epoch.validation_loss:16.4f} "
        f"{epoch.validation_accuracy:9.1%} ({progress.majority_accuracy:8.1%}) "
        f"{left:>7}"
    )


def _line(progress: "TrainingProgress", epoch: "EpochRecord", seconds_left: int) -> str:
    utility = epoch.validation_utility / _BASIS_POINT
    fixed = progress.best_fixed_utility / _BASIS_POINT
    left = f"{seconds_left // 60}:{seconds_left % 60:02}"
    return (
        f"{epoch.epoch:5}   {epoch.train_loss:9.4f} "
        f"{epoch.train_strategy_loss:6.3f} {epoch.train_halt_loss:6.3f} "
        f"{epoch.train_profit_loss:7.3f} | "
        f"{epoch.validation_loss:16.4f}  {epoch.validation_accuracy:8.1%} "
        f"({progress.majority_accuracy:8.1%})  {utility:14.2f} ({fixed:10.2f}) | "
        f"{epoch.learning_rate:.1e} {left:>6}"
    )


def _check_training(request: "RunRequest", terminal: Terminal) -> None:
    """Print the three checks; a failed one is a failed job."""
    from trm_bt.runs.train import check_training

    with terminal.progress() as stages:
        checks = check_training(
            request,
            progress=lambda news: stages("training", news.step, news.total_steps),
        )
    terminal.show([asdict(check) for check in checks], check_table(checks))
    failed = [check.name for check in checks if not check.is_passed]
    if failed:
        raise TRMError(
            f"{len(failed)} of {len(checks)} training checks failed: "
            f"{', '.join(failed)}. See `docs/training.md` for what each needs."
        )


@app.command
def backtest(
    inputs: CrisesOptions = CrisesOptions(),
    *,
    checkpoint: Path,
    output: OutputOptions,
    device: DeviceOption = "auto",
    allow_in_sample: bool = False,
    terminal: Terminal = Terminal(),
) -> None:
    """Backtest an existing checkpoint alongside SPY and the fixed mixes.

    Parameters
    ----------
    checkpoint : Path
        A checkpoint, or a folder of checkpoints.
    allow_in_sample : bool
        Also decide sessions of the training span; every output is marked.
    """
    from trm_bt.runs.backtest import backtest_checkpoint

    with terminal.progress() as progress:
        summary = backtest_checkpoint(
            inputs.request(device),
            checkpoint,
            output.out,
            allow_in_sample=allow_in_sample,
            force=output.force,
            progress=progress,
        )
    terminal.show(summary, *summary_parts(summary), path=output.out / "index.html")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What to audit and how strictly."""

    checkpoint: Path | None = None
    """Audit the decisions and trades of this checkpoint too."""
    features: Annotated[str | None, Once] = None
    """Audit module:function, from Bars to features."""
    policy: Annotated[str | None, Once] = None
    """Audit module:function, from Bars to decisions."""
    training: Annotated[str | None, Once] = None
    """Audit module:function, from Bars and a freeze to a model."""
    cerebro: Annotated[str | None, Once] = None
    """Audit module:function, from Bars to a Cerebro."""
    cuts: str = "200"
    """Number of sessions to cut after, or 'all'; training has two freezes instead."""
    rtol: Annotated[float, Parameter(validator=Number(gte=0))] = 1e-6
    """Relative tolerance for the results of your functions."""

    def functions(self) -> dict[str, str]:
        """Return the names of the user's functions by kind."""
        kinds = ("features", "policy", "training", "cerebro")
        given = {kind: getattr(self, kind) for kind in kinds}
        return {kind: name for kind, name in given.items() if name is not None}

    def n_cuts(self) -> int | None:
        """Return the number of cuts, None for all."""
        if self.cuts == "all":
            return None
        if not re.fullmatch("[1-9][0-9]{0,8}", self.cuts):
            raise ConfigError(
                f"`--cuts` must be a number above 0 or 'all', got {shown(self.cuts)}."
            )
        return int(self.cuts)


@app.command(name="audit")
def audit_command(
    inputs: TrainingOptions = TrainingOptions(),
    *,
    audit: AuditOptions = AuditOptions(),
    device: DeviceOption = "auto",
    workers: WorkerOptions = WorkerOptions(),
    terminal: Terminal = Terminal(),
) -> None:
    """Audit this set-up, or your own functions, for look-ahead."""
    from trm_bt.audit.checks import AuditSettings
    from trm_bt.runs.request import requested_bars

    config, functions, n_cuts = inputs.settings(), audit.functions(), audit.n_cuts()
    if functions:
        _refuse_what_is_ignored(inputs, audit, device)
    request, runner = inputs.request(), workers.workers(1)
    with terminal.progress() as progress:
        settings = AuditSettings(n_cuts, config.seed, audit.rtol, progress)
        if functions:
            from trm_bt.audit.named import audit_named

            bars = requested_bars(request)
            results = list(audit_named(functions, bars, settings, runner))
        else:
            from trm_bt.audit.setup import audit_setup
            from trm_bt.learning.policy import TRMPolicy
            from trm_bt.runs.pooled import training_universes

            policy, chosen = None, audit.checkpoint
            if chosen is not None:
                policy = TRMPolicy.load(chosen, device=device, keeps_answers=False)
            schema = policy.schema if policy else None
            bars, pooled = training_universes(request, schema)
            results = list(audit_setup(bars, config, settings, policy, runner, pooled))
    facts = [result.to_dict() for result in results]
    terminal.show(facts, bars.source, audit_table(results))
    leaks = [result for result in results if result.difference is not None]
    if leaks:
        raise LookAheadError(
            f"{len(leaks)} of {len(results)} checks found values that depend on the "
            f"future, first {leaks[0].name}: {leaks[0].difference}."
        )


def _refuse_what_is_ignored(
    inputs: TrainingOptions, audit: AuditOptions, device: str
) -> None:
    """Refuse options of this set-up beside functions, which do not read them."""
    of_set_up = {
        "`--checkpoint`": audit.checkpoint is not None,
        "`--inputs`": bool(inputs.inputs),
        "`--device`": device != "auto",
        "A second `--bars`": len(inputs.bars) > 1,
    }
    for name, is_given in of_set_up.items():
        if is_given:
            raise ConfigError(f"{name} is for this set-up, not your own functions.")
