"""What a run folder holds: the schema that writes it and reads it.

Names of its files, of its strategies and of the columns of its tables are here and
nowhere else. `run.json` holds the request and how it was run, `summary.json` the
results.
"""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    computed_field,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from trm_bt.config import CrisisSet, Device, ScheduleName, TRMConfig
from trm_bt.evaluation.benchmarks import COLUMNS, OURS, baselines
from trm_bt.evaluation.claims import Lead
from trm_bt.evaluation.metrics import StrategyFigures
from trm_bt.fields import Day, PooledRows
from trm_bt.market.allocations import ALLOCATION_NAMES, Allocations
from trm_bt.market.bars import Bars, Status
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema
from trm_bt.market.label_table import LabelSummary
from trm_bt.runfolder.orders import OrdersRecord
from trm_bt.runfolder.schedules import ScheduleRecord

RUN: Final = "run.json"
SUMMARY: Final = "summary.json"
INDEX: Final = "index.html"
CRISES_TABLE: Final = "crises.csv"
TEARSHEETS: Final = "tearsheets"
CHECKPOINTS: Final = "checkpoints"
COMPARISON: Final = "comparison"
COMPARISON_PAGE: Final = "comparison.html"

_ALWAYS: Final = (OURS, "spy", "sixty_forty")
"""Strategies of every run, whatever is chosen from."""

OUT_OF_SAMPLE: Final = "out_of_sample"
"""What the continuous run is called where its rows stand beside a crisis's."""
STRATEGIES: Final = (OURS, *baselines(Allocations.of(None)))
"""Strategies that a run of the eight allocations compares, the allocator first."""


def table_columns(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns that a reader needs, by table, for allocations by name.

    Others may stand next to them.
    """
    strategies = (*_ALWAYS, *names)
    return {
        "equity": strategies,
        "crisis_equity": strategies,
        "weights": ("run", "session", *COLUMNS),
        "decisions": (
            *("run", "session", "allocation", "confidence", "halt_prob", "n_steps"),
            *("model", "base_model", "n_models", *FEATURE_NAMES),
            *[f"prob_{name}" for name in names],
            *[f"target_{name}" for name in COLUMNS],
        ),
        "orders": ("run", "strategy", "filled_on", "value"),
        "labels": ("winner",),
    }


_VERSIONED: Final = (
    *("trm-bt", "backtrader", "numpy", "pandas", "pyarrow", "quantstats", "torch"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the figures depend on."""
    found = {name: version(name) for name in _VERSIONED}
    return {"python": platform.python_version(), **found}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


@checked_dataclass(frozen=True)
class RunRequest:
    """The input of a run; two runs of one request are the same run.

    Parameters
    ----------
    bars : str
        "sample", "yahoo", or a folder.
    config : TRMConfig
        All settings, the seed included.
    start, end : str or None
        First and last date of the bars.
    observed : tuple of str
        Optional inputs that must be observed.
    device : {"auto", "cpu", "cuda"}
        Where the models decide.
    schedule : {"crises", "calendar"}
        Whether new models are trained before each crisis or by the calendar.
    inputs : tuple of str
        Optional inputs that models are trained with: "core" for none, "all", or names;
        empty for "core", and for "all" on the sample.
    accept : tuple of str
        Rules of bars that are overruled, as RULE or RULE:SYMBOL.
    strict : bool
        Whether bars with warnings are refused.
    crises : {"twelve", "historic"}
        Crises with their own run, by a model trained before.
    pooled : tuple of str
        Further bars that models are trained on; those of `bars` alone are decided.
    """

    bars: str
    config: TRMConfig = Field(default_factory=TRMConfig)
    start: str | None = None
    end: str | None = None
    observed: tuple[str, ...] = ()
    device: Device = "auto"
    schedule: Literal["crises", "calendar"] = "crises"
    inputs: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    strict: bool = False
    crises: CrisisSet = "twelve"
    pooled: tuple[str, ...] = Field(default=(), exclude_if=lambda names: names == ())


class RoleRecord(_Record):
    """Where the bars of one role came from."""

    source: str
    start: Day
    end: Day
    status: Status
    notes: tuple[str, ...]


class BarsRecord(_Record):
    """Source, span, digest and provenance of bars."""

    source: str
    derived: bool
    start: Day
    end: Day
    sessions: int
    sha256: str
    roles: dict[str, RoleRecord]

    @classmethod
    def of(cls, bars: Bars) -> Self:
        """Describe bars."""
        return cls.model_validate(
            {
                "source": bars.source,
                "derived": bars.is_derived,
                "start": bars.sessions[0].date(),
                "end": bars.sessions[-1].date(),
                "sessions": len(bars.sessions),
                "sha256": bars.sha256(),
                "roles": bars.provenance,
            },
            from_attributes=True,
        )


class LabelsRecord(LabelSummary):
    """`labels_summary.json`: labels, and status and zeros by feature."""

    features: dict[str, Status]
    n_zero_denominators: dict[str, int]
    bars: BarsRecord


class CashRecord(_Record):
    """What cash earned.

    Parameters
    ----------
    source : str or None
        Source of the cash rate; None where cash earned nothing.
    reason : str
        Why cash earned nothing; empty where it earned something.
    """

    source: str | None
    reason: str

    @classmethod
    def of(cls, bars: Bars) -> Self:
        """Describe the cash rate of bars."""
        entry = bars.provenance.get("cash_rate")
        if bars.cash_rate is not None:
            source = entry.source if entry else "the cash rate given"
            return cls(source=source, reason="")
        if entry is None:
            return cls(source=None, reason="the bars have no cash rate")
        return cls(source=None, reason=f"{entry.source} {'; '.join(entry.notes)}")

    def __str__(self) -> str:
        if self.source is None:
            return f"earned nothing: {self.reason}"
        return f"earned {self.source}"


class ValidationRecord(_Record):
    """Figures of the kept epoch on the validation rows; utilities per session."""

    accuracy: float
    majority_accuracy: float
    utility: float
    best_fixed_utility: float


class ModelRecord(_Record):
    """Span, size and validation figures of one trained model.

    `trained_until` is the last session whose labels the model knew; `temperature`,
    `n_effective` and `pooled` are as in `TrainingRecord`.
    """

    name: str
    trained_from: Day
    trained_until: Day
    n_rows: int
    n_train: int
    n_validation: int
    n_purged: int
    n_visited: int
    seed: int
    batch_size: int
    n_optimizer_steps: int
    best_epoch: int
    validation: ValidationRecord
    temperature: float | None = None
    n_effective: float | None = Field(None, exclude_if=lambda value: value is None)
    pooled: tuple[PooledRows, ...] = Field((), exclude_if=lambda rows: rows == ())


class RunRecord(_Record):
    """`run.json`: the request, and how it was run.

    It is written before the first model is trained, so that an interrupted run is
    recognised, and completed at the end.

    Parameters
    ----------
    finished : bool
        Whether all tables of the folder exist; the pages are made from them.
    command : str
        The command line.
    request : RunRequest
        Bars and settings.
    versions : dict of str to str
        Of Python and of what the figures depend on.
    feature_schema : FeatureSchema
        What the features of the run mean.
    models : tuple of ModelRecord
        All trained models.
    pooled : dict of str to BarsRecord
        Further bars that the models were trained on.
    seconds : dict of str to float
        Wall seconds by stage.
    """

    finished: bool
    command: str
    request: RunRequest
    versions: dict[str, str]
    bars: BarsRecord
    feature_schema: FeatureSchema
    models: tuple[ModelRecord, ...] = ()
    pooled: dict[str, BarsRecord] = Field({}, exclude_if=lambda bars: bars == {})
    seconds: dict[str, float] = {}

    @computed_field
    def config(self) -> TRMConfig:
        """All settings, once more where readers look for them."""
        return self.request.config

    @property
    def is_reported(self) -> bool:
        """Whether the pages were made too, the last stage of a run."""
        return self.finished and "report" in self.seconds

    def is_of(self, other: "RunRecord") -> bool:
        """Return whether both are one run: the same request, bars, schema, versions."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("request", "versions", "bars", "pooled", "feature_schema")
        )


class FeaturesRecord(_Record):
    """What the features of a run were computed from; status by feature."""

    formula_version: int
    members: tuple[str, ...]
    status: dict[str, Status]


class SpanRecord(_Record):
    """The sessions of the continuous run, and how many had no model."""

    start: Day
    end: Day
    sessions: int
    abstained: int


_Value = TypeVar("_Value")


def _has_all(values: dict[str, _Value]) -> dict[str, _Value]:
    missing = [name for name in _ALWAYS if name not in values]
    if missing:
        raise ValueError(f"must hold every strategy, {missing[0]} is missing")
    return values


_ByStrategy = Annotated[dict[str, float], AfterValidator(_has_all)]


class CrisisRecord(_Record):
    """One crisis: the model that decided it, and figures of every strategy.

    `model` is what the decider is called, `base_model` its name in `run.json`, the
    first one's where several models decide together. A crisis without data has a
    `reason` and no figures.
    """

    name: str
    start: Day
    end: Day
    covered: bool
    reason: str
    sessions: int | None
    model: str | None
    base_model: str | None
    trained_from: Day | None
    trained_until: Day | None
    n_optimizer_steps: int | None
    total_return: _ByStrategy | None
    max_drawdown: _ByStrategy | None

    @model_validator(mode="after")
    def _needs_figures(self) -> Self:
        empty = [name for name, value in self if value is None]
        if self.covered and empty:
            raise ValueError(f"a covered crisis must hold {empty[0]}, which is null")
        return self


class Summary(_Record):
    """`summary.json`: the results. `cash` is `cash_rate` in words.

    `schedules` are of the allocator alone, the run's own `schedule` among them; empty
    in folders of earlier versions. `leads` are those of the allocator over each other
    strategy, `sharpe_intervals` the 95 % interval of each one's annual Sharpe ratio, of
    the same resampled histories; both empty under 60 sessions, and in earlier folders.
    """

    bars: BarsRecord
    cash: str
    cash_rate: CashRecord
    features: FeaturesRecord
    out_of_sample: SpanRecord
    strategies: Annotated[dict[str, StrategyFigures], AfterValidator(_has_all)]
    crises: tuple[CrisisRecord, ...]
    orders: OrdersRecord
    seed: int
    allocations: tuple[str, ...] = ALLOCATION_NAMES
    schedules: dict[ScheduleName, ScheduleRecord] = {}
    schedule: ScheduleName = "bar"
    leads: dict[str, Lead] = {}
    sharpe_intervals: dict[str, tuple[float, float]] = {}

    @property
    def strategy_names(self) -> tuple[str, ...]:
        """The strategies in the order of the tables, the allocator first."""
        return (*_ALWAYS, *self.allocations)

    @model_validator(mode="after")
    def _has_allocations(self) -> Self:
        parts = {"strategies": set(self.strategies)}
        for i, crisis in enumerate(self.crises):
            for name in ("total_return", "max_drawdown"):
                values = getattr(crisis, name)
                parts[f"crises.{i}.{name}"] = set(values or self.allocations)
        for part, names in parts.items():
            for missing in [a for a in self.allocations if a not in names]:
                raise ValueError(f"`{part}` must hold every strategy, {missing} too")
        return self
