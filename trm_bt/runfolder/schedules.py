"""What the schedules of trading came to, in `summary.json`."""

from pydantic import BaseModel


class ScheduleRecord(BaseModel, frozen=True, allow_inf_nan=False):
    """What the same decisions come to if they are traded on another schedule.

    Returns, turnover and costs are decimals, the latter two of a year; None under 60
    sessions. `trading_sessions` had a fill.
    """

    total_return: float
    sharpe: float | None
    max_drawdown: float
    turnover_annual: float | None
    costs_annual: float | None
    orders: int
    trading_sessions: int
