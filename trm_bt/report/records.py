"""What a report needs of run.json and summary.json; other keys may stand beside it."""

from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, model_validator

from trm_bt.market.allocations import ALLOCATION_NAMES

RUN_STRATEGIES: Final = ("trm", "spy", "sixty_forty", *ALLOCATION_NAMES)
"""Strategies that every run compares."""


class _Validation(BaseModel):
    accuracy: float
    majority_accuracy: float


class _Model(BaseModel):
    name: str
    trained_from: str
    trained_until: str
    n_rows: int
    batch_size: int
    n_optimizer_steps: int
    validation: _Validation


class Run(BaseModel):
    """`run.json`: how the run was made."""

    command: str
    config: dict[str, object]
    versions: dict[str, str]
    seconds: dict[str, float]
    models: list[_Model]


class _Role(BaseModel):
    source: str
    start: str
    end: str
    status: str
    notes: list[str]


class _Bars(BaseModel):
    source: str
    derived: bool
    roles: dict[str, _Role]


class _Features(BaseModel):
    formula_version: int
    members: list[str]
    status: dict[str, str]


class _Span(BaseModel):
    start: str
    end: str
    sessions: int
    abstained: int


class _Figures(BaseModel):
    total_return: float
    cagr: float | None
    volatility_annual: float | None
    sharpe: float | None
    max_drawdown: float
    turnover_annual: float | None


class _Orders(BaseModel):
    submitted: int
    completed: int
    rejected: int


def _has_all(values: dict[str, object]) -> dict[str, object]:
    missing = [name for name in RUN_STRATEGIES if name not in values]
    if missing:
        raise ValueError(f"must hold every strategy, {missing[0]} is missing")
    return values


_ByStrategy = Annotated[dict[str, float], AfterValidator(_has_all)]


class _Crisis(BaseModel):
    name: str
    start: str
    end: str
    covered: bool
    reason: str
    sessions: int | None
    model: str | None
    trained_from: str | None
    trained_until: str | None
    n_optimizer_steps: int | None
    total_return: _ByStrategy | None
    max_drawdown: _ByStrategy | None

    @model_validator(mode="after")
    def _needs_figures(self) -> Self:
        empty = [name for name, value in self if value is None]
        if self.covered and empty:
            raise ValueError(f"a covered crisis must hold {empty[0]}, which is null")
        return self


class Summary(BaseModel):
    """`summary.json`: what came out."""

    bars: _Bars
    cash: str
    features: _Features
    out_of_sample: _Span
    strategies: Annotated[dict[str, _Figures], AfterValidator(_has_all)]
    crises: list[_Crisis]
    orders: _Orders
    seed: int
