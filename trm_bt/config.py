"""Validated settings, one frozen model per stage, together `TRMConfig`.

Lookbacks and horizons are counted in sessions.
"""

import json
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from trm_bt.errors import ConfigError
from trm_bt.files import write_text_atomically
from trm_bt.reading import TEXT_BYTES, read_json
from trm_bt.text import iso_date, key_path, shorten, shown

MAX_SEED: Final = 2**63 - 1
"""Largest seed; the next ones of an average still fit into 64 bits."""


def _as_date(value: object) -> object:
    return iso_date(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_as_date)]
"""A date, or its text as YYYY-MM-DD."""
_Int = Annotated[int, Field(strict=True)]
_Float = Annotated[float, Field(strict=True)]
_Sessions = Annotated[_Int, Field(ge=1, le=10_000)]
_Loops = Annotated[_Int, Field(ge=1, le=256)]
_Count = Annotated[_Int, Field(ge=1, le=1_000_000)]
_Weight = Annotated[_Float, Field(ge=0, le=1e6)]
_Share = Annotated[_Float, Field(ge=0, lt=1)]
_Money = Annotated[_Float, Field(ge=0, le=1e15)]


class _Settings(BaseModel):
    # what came later is not written at its default: earlier files keep their bytes
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BarsConfig(_Settings):
    """What stands before TLT: VUSTX where it is there, a bond from yields, nothing."""

    long_bond: Literal["fund", "yields", "none"] = "fund"


class FeatureConfig(_Settings):
    """Lookbacks of the ten features, in sessions."""

    short_return_lookback: _Sessions = 5
    long_return_lookback: _Sessions = 20
    volume_lookback: _Sessions = 20
    breadth_lookback: _Sessions = 50
    breadth_proxy_lookback: _Sessions = 50
    correlation_lookback: _Sessions = Field(20, ge=2)
    put_call_short_lookback: _Sessions = 5
    put_call_long_lookback: _Sessions = 252
    put_call_proxy_lookback: _Sessions = 60
    gini_lookback: _Sessions = Field(20, ge=2)
    dispersion_lookback: _Sessions = 20
    efficiency_lookback: _Sessions = 20


class AllocationConfig(_Settings):
    """A name for columns and pages, and shares; the rest is cash."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=40)
    equity: float = Field(ge=0, le=1)
    bond: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.equity + self.bond > 1 + 1e-9:
            got = f"{self.equity:g} of equity and {self.bond:g} of bond"
            raise ValueError(f"the shares must be together at most 1, got {got}")
        return self


def _each_once(table: tuple[AllocationConfig, ...]) -> tuple[AllocationConfig, ...]:
    names = [entry.name for entry in table]
    for name in set(filter(lambda name: names.count(name) > 1, names)):
        raise ValueError(f"each allocation is named once, got '{name}' again")
    return table


AllocationTable = Annotated[
    tuple[AllocationConfig, ...],
    Field(min_length=2, max_length=64),
    AfterValidator(_each_once),
]


class LabelConfig(_Settings):
    """How a label looks forward: sessions held, fill price, and what wins.

    `risk_aversion` acts with the objective "mean_variance" alone; see
    `trm_bt.market.objectives`. `allocations` are those to choose from, None for the
    eight; also read as `{"name": [equity, bond]}` or `{"name": {"equity": ...}}`.
    """

    horizon: _Sessions = 5
    fill: Literal["next_open", "close"] = "next_open"
    objective: Literal["pnl", "sharpe", "mean_variance"] = "pnl"
    risk_aversion: _Weight = 3.0
    allocations: AllocationTable | None = Field(None, exclude_if=lambda t: t is None)

    @field_validator("allocations", mode="before")
    @classmethod
    def _read_table(cls, table: object) -> object:
        """Take a table by name; of JSON, read strictly, it is a list."""
        if not isinstance(table, Mapping):
            return tuple(table) if isinstance(table, list) else table
        return tuple(_allocation(name, shares) for name, shares in table.items())

    @property
    def n_ahead(self) -> int:
        """Sessions from a decision to its outcome: to the fill, then the horizon."""
        return self.horizon + (1 if self.fill == "next_open" else 0)

    @model_validator(mode="after")
    def _check_horizon(self) -> Self:
        """Refuse to measure risk on one session."""
        if self.objective != "pnl" and self.horizon == 1:
            raise ValueError(
                f"the objective {self.objective} needs a `horizon` of at least 2 "
                "sessions: one return has no variance"
            )
        return self


class ModelConfig(_Settings):
    """Form of the Tiny Recursive Model (Jolicoeur-Martineau, arXiv:2510.04871).

    The architecture "dual" alone has dropout. See `trm_bt.learning.model` for both.

    Some processors multiply the rows of a block unlike each other where a layer is of
    another width than a multiple of 16; a row's decision would depend on its company.
    """

    architecture: Literal["dual", "paper"] = "dual"
    hidden_dim: _Int = Field(512, ge=16, le=4096, multiple_of=16)
    num_latent_steps: _Loops = 6
    num_recursion_cycles: _Loops = 3
    dropout: _Share = 0.1
    max_supervision_steps: _Loops = 4
    halt_threshold: _Share = Field(0.5, gt=0)

    @property
    def effective_depth(self) -> int:
        """Layers a pass goes through: cycles x (latent steps + 1) x 2."""
        return self.num_recursion_cycles * (self.num_latent_steps + 1) * 2

    @model_validator(mode="before")
    @classmethod
    def _accept_derived_depth(cls, data: object) -> object:
        """Take `effective_depth` back from printed JSON if it is what it must be."""
        if not isinstance(data, dict) or "effective_depth" not in data:
            return data
        settings = {k: v for k, v in data.items() if k != "effective_depth"}
        derived = cls.model_validate(settings).effective_depth
        if data["effective_depth"] != derived:
            raise ValueError(
                f"`effective_depth` is derived and must be {derived}, "
                f"got {shown(data['effective_depth'])}"
            )
        return settings


class TrainingConfig(_Settings):
    """Losses, optimiser and validation of one training.

    Utilities are per session; `risk_aversion` acts with the utilities "mean_variance"
    and "risk", `prior_sharpe` with the latter. The `target` of the cross-entropy and
    of the halt head is the label or the allocation of highest utility. The learning
    rate rises linearly over the warm-up, then falls to zero along a cosine.
    """

    strategy_loss_weight: _Weight = 1.0
    halt_loss_weight: _Weight = 0.5
    profit_loss_weight: _Weight = 0.3
    target: Literal["label", "utility"] = "label"
    utility: Literal["linear", "log", "mean_variance", "risk"] = "linear"
    prior_sharpe: _Weight | None = Field(None, gt=0)
    risk_aversion: _Weight = 3.0
    class_weighting: Literal["none", "sqrt", "inverse"] = "none"
    label_smoothing: _Share = 0.0
    n_supervision_steps: _Loops = 4
    epochs: _Count = 4
    max_batches_per_epoch: _Count = 10
    patience: _Count = 2
    batch_size: _Count = Field(768, le=65_536)
    learning_rate: _Float = Field(1e-3, gt=0, le=1e3)
    beta1: _Share = 0.9
    beta2: _Share = 0.95
    weight_decay: _Weight = 0.01
    warmup_fraction: _Float = Field(0.1, ge=0, le=1)
    max_warmup_steps: _Count = 2000
    max_grad_norm: _Weight = Field(1.0, gt=0)
    grokfast_alpha: _Share = 0.98
    grokfast_lambda: _Weight = 2.0
    ema_decay: _Share = 0.999
    min_labels: _Count = 504
    validation_fraction: _Float = Field(0.15, gt=0, lt=0.5)
    num_threads: _Int = Field(1, ge=1, le=1024)


class WalkForwardConfig(_Settings):
    """When a walk-forward retrains, on what, and how many seeds it averages.

    Retraining every `retrain_every` sessions, or before the sessions of `retrain_on`
    instead. `window` is the number of newest labels trained on, not below `min_labels`
    of the training; None takes all. The last `embargo` sessions before a model's first
    decision give no label to it, beside the horizon + 1 sessions whose labels are not
    known yet.
    """

    first_decision: Day | None = None
    retrain_every: _Sessions = 252
    retrain_on: tuple[Day, ...] = ()
    window: _Count | None = None
    embargo: _Int = Field(0, ge=0, le=10_000)
    n_seeds: _Int = Field(3, ge=1, le=1000)


ScheduleName = Literal["bar", "weekly", "monthly", "change"]


class StrategyConfig(_Settings):
    """How decisions become weights; `max_gap` acts in a plain Cerebro only."""

    decision: Literal["argmax", "blend"] = "blend"
    n_averaged: _Sessions = 5
    min_confidence: _Float = Field(0.0, ge=0, le=1)
    rebalance_band: _Share = 0.0
    min_trade_value: _Money = 0.0
    max_gap: _Share = 0.08
    schedule: ScheduleName = Field("bar", exclude_if=lambda name: name == "bar")


class BacktestConfig(_Settings):
    """Starting cash in quote currency and costs in basis points of traded value."""

    initial_cash: _Money = Field(1_000_000.0, gt=0)
    cost_bps: _Float = Field(5.0, ge=0, le=10_000)


Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs; "auto" takes CUDA where there is one."""
Preset = Literal["shipped", "seed", "risk"]
_PRESETS: Final[Mapping[Preset, Mapping[str, Mapping[str, object]]]] = {
    "shipped": {},
    "seed": {"strategy": {"decision": "argmax", "n_averaged": 1}},
    "risk": {
        "training": {
            "target": "utility",
            "utility": "risk",
            "prior_sharpe": 0.4,
            "risk_aversion": 8.0,
            "strategy_loss_weight": 0.0,
            "profit_loss_weight": 1.0,
            "learning_rate": 1e-4,
            "epochs": 8,
            "patience": 8,
        },
        "strategy": {"decision": "argmax"},
    },
}
"""What differs from the defaults: the network as it began, and paid for risk alone."""


class TRMConfig(_Settings):
    """Every setting of a run.

    Examples
    --------
    >>> TRMConfig().model.effective_depth
    42
    >>> TRMConfig.model_validate_json(TRMConfig().to_json()) == TRMConfig()
    True
    """

    seed: _Int = Field(0, ge=0, le=MAX_SEED)
    bars: BarsConfig = BarsConfig()
    features: FeatureConfig = FeatureConfig()
    labels: LabelConfig = LabelConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    walkforward: WalkForwardConfig = WalkForwardConfig()
    strategy: StrategyConfig = StrategyConfig()
    backtest: BacktestConfig = BacktestConfig()

    def check_trainable(self) -> None:
        """Refuse to train for a utility that the labels cannot measure.

        Labels are sound without it: what trains asks, what only labels need not.

        Raises
        ------
        ConfigError
            If the utility is risk and a label holds for one session.
        """
        if self.training.utility == "risk" and self.labels.horizon == 1:
            raise ConfigError(
                'The `training.utility` "risk" needs a `labels.horizon` of at least 2 '
                "sessions to train on, got 1: one return has no variance. Hold longer, "
                'or choose another utility, such as "linear".'
            )

    def check_walkable(self) -> None:
        """Refuse a walk-forward whose models would see fewer labels than they need.

        Raises
        ------
        ConfigError
            If `walkforward.window` is below `training.min_labels`, or as
            `check_trainable` says.
        """
        self.check_trainable()
        window, needed = self.walkforward.window, self.training.min_labels
        if window is not None and window < needed:
            raise ConfigError(
                "`walkforward.window` must be at least `training.min_labels`, "
                f"{needed} labels, got {window}. Widen the window or lower "
                "`min_labels`."
            )

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """Return the settings of a name.

        Parameters
        ----------
        name : {"shipped", "seed", "risk"}
            The defaults; what the network began with, which holds the allocation that
            is most probably the most profitable; or what is paid for risk alone. They
            are compared in docs/evidence.md.

        Examples
        --------
        >>> TRMConfig.preset("shipped") == TRMConfig()
        True
        >>> TRMConfig.preset("risk").training.utility
        'risk'
        """
        return cls.model_validate(_PRESETS[name])

    def to_json(self) -> str:
        """Return the settings as indented JSON, without derived values."""
        return self.model_dump_json(indent=2)

    def describe(self) -> str:
        """Return the settings as JSON with the derived `effective_depth` shown."""
        settings = self.model_dump(mode="json")
        for name, part in self:
            for key in type(part).model_fields if isinstance(part, BaseModel) else ():
                settings[name].setdefault(key, getattr(part, key))
        settings["model"]["effective_depth"] = self.model.effective_depth
        return json.dumps(settings, indent=2)

    def save(self, path: Path) -> None:
        """Write the settings to `path` as JSON."""
        write_text_atomically(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read settings from a JSON file.

        Raises
        ------
        ConfigError
            If the file is missing, is not JSON, or breaks a rule; an unknown key is
            answered with the nearest known name.
        """
        try:
            text = read_json(path, TEXT_BYTES)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as JSON: {error}.") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(f"{path}: {explain(cls, error)}") from error


def _allocation(name: object, shares: object) -> object:
    """Return an entry of a table by name as an object with named shares."""
    if isinstance(shares, Mapping):
        return {"name": name} | dict(shares)
    if isinstance(shares, list | tuple) and len(shares) == 2:
        return {"name": name, "equity": shares[0], "bond": shares[1]}
    raise ValueError(
        f"`{shorten(name)}` must have shares of equity and bond, got {shown(shares)}"
    )


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Turn the first validation error of a model into one sentence."""
    first = error.errors()[0]
    key = key_path(first["loc"])
    where = f"`{key}`: " if key else ""
    if first["type"] == "value_error":  # our own rule, which says what came
        return f"{where}{first['ctx']['error']}."
    if first["type"] != "extra_forbidden":
        return f"{where}{first['msg']}, got {shown(first['input'])}."
    for part in first["loc"][:-1]:
        section = model.model_fields[str(part)].annotation
        if not isinstance(section, type):  # the one list among the settings
            model = AllocationConfig
            break
        assert issubclass(section, BaseModel)
        model = section
    nearest = get_close_matches(str(first["loc"][-1]), model.model_fields, 1, 0.0)
    return f"unknown key `{key}`, did you mean `{nearest[0]}`?"
