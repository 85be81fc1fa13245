"""What `decide` prints: sentences and tables of what is held, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from trm_bt.cli.fitting import fitted
from trm_bt.figures import percent, signed

if TYPE_CHECKING:
    from trm_bt.runfolder.holding import DecisionReport, PlannedOrder


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def report_lines(report: "DecisionReport") -> list[str]:
    """Return what is held and why, in sentences."""
    if report.abstains_because is not None:
        said = f"{report.session}: cash. {report.abstains_because}"
    else:
        said = (
            f"{report.session}: {report.allocation}, decided in {report.n_steps} steps "
            f"by {report.model}, which knows outcomes up to {report.knows_until}."
        )
    lines = [said]
    if report.weights is None:
        lines.append("No weights have been decided yet: current holdings are kept.")
    else:
        shares = ", ".join(f"{k} {percent(v)}" for k, v in report.weights.items())
        lines.append(f"Weights, decided on {report.weights_decided_on}: {shares}.")
    if report.session_before is not None:
        lines.append(_change_line(report))
    if report.outside:
        lines.append(f"Outside the training range: {', '.join(report.outside)}.")
    if report.orders is not None:
        lines += _order_lines(report.orders)
    return lines


def decision_tables(report: "DecisionReport") -> list[Table]:
    """Return the features, and the probabilities if the model decided."""
    table = fitted(
        "Features at the close",
        *("feature", ">value", "?>change", ">z", ">trained from", ">to", "?status"),
    )
    for name, row in report.features.items():
        numbers = (row.value, row.change, row.z_score, row.low, row.high)
        forms = (".4g", "+.3g", "+.2f", ".4g", ".4g")
        cells = [_figure(n, form) for n, form in zip(numbers, forms, strict=True)]
        style = "bold" if row.is_outside else None
        table.add_row(name, *cells, row.status, style=style)
    if report.probabilities is None:
        return [table]
    chances = fitted("Probabilities", "allocation", ">probability", ">change")
    for name, value in report.probabilities.items():
        change = (report.probability_changes or {}).get(name)
        moved = "-" if change is None else f"{signed(100 * change, 1)}%"
        chances.add_row(name, percent(value), moved)
    return [chances, table]


def _change_line(report: "DecisionReport") -> str:
    """Say what changed since the session before."""
    before = report.allocation_before or "cash, as the model abstained"
    moved = {k: v for k, v in (report.weight_changes or {}).items() if v}
    if not moved:
        return f"Since {report.session_before} ({before}) no weight has changed."
    shares = ", ".join(
        f"{name} {signed(100 * value, 1)}%" for name, value in moved.items()
    )
    return f"Since {report.session_before} ({before}): {shares}."


def _order_lines(orders: "Sequence[PlannedOrder]") -> list[str]:
    """Return one line per order."""
    if not orders:
        return ["No orders: the portfolio already has these weights."]
    return [
        f"{order.side} {order.shares} {order.symbol} at the next open, sized from "
        f"{order.price:.2f}"
        for order in orders
    ]
