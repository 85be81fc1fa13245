"""What is compared: the seed preset, the same with one thing changed, rivals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from trm_bt.config import TRMConfig

Kind = Literal["trm", "mlp", "lightgbm", "logistic", "majority"]


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Parameters
    ----------
    name : str
        What the row is called, in files too.
    words : str
        What it is, for readers.
    changes : mapping of str to mapping
        Settings that differ from the seed preset, by section of `TRMConfig`.
    kind : {"trm", "mlp", "lightgbm", "logistic", "majority"}
        What is fitted.
    is_random : bool
        Whether the seed makes a difference.
    """

    name: str
    words: str
    changes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    kind: Kind = "trm"
    is_random: bool = True

    def config(self, seed: int) -> TRMConfig:
        """Return the seed preset with the changes and a seed."""
        settings = TRMConfig.preset("seed").model_dump() | {"seed": seed}
        for section, changed in self.changes.items():
            settings[section] |= changed
        return TRMConfig.model_validate(settings)


def _model(**changes: object) -> dict[str, dict[str, object]]:
    return {"model": changes}


def _training(**changes: object) -> dict[str, dict[str, object]]:
    return {"training": changes}


def _steps(n_steps: int) -> dict[str, dict[str, object]]:
    """Supervise so often in training, and at most so often when deciding."""
    return {
        "model": {"max_supervision_steps": n_steps},
        "training": {"n_supervision_steps": n_steps},
    }


RIVALS: Final = (
    Variant("majority", "most frequent winner", kind="majority", is_random=False),
    Variant("logistic", "logistic regression", kind="logistic", is_random=False),
    Variant("lightgbm", "LightGBM", kind="lightgbm"),
    Variant(
        "mlp",
        "plain MLP, as many parameters",
        {"training": {"halt_loss_weight": 0.0}},
        kind="mlp",
    ),
    Variant(
        "mlp_short",
        "plain MLP, a quarter of the steps",
        {"training": {"halt_loss_weight": 0.0, "n_supervision_steps": 1}},
        kind="mlp",
    ),
)

NETWORKS: Final = (
    Variant("full", "TRM, seed preset (4 supervision steps, T = 3, n = 6)"),
    Variant("supervision_1", "1 supervision step", _steps(1)),
    Variant("no_recursion_cycles", "T = 1", _model(num_recursion_cycles=1)),
    Variant("one_latent_step", "n = 1", _model(num_latent_steps=1)),
    Variant("no_grokfast", "no GrokFast (λ = 0)", _training(grokfast_lambda=0.0)),
    Variant("no_average", "no parameter average", _training(ema_decay=0.0)),
    Variant("weighting_sqrt", "class weights, sqrt", _training(class_weighting="sqrt")),
    Variant(
        "weighting_inverse",
        "class weights, inverse",
        _training(class_weighting="inverse"),
    ),
    Variant(
        "utility_mean_variance",
        "mean-variance utility in the loss",
        _training(utility="mean_variance"),
    ),
    Variant(
        "profit_first",
        "profit weight 1.0, cross-entropy 0.3",
        _training(profit_loss_weight=1.0, strategy_loss_weight=0.3),
    ),
    Variant(
        "labels_mean_variance",
        "mean-variance labels",
        {"labels": {"objective": "mean_variance"}},
    ),
    Variant("smoothing", "label smoothing 0.1", _training(label_smoothing=0.1)),
    Variant("turnover_cost", "5 bp turnover cost", _training(turnover_cost_bps=5.0)),
    Variant(
        "soft_labels", "soft labels, τ = 0.1", {"labels": {"soft_temperature": 0.1}}
    ),
    Variant("supervision_16", "16 supervision steps", _steps(16)),
)

PAPER: Final = Variant("paper", "the paper's form", _model(architecture="paper"))

VARIANTS: Final = (*RIVALS, *NETWORKS, PAPER)
