"""Models: train one, backtest it, and audit what looks ahead."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from trm_bt.cli.epochs import EpochLines
from trm_bt.cli.options import (
    BarsOption,
    ConfigOption,
    Device,
    DeviceOption,
    EndOption,
    ForceOption,
    JsonOption,
    ObservedOption,
    OutOption,
    SeedOption,
    StartOption,
    app,
    request_of,
    settings_of,
)
from trm_bt.cli.tables import audit_table, strategy_table
from trm_bt.cli.terminal import console, progress_bars
from trm_bt.config import TRMConfig
from trm_bt.errors import ConfigError, LookAheadError, TRMError

if TYPE_CHECKING:
    from trm_bt.audit.api import AuditResult, AuditSettings
    from trm_bt.market.bars import Bars
    from trm_bt.runfolder.records import RunRequest

CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Whose decisions and trades to audit."),
]
FeaturesOption = Annotated[
    str | None, typer.Option("--features", help="module:function, from Bars.")
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="module:function, from Bars.")
]
TrainingOption = Annotated[
    str | None,
    typer.Option("--training", help="module:function, from Bars and a freeze."),
]
CerebroOption = Annotated[
    str | None, typer.Option("--cerebro", help="module:function, from Bars.")
]
CutsOption = Annotated[
    str,
    typer.Option(
        "--cuts",
        help="Sessions to cut after, or 'all'; trainings have two freezes instead.",
    ),
]
RtolOption = Annotated[
    float, typer.Option("--rtol", min=0, help="Lets your numbers differ by this.")
]


@app.command("train")
def train_command(
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the checkpoint goes.")
    ] = None,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that was killed.")
    ] = False,
    self_check: Annotated[
        bool,
        typer.Option("--self-check", help="Only check that training works; no --out."),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train one model on all labels of the bars and save it as a checkpoint."""
    request = request_of(bars, settings_of(config, seed), start, end, observed)
    if self_check == (out is not None):
        raise ConfigError(
            "Give `--out` to train or `--self-check` to check, one of them."
        )
    if out is None:
        _check_training(request, as_json=as_json)
    else:
        _train(request, out, force=force, resume=resume, as_json=as_json)


def _train(
    request: "RunRequest", out: Path, *, force: bool, resume: bool, as_json: bool
) -> None:
    """Train, with a line an epoch, and print what came of it."""
    from trm_bt.runs.results import model_record
    from trm_bt.runs.train import train_checkpoint

    with progress_bars() as stages:
        model = train_checkpoint(
            request, out, force=force, resume=resume, progress=EpochLines(stages)
        )
    facts = model_record(model).model_dump(mode="json")
    if as_json:
        print(json.dumps(facts))
        return
    table = Table("what", "value", title=f"Checkpoint {out}")
    for key, value in facts.items():
        if isinstance(value, Mapping):
            for name, figure in value.items():
                table.add_row(f"{key} {name}", f"{figure:.5g}")
        else:
            table.add_row(key, str(value))
    console().print(table)
    print(out / "MODEL_CARD.md")


def _check_training(request: "RunRequest", *, as_json: bool) -> None:
    """Print the three checks; a failed one is a failed job."""
    from trm_bt.runs.train import check_training

    with progress_bars() as stages:
        checks = check_training(
            request,
            progress=lambda news: stages("training", news.step, news.total_steps),
        )
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    else:
        table = Table("check", "", "what was seen", title="Does training work at all?")
        for check in checks:
            passed = "passed" if check.is_passed else "FAILED"
            table.add_row(check.name, passed, check.figures)
        console().print(table)
    failed = [check.name for check in checks if not check.is_passed]
    if failed:
        raise TRMError(
            f"{len(failed)} of {len(checks)} checks of the training failed: "
            f"{', '.join(failed)}. See `docs/training.md` for what each needs."
        )


@app.command()
def backtest(
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="A checkpoint, or a folder of them.")
    ],
    out: OutOption,
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    device: DeviceOption = Device.auto,
    allow_in_sample: Annotated[
        bool,
        typer.Option(
            "--allow-in-sample",
            help="Also decide what the model was trained on; stamped everywhere.",
        ),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Backtest a checkpoint that is there already, beside SPY and the fixed mixes."""
    from trm_bt.runs.backtests import backtest_checkpoint

    request = request_of(bars, settings_of(config, None), start, end, observed, device)
    with progress_bars() as progress:
        summary = backtest_checkpoint(
            request,
            checkpoint,
            out,
            allow_in_sample=allow_in_sample,
            force=force,
            progress=progress,
        )
    if as_json:
        print(json.dumps(summary.model_dump(mode="json")))
        return
    terminal = console()
    terminal.print(summary.bars.source)
    terminal.print(strategy_table(summary))
    print(out / "summary.json")


@app.command()
def audit(
    bars: BarsOption = "sample",
    start: StartOption = None,
    end: EndOption = None,
    observed: ObservedOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    device: DeviceOption = Device.auto,
    checkpoint: CheckpointOption = None,
    features: FeaturesOption = None,
    policy: PolicyOption = None,
    training: TrainingOption = None,
    cerebro: CerebroOption = None,
    cuts: CutsOption = "200",
    rtol: RtolOption = 1e-6,
    as_json: JsonOption = False,
) -> None:
    """Look for look-ahead in this set-up, or in functions of your own."""
    from trm_bt.audit.api import AuditSettings
    from trm_bt.runs.request import requested_bars

    settings = settings_of(config, seed)
    kinds = {"features": features, "policy": policy}
    kinds |= {"training": training, "cerebro": cerebro}
    names = {kind: name for kind, name in kinds.items() if name is not None}
    if names and checkpoint is not None:
        raise ConfigError("`--checkpoint` goes with this set-up, not with your own.")
    n_cuts = _n_cuts(cuts)
    loaded = requested_bars(request_of(bars, settings, start, end, observed))
    with progress_bars() as progress:
        how = AuditSettings(n_cuts, settings.seed, rtol, progress)
        if names:
            results = _audit_functions(names, loaded, how)
        else:
            results = _audit_setup(loaded, settings, how, checkpoint, device)
    _tell_audit(results, loaded.source, as_json=as_json)


def _audit_functions(
    names: Mapping[str, str], bars: "Bars", how: "AuditSettings"
) -> "list[AuditResult]":
    """Audit functions of the user's."""
    from trm_bt.audit.named import audit_named

    return list(audit_named(names, bars, how))


def _audit_setup(
    bars: "Bars",
    settings: TRMConfig,
    how: "AuditSettings",
    checkpoint: Path | None,
    device: Device,
) -> "list[AuditResult]":
    """Audit the set-up of the settings, with a checkpoint if one is given."""
    from trm_bt.audit.setup import audit_setup
    from trm_bt.learning.ensemble import load_policy

    used = None
    if checkpoint is not None:
        used = load_policy(checkpoint, device=device.value)
    return list(audit_setup(bars, settings, how, used))


def _tell_audit(results: "list[AuditResult]", source: str, *, as_json: bool) -> None:
    """Print what was found, and raise `LookAheadError` if something was."""
    if as_json:
        print(json.dumps([result.to_dict() for result in results]))
    else:
        console().print(source)
        console().print(audit_table(results))
    leaks = [result for result in results if result.difference is not None]
    if leaks:
        raise LookAheadError(
            f"{len(leaks)} of {len(results)} checks found what depends on the future, "
            f"first {leaks[0].name}: {leaks[0].difference}."
        )


def _n_cuts(text: str) -> int | None:
    """Return a number of cuts, None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"`--cuts` must be a number above 0 or 'all', got '{text}'.")
    return int(text)
