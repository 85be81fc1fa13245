"""What a model holds after a session and why: `decide` makes it, pages show it."""

from datetime import date
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trm_bt.errors import RunError
from trm_bt.market.bars import Status
from trm_bt.reading import read_json

NOW: Final = "now.json"
"""What a run holds after its last session, in the form of `trm-bt decide --json`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class PlannedOrder(_Record):
    """One order for the next open.

    Parameters
    ----------
    asset, symbol : str
        The role, and the symbol that plays it.
    side : {"buy", "sell"}
    shares : int
        Whole shares, above 0.
    price : float
        The close that the order is sized from, in quote currency.
    """

    asset: Literal["equity", "bond"]
    symbol: str
    side: Literal["buy", "sell"]
    shares: int
    price: float


class FeatureReading(_Record):
    """A feature at the close of the session.

    Parameters
    ----------
    value : float
        In its own unit.
    z_score : float or None
        Standardised by the training rows; None while the model abstains.
    low, high : float or None
        Range of the training rows; None where the checkpoint does not know it.
    is_outside : bool or None
        Whether the value lies outside that range.
    change : float or None
        From the session before.
    status : {"observed", "proxy"}
    """

    value: float
    z_score: float | None
    low: float | None
    high: float | None
    is_outside: bool | None
    change: float | None
    status: Status


class DecisionReport(_Record):
    """What is held after the close of a session, and what it was decided on.

    Parameters
    ----------
    session : date
        The session; its decision is filled at the next open.
    allocation : str or None
        The most probable allocation; None while the model abstains.
    weights : dict of str to float, or None
        Targets of equity, bond and cash in force; None if none have been decided.
    weights_decided_on : date or None
        The close that decided them: earlier than `session` if a low confidence or the
        schedule kept them.
    probabilities : dict of str to float, or None
        Of each allocation.
    confidence, halt_prob : float or None
        The largest of them, and the probability that the halt head gives.
    n_steps : int
        Supervision steps used.
    model : str
        The deciding model; empty if there was none.
    knows_until : date
        The last session whose outcome the model knows: that of the deciding model, or
        of the oldest one while it abstains.
    abstains_because : str or None
        One sentence while the model abstains.
    features : dict of str to FeatureReading
    outside : tuple of str
        Features outside the range of the training rows.
    session_before : date or None
        The session that changes refer to.
    allocation_before : str or None
        The most probable allocation of that session.
    weight_changes, probability_changes : dict of str to float, or None
        Where both sessions have them.
    orders : tuple of PlannedOrder, or None
        Orders that bring a given portfolio to the weights.
    """

    session: date
    allocation: str | None
    weights: dict[str, float] | None
    weights_decided_on: date | None
    probabilities: dict[str, float] | None
    confidence: float | None
    halt_prob: float | None
    n_steps: int
    model: str
    knows_until: date
    abstains_because: str | None
    features: dict[str, FeatureReading]
    outside: tuple[str, ...]
    session_before: date | None
    allocation_before: str | None
    weight_changes: dict[str, float] | None
    probability_changes: dict[str, float] | None
    orders: tuple[PlannedOrder, ...] | None = None


def read_now(run_dir: Path) -> DecisionReport | None:
    """Return what a run holds after its last session; None for one that does not say.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    file = run_dir / NOW
    if not file.is_file():
        return None
    try:
        return DecisionReport.model_validate_json(read_json(file))
    except (ValidationError, OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}. Repeat the run.") from error
