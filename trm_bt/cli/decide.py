"""What a model holds now."""

from pathlib import Path

from trm_bt.cli.decision_text import decision_tables, report_lines
from trm_bt.cli.options import DeviceOption, InputOptions, app
from trm_bt.cli.terminal import Terminal


@app.command(name="decide")
def decide_command(
    checkpoint: Path,
    *,
    inputs: InputOptions = InputOptions(),
    portfolio: Path | None = None,
    device: DeviceOption = "auto",
    terminal: Terminal = Terminal(),
) -> None:
    """Show what a model holds after the last session of the bars, and why.

    Parameters
    ----------
    checkpoint : Path
        A checkpoint, a walk-forward set, or the folder of a finished run.
    portfolio : Path, optional
        JSON such as {"cash": 1000, "SPY": 10}: also print the orders that reach the
        weights.
    """
    from trm_bt.runs.decide import decide, open_model
    from trm_bt.runs.portfolio import Portfolio
    from trm_bt.runs.request import bars_for

    held = None if portfolio is None else Portfolio.read(portfolio)
    request, policy = inputs.request(device), open_model(checkpoint, device)
    report = decide(
        policy,
        bars_for(request, policy.schema),
        config=None if inputs.config is None else request.config,
        portfolio=held,
    )
    terminal.show(report, *report_lines(report), *decision_tables(report))
