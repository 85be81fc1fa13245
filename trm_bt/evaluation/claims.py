"""What a test of two Sharpe ratios lets anyone say: the one rule for every page."""

from dataclasses import dataclass
from typing import Final, Literal

LEVEL: Final = 0.05
"""Largest p-value that counts as more than luck."""
POWER: Final = 0.8
"""Share of histories in which a difference of the size `detectable` is shown."""


@dataclass(frozen=True)
class Lead:
    """Difference of two annual Sharpe ratios, and whether it is luck.

    Parameters
    ----------
    difference : float
        Annual Sharpe ratio minus that of the benchmark.
    low, high : float
        Ends of its interval, around the difference; 0 is outside where `p_value` is
        below one minus the interval's confidence.
    p_value : float
        Two-sided: how often luck alone shows a difference as large, either way.
    p_corrected : float
        The same over all benchmarks that are tested together (Holm 1979).
    detectable : float or None
        The smallest true difference, either way, that so many sessions would show in
        `POWER` of histories; None where it is not known.
    """

    difference: float
    low: float
    high: float
    p_value: float
    p_corrected: float
    detectable: float | None = None


def outcome(lead: Lead) -> Literal["ahead", "behind", "open"]:
    """Return which side is shown to have the higher Sharpe ratio, if any is.

    Examples
    --------
    >>> outcome(Lead(0.3, 0.1, 0.5, 0.004, 0.04)), outcome(Lead(0.3, 0, 0.5, 0.04, 0.4))
    ('ahead', 'open')
    """
    if lead.p_corrected > LEVEL:
        return "open"
    return "ahead" if lead.difference > 0 else "behind"
