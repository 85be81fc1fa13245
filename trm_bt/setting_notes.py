"""What each setting does, in one sentence, and between which limits it may lie."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trm_bt.config import TRMConfig

NOTES: Final[Mapping[str, str]] = {
    "seed": "Seed of every random draw; two runs of one seed are the same.",
    "bars.long_bond": "What stands for TLT before it was listed: the fund VUSTX, a "
    "bond priced from yields, or nothing.",
    "bars.history": "What stands before SPY and VIX: nothing, or the S&P 500 and what "
    "is estimated from it, back to 1962.",
    "features.short_return_lookback": "Sessions of the shorter equity return.",
    "features.long_return_lookback": "Sessions of the longer equity return.",
    "features.volume_lookback": "Sessions whose mean volume today's is held against.",
    "features.breadth_lookback": "Sessions of the average that members are above.",
    "features.breadth_proxy_lookback": "Sessions that breadth is estimated from where "
    "there are no members.",
    "features.correlation_lookback": "Sessions of the correlation of equity and bond.",
    "features.put_call_short_lookback": "Sessions of the put/call ratio's short mean.",
    "features.put_call_long_lookback": "Sessions of the mean that it is divided by.",
    "features.put_call_proxy_lookback": "Sessions of the volatility mean that stands "
    "for it where there is no put/call ratio.",
    "features.gini_lookback": "Sessions of returns that the Gini coefficient is over.",
    "features.dispersion_lookback": "Sessions of the returns whose spread is measured.",
    "features.efficiency_lookback": "Sessions of the efficiency ratio.",
    "labels.horizon": "Sessions that a decision is held before it is judged.",
    "labels.fill": "Whether a decision is filled at the next open or at its own close.",
    "labels.objective": "What the best allocation is best by: profit, Sharpe ratio, or "
    "mean less variance.",
    "labels.risk_aversion": "Weight of the variance; with `mean_variance` alone.",
    "labels.allocations": "The mixes to choose from, none for the eight.",
    "model.architecture": "Two nets, one to reason and one to answer, or the one of "
    "the paper.",
    "model.hidden_dim": "Width of the network.",
    "model.num_latent_steps": "Reasoning steps before each answer.",
    "model.num_recursion_cycles": "Cycles of reasoning and answering in a pass.",
    "model.dropout": "Share of activations dropped in training; `dual` alone.",
    "model.max_supervision_steps": "Most passes that a decision may take.",
    "model.halt_threshold": "Probability of being right at which it stops earlier.",
    "training.strategy_loss_weight": "Weight of naming the right allocation.",
    "training.halt_loss_weight": "Weight of knowing whether the answer is right.",
    "training.profit_loss_weight": "Weight of the expected utility of the answer.",
    "training.target": "What is named: the label, the most utility, or a regime.",
    "training.utility": "What an outcome is worth.",
    "training.prior_sharpe": "Sharpe ratio that risk is assumed to be paid, none for "
    "the means of the training rows; with `risk` alone.",
    "training.risk_aversion": "Weight of the variance in the utility.",
    "training.class_weighting": "How much more a rare winner counts.",
    "training.label_smoothing": "Share of the target spread over all allocations.",
    "training.n_supervision_steps": "Passes over a batch, each with a step of its own.",
    "training.epochs": "Most epochs.",
    "training.max_batches_per_epoch": "Most batches of an epoch.",
    "training.patience": "Epochs without a better validation loss before it stops.",
    "training.batch_size": "Rows of a batch; fewer where there are few rows.",
    "training.learning_rate": "Largest learning rate.",
    "training.beta1": "Memory of the optimiser's mean.",
    "training.beta2": "Memory of the optimiser's variance.",
    "training.weight_decay": "Pull of the parameters to zero.",
    "training.warmup_fraction": "Share of the steps in which the rate rises.",
    "training.max_warmup_steps": "Most steps in which it rises.",
    "training.max_grad_norm": "Length to which gradients are cut.",
    "training.grokfast_alpha": "Memory of the slow part of the gradient.",
    "training.grokfast_lambda": "How much of the slow part is added; 0 for none.",
    "training.ema_decay": "Memory of the average of parameters that is kept.",
    "training.min_labels": "Fewest labels that a model is trained on.",
    "training.validation_fraction": "Newest share of labels, which choose the epoch.",
    "training.num_threads": "Threads of a training; another number is another model.",
    "training.device": "Where models are trained; on another device, other bits.",
    "walkforward.first_decision": "First date decided, none for as early as possible.",
    "walkforward.retrain_every": "Sessions between trainings.",
    "walkforward.retrain_on": "Dates to retrain before, instead.",
    "walkforward.window": "Newest labels trained on, none for all.",
    "walkforward.embargo": "Further sessions before a decision that give no label.",
    "walkforward.n_seeds": "Models averaged in a fold.",
    "strategy.decision": "Hold the most probable allocation, or a blend of all by "
    "probability.",
    "strategy.n_averaged": "Decisions whose probabilities are averaged.",
    "strategy.min_confidence": "Confidence below which what is held stays.",
    "strategy.rebalance_band": "Distance from the target that is not traded.",
    "strategy.min_trade_value": "Smallest order, in quote currency.",
    "strategy.max_gap": "Gap at the open that cash is spared for; plain Cerebro alone.",
    "strategy.schedule": "When decisions are traded.",
    "backtest.initial_cash": "Cash at the start, in quote currency.",
    "backtest.cost_bps": "Cost of a trade in basis points of its value.",
}
"""By dotted name; a test holds these to the settings that there are."""


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
    """Say what a setting may be: its choices, or its kind and limits."""
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
