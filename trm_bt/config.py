"""Validated settings, one frozen model per stage, together `TRMConfig`.

Lookbacks and horizons are counted in sessions.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from trm_bt.errors import ConfigError
from trm_bt.fields import (
    MAX_SEED,
    AllocationConfig,
    AllocationTable,
    Count,
    Day,
    Float,
    Int,
    Loops,
    Money,
    Sessions,
    Settings,
    Share,
    Weight,
)
from trm_bt.files import write_text_atomically
from trm_bt.reading import TEXT_BYTES, read_json
from trm_bt.text import key_path, reason_of, shown


class BarsConfig(Settings):
    """Substitute before TLT: VUSTX if available, a bond from yields, or none.

    With the history "index", the S&P 500 precedes SPY, an estimate precedes VIX, and a
    bond from the 10-year yield precedes the long one.
    """

    long_bond: Literal["fund", "yields", "none"] = "fund"
    history: Literal["none", "index"] = Field(
        "none", exclude_if=lambda name: name == "none"
    )


class FeatureConfig(Settings):
    """Lookbacks of the ten features, in sessions."""

    short_return_lookback: Sessions = 5
    long_return_lookback: Sessions = 20
    volume_lookback: Sessions = 20
    breadth_lookback: Sessions = 50
    breadth_proxy_lookback: Sessions = 50
    correlation_lookback: Int = Field(20, ge=2, le=10_000)
    put_call_short_lookback: Sessions = 5
    put_call_long_lookback: Sessions = 252
    put_call_proxy_lookback: Sessions = 60
    gini_lookback: Int = Field(20, ge=2, le=10_000)
    dispersion_lookback: Sessions = 20
    efficiency_lookback: Sessions = 20


class LabelConfig(Settings):
    """How a label is made: sessions held, fill price, and criterion.

    `risk_aversion` is used only by the objective "mean_variance"; see
    `trm_bt.market.objectives`. `allocations` are those to choose from, None for the
    eight; also read as `{"name": [equity, bond]}` or `{"name": {"equity": ...}}`.
    """

    horizon: Sessions = 5
    fill: Literal["next_open", "close"] = "next_open"
    objective: Literal["pnl", "sharpe", "mean_variance"] = "pnl"
    risk_aversion: Weight = 3.0
    allocations: AllocationTable | None = Field(None, exclude_if=lambda t: t is None)

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


class ModelConfig(Settings):
    """Form of the Tiny Recursive Model (Jolicoeur-Martineau, arXiv:2510.04871).

    Only the architecture "dual" has dropout. See `trm_bt.learning.model` for both.

    Some processors multiply the rows of a block differently if the width of a layer is
    not a multiple of 16; the decision on a row would then depend on the other rows.
    """

    architecture: Literal["dual", "paper"] = "dual"
    hidden_dim: Int = Field(512, ge=16, le=4096, multiple_of=16)
    num_latent_steps: Loops = 6
    num_recursion_cycles: Loops = 3
    dropout: Share = 0.1
    max_supervision_steps: Loops = 4
    halt_threshold: Float = Field(0.5, gt=0, lt=1)

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


class TrainingConfig(Settings):
    """Losses, optimiser and validation of one training.

    Utilities are per session; `risk_aversion` acts with the utilities "mean_variance"
    and "risk" and the target "regime", `prior_sharpe` with "risk". The `target` of the
    cross-entropy and of the halt head is the label, the allocation of highest utility,
    or that of the regime, calm or turbulent, of the label's sessions. The learning
    rate rises linearly over the warm-up, then falls to zero along a cosine. Another
    `device` gives other bits.
    """

    strategy_loss_weight: Weight = 1.0
    halt_loss_weight: Weight = 0.5
    profit_loss_weight: Weight = 0.3
    target: Literal["label", "utility", "regime"] = "label"
    utility: Literal["linear", "log", "mean_variance", "risk"] = "linear"
    prior_sharpe: Float | None = Field(None, gt=0, le=1e6)
    risk_aversion: Weight = 3.0
    class_weighting: Literal["none", "sqrt", "inverse"] = "none"
    label_smoothing: Share = 0.0
    n_supervision_steps: Loops = 4
    epochs: Count = 4
    max_batches_per_epoch: Count = 10
    patience: Count = 2
    batch_size: Int = Field(768, ge=1, le=65_536)
    learning_rate: Float = Field(1e-3, gt=0, le=1e3)
    beta1: Share = 0.9
    beta2: Share = 0.95
    weight_decay: Weight = 0.01
    warmup_fraction: Float = Field(0.1, ge=0, le=1)
    max_warmup_steps: Count = 2000
    max_grad_norm: Float = Field(1.0, gt=0, le=1e6)
    grokfast_alpha: Share = 0.98
    grokfast_lambda: Weight = 2.0
    ema_decay: Share = 0.999
    min_labels: Count = 504
    validation_fraction: Float = Field(0.15, gt=0, lt=0.5)
    num_threads: Int = Field(1, ge=1, le=1024)
    device: Literal["cpu", "cuda"] = Field("cpu", exclude_if=lambda name: name == "cpu")

    @property
    def needs_variances(self) -> bool:
        """Whether a training reads the realised variances of the labels."""
        return self.utility == "risk" or self.target == "regime"


class WalkForwardConfig(Settings):
    """When a walk-forward retrains, on what, and how many seeds it averages.

    Retraining every `retrain_every` sessions, or before the sessions of `retrain_on`
    instead. `window` is the number of newest labels trained on, not below `min_labels`
    of the training; None takes all. The last `embargo` sessions before a model's first
    decision give no label to it, beside the horizon + 1 sessions whose labels are not
    known yet.
    """

    first_decision: Day | None = None
    retrain_every: Sessions = 252
    retrain_on: tuple[Day, ...] = ()
    window: Count | None = None
    embargo: Int = Field(0, ge=0, le=10_000)
    n_seeds: Int = Field(3, ge=1, le=1000)


ScheduleName = Literal["bar", "weekly", "monthly", "change"]


class StrategyConfig(Settings):
    """How decisions become weights; `max_gap` acts in a plain Cerebro only.

    What came later is not written at its default: earlier files keep their bytes.
    """

    decision: Literal["argmax", "blend"] = "blend"
    n_averaged: Sessions = 5
    min_confidence: Float = Field(0.0, ge=0, le=1)
    rebalance_band: Share = 0.0
    min_trade_value: Money = 0.0
    max_gap: Share = 0.08
    schedule: ScheduleName = Field("bar", exclude_if=lambda name: name == "bar")


class BacktestConfig(Settings):
    """Starting cash in quote currency and costs in basis points of traded value."""

    initial_cash: Float = Field(1_000_000.0, gt=0, le=1e15)
    cost_bps: Float = Field(5.0, ge=0, le=10_000)


Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs; "auto" uses CUDA if available."""
CrisisSet = Literal["twelve", "historic"]
"""Crises with their own run: the twelve, or also seven from 1962 to 1990."""
SamplerName = Literal["grid", "random", "optuna"]
"""How the points of a sweep are drawn."""
SweepUtility = Literal["sharpe", "mean_variance"]
"""Criterion by which the settings of a sweep are ranked."""
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
"""Differences from the defaults: the original network, and the reward for risk."""


class TRMConfig(Settings):
    """Every setting of a run.

    Examples
    --------
    >>> TRMConfig().model.effective_depth
    42
    >>> TRMConfig.model_validate_json(TRMConfig().to_json()) == TRMConfig()
    True
    """

    seed: Int = Field(0, ge=0, le=MAX_SEED)
    bars: BarsConfig = BarsConfig()
    features: FeatureConfig = FeatureConfig()
    labels: LabelConfig = LabelConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    walkforward: WalkForwardConfig = WalkForwardConfig()
    strategy: StrategyConfig = StrategyConfig()
    backtest: BacktestConfig = BacktestConfig()

    def check_trainable(self) -> None:
        """Refuse a training utility that the labels cannot measure.

        Labels alone do not need this check; only training does.

        Raises
        ------
        ConfigError
            If the utility is risk, or the target a regime, and a label holds for one
            session.
        """
        training = self.training
        if training.needs_variances and self.labels.horizon == 1:
            raise ConfigError(
                'The `training.utility` "risk" and the `training.target` "regime" need '
                "a `labels.horizon` of at least 2 sessions to train on, got 1: one "
                "return has no variance. Hold longer, or choose others, such as "
                '"linear" and "label".'
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
        """Return named settings.

        Parameters
        ----------
        name : {"shipped", "seed", "risk"}
            The defaults; the original settings, which hold the most probable
            allocation; or those that reward risk only. docs/evidence.md compares them.

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
            If the file is missing, is not JSON, or breaks a rule; for an unknown key,
            the error names the nearest known one.
        """
        try:
            text = read_json(path, TEXT_BYTES)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{path}: cannot be read as JSON: {reason_of(error)}."
            ) from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(f"{path}: {explain(cls, error)}") from error


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
