"""What was tried, by family: what is paid, what is expected, how it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.ablation.variants import Variant

Changes = Mapping[str, Mapping[str, object]]
Device = Literal["none", "rolling", "robust", "monotone", "shrunk", "pooled"]


@dataclass(frozen=True)
class Candidate(Variant):
    """Settings of training, and what is done beside it.

    Parameters
    ----------
    device : {"none", "rolling", "robust", "monotone", "shrunk", "pooled"}
        Inputs in units of their last three years, or of the quartiles of the training
        rows; equity that never rises with the volatility index; answers drawn towards
        the best fixed allocation; the models of all earlier folds, averaged.
    """

    device: Device = "none"


_PRIOR: Final = 0.4
"""Excess return for risk of a year: the long-run premia of equities and of bonds, over
their volatilities, in Dimson, Marsh and Staunton (2002), Triumph of the Optimists."""

_NAMED: Final = {
    "target": "utility",
    "strategy_loss_weight": 1.0,
    "profit_loss_weight": 0.3,
}
_SOFT: Final = {
    "target": "utility",
    "target_temperature": 0.3,
    "strategy_loss_weight": 1.0,
    "profit_loss_weight": 0.0,
    "grokfast_lambda": 0.0,
}
_SLOW: Final = {"learning_rate": 1e-4, "epochs": 8, "patience": 8}


def _risk(
    risk_aversion: float,
    *families: Mapping[str, object],
    prior: float | None = _PRIOR,
    horizon: int = 5,
    **training: object,
) -> Changes:
    """Pay for risk alone: the utility part of the loss, unless a family says else."""
    paid: dict[str, object] = {
        "utility": "risk",
        "risk_aversion": risk_aversion,
        "prior_sharpe": prior,
        "strategy_loss_weight": 0.0,
        "profit_loss_weight": 1.0,
    }
    for family in families:
        paid |= family
    labels = {
        "objective": "mean_variance",
        "risk_aversion": risk_aversion,
        "horizon": horizon,
    }
    return {"labels": labels, "training": paid | training}


def _own(risk_aversion: float) -> Changes:
    """Take utility as the target of halting too, and leave the labels as they are."""
    return {
        "training": {**_risk(risk_aversion, _SLOW)["training"], "target": "utility"}
    }


_DEVICES: Final[Mapping[Device, str]] = {
    "rolling": "the chosen settings, inputs in units of three years",
    "robust": "the same, inputs in units of quartiles, cut at 3",
    "monotone": "the same, equity never rising with volatility",
    "shrunk": "the same, drawn towards the best fixed allocation",
    "pooled": "the same, models of all earlier spans averaged",
}
"""Tried after the choice had been judged, and not chosen from."""

CANDIDATES: Final = (
    Candidate("seed", "the seed preset: the best by profit, named"),
    Candidate("slow_seed", "the same, slowly", {"training": _SLOW}),
    *(
        Candidate(f"risk_{a}", f"risk, λ = {a}, means", _risk(a, prior=None))
        for a in (3, 5, 8, 12, 20)
    ),
    *(
        Candidate(
            f"risk_target_{a}",
            f"risk, λ = {a}, means, best named",
            _risk(a, _NAMED, prior=None),
        )
        for a in (5, 8, 12, 20)
    ),
    *(
        Candidate(f"prior_{a}", f"risk, λ = {a}, prior", _risk(a))
        for a in (3, 5, 8, 12)
    ),
    *(
        Candidate(
            f"prior_target_{a}", f"risk, λ = {a}, prior, best named", _risk(a, _NAMED)
        )
        for a in (3, 5, 8, 12)
    ),
    *(
        Candidate(f"slow_{a}", f"risk, λ = {a}, prior, slowly", _risk(a, _SLOW))
        for a in (3, 5, 8)
    ),
    Candidate(
        "slow_means_8", "risk, λ = 8, means, slowly", _risk(8, _SLOW, prior=None)
    ),
    Candidate(
        "slow_plain_5",
        "λ = 5, slowly, no filter",
        _risk(5, _SLOW, grokfast_lambda=0.0, learning_rate=3e-4),
    ),
    Candidate("slow_soft_5", "λ = 5, slowly, softly named", _risk(5, _SLOW, _SOFT)),
    Candidate(
        "slow_cost_5",
        "λ = 5, slowly, 5 bp in the loss",
        _risk(5, _SLOW, turnover_cost_bps=5.0),
    ),
    Candidate(
        "slow_decay_5",
        "λ = 5, slowly, weight decay 0.1",
        _risk(5, _SLOW, weight_decay=0.1),
    ),
    Candidate(
        "slow_window_5",
        "λ = 5, slowly, the newest 1,260 labels",
        {**_risk(5, _SLOW), "walkforward": {"window": 1260}},
    ),
    Candidate(
        "slow_h20_5", "λ = 5, slowly, 20 sessions ahead", _risk(5, _SLOW, horizon=20)
    ),
    *(
        Candidate(f"slow_own_{a}", f"λ = {a}, slowly, halting by utility", _own(a))
        for a in (5, 8)
    ),
    *(
        Candidate(f"own_8_{device}", words, _own(8), device=device)
        for device, words in _DEVICES.items()
    ),
)
