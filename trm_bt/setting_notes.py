"""What each setting does, in one sentence, and its limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trm_bt.config import TRMConfig

NOTES: Final[Mapping[str, str]] = {
    "seed": "Seed of every random draw; two runs with one seed are equal.",
    "bars.long_bond": "Substitute for TLT before it was listed: the fund VUSTX, a "
    "bond priced from yields, or none.",
    "bars.history": "Substitute before SPY and VIX: none, or the S&P 500 and "
    "estimates from it, back to 1962.",
    "features.short_return_lookback": "Sessions in the shorter equity return.",
    "features.long_return_lookback": "Sessions in the longer equity return.",
    "features.volume_lookback": "Sessions in the mean that today's volume is divided "
    "by.",
    "features.breadth_lookback": "Sessions in the average that members are compared "
    "with.",
    "features.breadth_proxy_lookback": "Sessions from which breadth is estimated if "
    "there are no members.",
    "features.correlation_lookback": "Sessions in the correlation of equity and bond.",
    "features.put_call_short_lookback": "Sessions in the short mean of the put/call "
    "ratio.",
    "features.put_call_long_lookback": "Sessions in the mean that it is divided by.",
    "features.put_call_proxy_lookback": "Sessions in the volatility mean that "
    "replaces it if there is no put/call ratio.",
    "features.gini_lookback": "Sessions of returns in the Gini coefficient.",
    "features.dispersion_lookback": "Sessions in the returns whose dispersion is "
    "measured.",
    "features.efficiency_lookback": "Sessions in the efficiency ratio.",
    "labels.horizon": "Sessions for which a decision is held before it is scored.",
    "labels.fill": "Whether a decision is filled at the next open or at its own close.",
    "labels.objective": "Criterion of the best allocation: profit, Sharpe ratio, or "
    "mean minus variance.",
    "labels.risk_aversion": "Weight of the variance; only with `mean_variance`.",
    "labels.allocations": "Allocations to choose from, none for the eight.",
    "model.architecture": "Two nets, one to reason and one to answer, or the single "
    "net of the paper.",
    "model.hidden_dim": "Width of the network.",
    "model.num_latent_steps": "Reasoning steps before each answer.",
    "model.num_recursion_cycles": "Cycles of reasoning and answering per pass.",
    "model.dropout": "Share of activations dropped in training; only with `dual`.",
    "model.max_supervision_steps": "Maximum number of passes per decision.",
    "model.halt_threshold": "Probability of being right at which it stops early.",
    "training.strategy_loss_weight": "Loss weight of naming the right allocation.",
    "training.halt_loss_weight": "Loss weight of knowing whether the answer is right.",
    "training.profit_loss_weight": "Loss weight of the expected utility of the answer.",
    "training.target": "Target: the label, the highest utility, or a regime.",
    "training.utility": "Utility of an outcome.",
    "training.prior_sharpe": "Assumed Sharpe ratio, none for the means of the "
    "training rows; only with `risk`.",
    "training.risk_aversion": "Weight of the variance in the utility.",
    "training.class_weighting": "Additional weight of rare winners.",
    "training.label_smoothing": "Share of the target spread over all allocations.",
    "training.n_supervision_steps": "Passes over a batch, each with its own step.",
    "training.epochs": "Maximum number of epochs.",
    "training.max_batches_per_epoch": "Maximum number of batches per epoch.",
    "training.patience": "Epochs without a better validation loss before it stops.",
    "training.batch_size": "Rows per batch; fewer if there are few rows.",
    "training.learning_rate": "Largest learning rate.",
    "training.beta1": "Decay of the optimiser's first moment.",
    "training.beta2": "Decay of the optimiser's second moment.",
    "training.weight_decay": "Decay of the parameters towards zero.",
    "training.warmup_fraction": "Share of the steps used for warm-up.",
    "training.max_warmup_steps": "Maximum number of warm-up steps.",
    "training.max_grad_norm": "Norm to which gradients are clipped.",
    "training.grokfast_alpha": "Decay of the slow part of the gradient (GrokFast).",
    "training.grokfast_lambda": "Factor of the slow part that is added; 0 for none.",
    "training.ema_decay": "Decay of the average of the parameters.",
    "training.min_labels": "Minimum number of labels to train a model.",
    "training.validation_fraction": "Newest share of labels, used to choose the epoch.",
    "training.num_threads": "Threads per training; another number gives another model.",
    "training.device": "Device of training; another gives slightly different numbers.",
    "walkforward.first_decision": "First date to decide, none for the earliest "
    "possible.",
    "walkforward.retrain_every": "Sessions between trainings.",
    "walkforward.retrain_on": "Dates before which to retrain instead.",
    "walkforward.window": "Number of newest labels to train on, none for all.",
    "walkforward.embargo": "Additional sessions without labels before a decision.",
    "walkforward.n_seeds": "Models averaged per fold.",
    "strategy.decision": "Hold the most probable allocation, or a blend of all by "
    "probability.",
    "strategy.n_averaged": "Decisions whose probabilities are averaged.",
    "strategy.min_confidence": "Confidence below which the earlier weights are kept.",
    "strategy.rebalance_band": "Distance from the target below which nothing is "
    "traded.",
    "strategy.min_trade_value": "Smallest order, in quote currency.",
    "strategy.max_gap": "Gap at the open that cash is reserved for; plain Cerebro "
    "only.",
    "strategy.schedule": "When decisions are traded.",
    "backtest.initial_cash": "Cash at the start, in quote currency.",
    "backtest.cost_bps": "Cost of a trade in basis points of its value.",
}
"""By dotted name; a test compares these with the existing settings."""


_KINDS: Final[Mapping[object, str]] = {int: "whole number", float: "number"}


@dataclass(frozen=True)
class SettingNote:
    """One setting: its name, its value, what it may be, and what it does."""

    name: str
    value: object
    allowed: str
    sentence: str


def explained(settings: TRMConfig) -> Iterator[SettingNote]:
    """Yield every setting in the order of the settings file."""
    for name, field in type(settings).model_fields.items():
        part = getattr(settings, name)
        if not isinstance(part, BaseModel):
            yield SettingNote(name, part, _allowed(field), NOTES[name])
            continue
        for key, inner in type(part).model_fields.items():
            full = f"{name}.{key}"
            value = getattr(part, key)
            yield SettingNote(full, value, _allowed(inner), NOTES[full])


def _allowed(field: FieldInfo) -> str:
    """Return what a setting may be: its choices, or its kind and limits."""
    kind, marks, has_none = _unwrapped(field)
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    words = _KINDS.get(kind, "list or table")
    if "date" in str(kind):
        words = "dates YYYY-MM-DD" if "tuple" in str(kind) else "date YYYY-MM-DD"
    tail = ", or none" if has_none else ""
    return f"{words}{_limits(marks)}{tail}"


def _unwrapped(field: FieldInfo) -> tuple[object, list[object], bool]:
    """Return a type without None and annotations, its marks, and if None was in."""
    kind: object = field.annotation
    marks: list[object] = [*field.metadata]
    has_none = False
    while get_origin(kind) in (Annotated, Union, UnionType):
        first, *more = (one for one in get_args(kind) if one is not type(None))
        has_none |= get_origin(kind) is not Annotated
        kind, marks = first, [*marks, *more]
    inner = [one for mark in marks for one in getattr(mark, "metadata", [mark])]
    return kind, inner, has_none


def _limits(marks: list[object]) -> str:
    """Say the tightest limits of a number; nothing where there are none."""
    found = {
        name: [getattr(mark, name) for mark in marks if hasattr(mark, name)]
        for name in ("ge", "gt", "le", "lt", "multiple_of")
    }
    lows = [(end, "") for end in found["ge"]] + [(end, "above ") for end in found["gt"]]
    highs = [(end, "") for end in found["le"]]
    highs += [(end, "below ") for end in found["lt"]]
    if not (lows and highs):
        return ""
    ends = [f"{word}{_plain(end)}" for end, word in (max(lows), min(highs))]
    each = "".join(f", a multiple of {step}" for step in found["multiple_of"])
    return f", {' to '.join(ends)}{each}"


def _plain(end: float) -> str:
    return f"{int(end):,}" if end == int(end) else f"{end:g}"
