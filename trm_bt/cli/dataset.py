"""Training data of a model: features and labels."""

from trm_bt.cli.options import InputOptions, OutputOptions, app
from trm_bt.cli.tables import feature_table, label_tables
from trm_bt.cli.terminal import Terminal
from trm_bt.errors import RunError


@app.command
def features(
    inputs: InputOptions = InputOptions(),
    *,
    output: OutputOptions,
    terminal: Terminal = Terminal(),
) -> None:
    """Compute the ten features: parquet, CSV, JSON and a picture in one folder."""
    from trm_bt.files import staged_folder
    from trm_bt.manifest import check_replaceable
    from trm_bt.market.features import compute_features
    from trm_bt.report import feature_picture
    from trm_bt.runs.dataset import save_features
    from trm_bt.runs.request import requested_bars

    out = output.out
    if out.suffix in {".csv", ".parquet"}:
        raise RunError(
            f"{out}: must be a folder, for features.parquet, features.csv, "
            f"features.json and features.png. Choose --out {out.with_suffix('')}."
        )
    check_replaceable(out, marker="features.json", force=output.force)
    request = inputs.request()
    bars = requested_bars(request)
    computed = compute_features(bars, request.config.features)
    with staged_folder(out) as folder:
        facts = save_features(computed, bars, folder)
        feature_picture(computed, folder / "features.png")
    terminal.show(facts, bars.source, feature_table(computed), path=out)


@app.command
def labels(
    inputs: InputOptions = InputOptions(),
    *,
    output: OutputOptions,
    crises: bool = False,
    terminal: Terminal = Terminal(),
) -> None:
    """Label every session with the allocation that was best over the horizon.

    Parameters
    ----------
    crises : bool
        Only sessions inside the twelve crises.
    """
    from trm_bt.runs.dataset import write_labels

    summary = write_labels(
        inputs.request(), output.out, only_crises=crises, force=output.force
    )
    terminal.show(summary, summary.bars.source, *label_tables(summary), path=output.out)
