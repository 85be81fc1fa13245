"""How many orders a run sent, and how near to their targets they brought it."""

from typing import Literal

from pydantic import BaseModel


class GapRecord(BaseModel, frozen=True, allow_inf_nan=False):
    """How far weights were from their targets, as shares of the portfolio."""

    median: float
    p95: float
    p99: float
    largest: float


class OrdersRecord(BaseModel, frozen=True, allow_inf_nan=False):
    """Orders of all portfolios, and gaps at the fill and at the close."""

    submitted: int
    completed: int
    rejected: int
    gaps: dict[Literal["fill", "close"], GapRecord] = {}
