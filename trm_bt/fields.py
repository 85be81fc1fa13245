"""Kinds of setting: their bounds, dates, and a table of allocations."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from trm_bt.text import iso_date, shorten, shown

MAX_SEED: Final = 2**63 - 1
"""Largest seed; the next ones of an average still fit into 64 bits."""


def _as_date(value: object) -> object:
    return iso_date(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_as_date)]
"""A date, or its text as YYYY-MM-DD."""
Int = Annotated[int, Field(strict=True)]
Float = Annotated[float, Field(strict=True)]
# A field of one of these states no bound of its own: only the first of two acts.
Sessions = Annotated[Int, Field(ge=1, le=10_000)]
Loops = Annotated[Int, Field(ge=1, le=256)]
Count = Annotated[Int, Field(ge=1, le=1_000_000)]
Weight = Annotated[Float, Field(ge=0, le=1e6)]
Share = Annotated[Float, Field(ge=0, lt=1)]
Money = Annotated[Float, Field(ge=0, le=1e15)]


class Settings(BaseModel):
    """Base of each stage: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AllocationConfig(Settings):
    """A name for columns and pages, and shares; the rest is cash."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=40)
    equity: float = Field(ge=0, le=1)
    bond: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.equity + self.bond > 1 + 1e-9:
            got = f"{self.equity:g} of equity and {self.bond:g} of bond"
            raise ValueError(f"the shares must sum to at most 1, got {got}")
        return self


def _each_once(table: tuple[AllocationConfig, ...]) -> tuple[AllocationConfig, ...]:
    names = [entry.name for entry in table]
    for name in set(filter(lambda name: names.count(name) > 1, names)):
        raise ValueError(f"each allocation must be named once, got '{name}' again")
    return table


def _allocation(name: object, shares: object) -> object:
    """Return an entry of a table by name as an object with named shares."""
    if isinstance(shares, Mapping):
        return {"name": name} | dict(shares)
    if isinstance(shares, list | tuple) and len(shares) == 2:
        return {"name": name, "equity": shares[0], "bond": shares[1]}
    raise ValueError(
        f"`{shorten(name)}` must have shares of equity and bond, got {shown(shares)}"
    )


def _read_table(table: object) -> object:
    """Take a table by name; of JSON, read strictly, it is a list."""
    if not isinstance(table, Mapping):
        return tuple(table) if isinstance(table, list) else table
    return tuple(_allocation(name, shares) for name, shares in table.items())


AllocationTable = Annotated[
    tuple[AllocationConfig, ...],
    Field(min_length=2, max_length=64),
    AfterValidator(_each_once),
    BeforeValidator(_read_table),
]


class PooledRows(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What a further universe gave to a training.

    Parameters
    ----------
    name : str
        What its bars are called.
    train_start, train_end : date
        First and last deciding session of its training rows.
    n_train : int
        Its training rows.
    n_effective : float
        What they count for; see `trm_bt.learning.pool`.
    """

    name: str
    train_start: Day
    train_end: Day
    n_train: int
    n_effective: float
