"""The lines of `TRMDecision`, which follow from what its policy chooses from."""

from functools import cache

import backtrader as bt

from trm_bt.market.allocations import Allocations


def decision_lines(allocations: Allocations) -> tuple[str, ...]:
    """Return the lines of an indicator of decisions."""
    return (*allocations.columns("prob"), "halt_prob", "allocation")


class MetaDecision(type(bt.Indicator)):  # type: ignore[misc] # Backtrader has no types
    """Load the policy first: lines are the class's, and known before an instance is.

    Backtrader makes lines when it makes a class. Where the policy chooses from other
    allocations than the eight, the instance is of a class derived for these.
    """

    def doprenew(cls, *args: object, **kwargs: object) -> tuple[type, object, object]:
        """Return the class whose lines are those of the policy."""
        made, args, kwargs = super().doprenew(*args, **kwargs)
        policy = made.loaded_policy(kwargs)
        lines = decision_lines(policy.schema.table)
        if lines != made.lines.getlinealiases():
            made = _with_lines(made, lines)
        return made, args, {**kwargs, "policy": policy}


@cache
def _with_lines(indicator: type, lines: tuple[str, ...]) -> type:
    """Derive an indicator with lines of its own in the place of those it has."""
    body = {
        "lines": lines,
        "linesoverride": True,
        "__doc__": indicator.__doc__,
        "__module__": indicator.__module__,
    }
    derived: type = type(indicator)(f"_{indicator.__name__}", (indicator,), body)
    return derived
