"""The allocator: a policy's decisions, traded."""

import logging
import warnings
from typing import Final

import backtrader as bt
import pandas as pd

from trm_bt.config import StrategyConfig
from trm_bt.errors import BarsError, UniverseWarning
from trm_bt.feeds._typing import Feed
from trm_bt.feeds.inputs import needed_inputs
from trm_bt.feeds.roles import feeds_by_name, known_role, line_to_add
from trm_bt.feeds.values import Needs
from trm_bt.indicators import TRMDecision, given_or_loaded_policy
from trm_bt.market.decisions import Decision
from trm_bt.strategies.averaging import Averaging
from trm_bt.strategies.decision_table import decision_table
from trm_bt.strategies.ledger import ASSETS
from trm_bt.strategies.readouts import readout
from trm_bt.strategies.rebalancing import RebalancingStrategy

_SHIPPED = StrategyConfig()
_DECIDED: Final = "%.10s: the policy %s, confidence %.3f"
_LOG = logging.getLogger(__name__)


class TRMAllocator(RebalancingStrategy):
    """Hold the allocation that a policy decides from the ten features of each close.

    The decisions are those of `TRMDecision` over the feeds that the policy's schema
    needs. While the policy abstains, cash is held. The volatility feed is read and
    never traded.

    To combine decisions with rules of your own, subclass it and override
    `target_weights`: call ``super().target_weights()`` and modify the result. The log
    keeps the decision and the weights that your rule returned.

    Params
    ------
    checkpoint, policy, device, allow_in_sample
        As in `TRMDecision`.
    decision : {"argmax", "blend"}
        Hold the most probable allocation, or all of them mixed by probability.
    n_averaged : int
        Number of last decisions whose probabilities are averaged, fewer after the start
        or an abstention. With the horizon of the labels, every decision whose horizon
        is not over has equal weight.
    min_confidence : float
        If the largest probability is below this, the earlier weights are kept.
    equity, bond, volatility : str or None
        Feed names; None finds SPY, TLT and VIX by name, else feeds without names by
        order.
    roles, rebalance_band, min_trade_value, max_gap
        As in `RebalancingStrategy`.
    schedule, decide_from, trade_from, state
        As in `RebalancingStrategy`.

    Raises
    ------
    ConfigError
        If a parameter breaks its rule, or neither checkpoint nor policy is given.
    BarsError
        If a feed is missing, or as `RebalancingStrategy` and `TRMDecision` say.
    CheckpointError
        If the policy cannot read the features that these feeds give.
    LookAheadError
        If the policy decides a session differently when it is shown later ones.

    Warns
    -----
    UniverseWarning
        If `equity` or `bond` names another fund than SPY and TLT.
    """

    params = (
        ("checkpoint", None),
        ("policy", None),
        ("device", "auto"),
        ("allow_in_sample", False),
        ("decision", _SHIPPED.decision),
        ("n_averaged", _SHIPPED.n_averaged),
        ("min_confidence", _SHIPPED.min_confidence),
        ("volatility", None),
    )
    _trm_roles = (*ASSETS, "volatility")
    # a schedule may be more than a name, and is checked where it is read
    _trm_bounded = tuple(
        name for name in StrategyConfig.model_fields if name != "schedule"
    )
    _trm_weighed: Decision | None
    _trm_wanted: tuple[float, float] | None
    _trm_averaging: Averaging

    def target_weights(self) -> tuple[float, float] | None:
        """Return the weights that the policy wants at this close; None keeps."""
        self._trm_weigh()
        return self._trm_wanted

    def is_ready(self) -> bool:
        """Return whether there is a decision at the current close."""
        return self._trm_signal.current is not None

    @readout
    def decisions(self) -> pd.DataFrame:
        """Every decision with its features; see `decision_table` for the columns.

        `allocation` is missing if the policy abstained; the target weights are those in
        force after the decision, also if a low confidence kept the earlier ones. If
        there are none, the holdings are kept and logged.
        """
        return self._trm_decisions()

    @readout
    def n_abstained(self) -> int:
        """Sessions on which the policy abstained and cash was held."""
        return int(self._trm_decisions()["allocation"].isna().sum())

    @readout
    def n_kept(self) -> int:
        """Sessions on which a low confidence kept the earlier weights."""
        return self._trm_n_kept

    def _trm_weigh(self) -> None:
        decision: Decision | None = self._trm_signal.current
        if decision is None or decision is self._trm_weighed:
            return
        self._trm_weighed = decision
        self._trm_wanted = self._trm_averaging.weigh(decision)
        if _LOG.isEnabledFor(logging.INFO):
            self._trm_log(decision)
        self._trm_n_kept += self._trm_wanted is None

    def _trm_log(self, decision: Decision) -> None:
        """Say what the policy decides."""
        chosen, name = decision.allocation, "abstains"
        if chosen is not None:
            name = f"decides {self._trm_signal.schema.table.names[chosen]}"
        _LOG.info(_DECIDED, decision.decided_on, name, decision.confidence)

    def _trm_decisions(self) -> pd.DataFrame:
        """Return the table of decisions, whatever a subclass calls by its name."""
        signal, rows = self._trm_signal, self._trm.ledger.decided_rows()
        found = [signal.decided[number] for number in rows[:, 0].tolist()]
        return decision_table(
            [decision for decision, _ in found],
            [features for _, features in found],
            rows[:, 1:],
            signal.schema,
        )

    def _trm_prepare(self) -> None:
        self._trm_loaded = policy = given_or_loaded_policy(self.p)
        super()._trm_prepare()
        self._trm_warn_of_another_universe()
        self._trm_n_kept = 0
        self._trm_weighed = None
        self._trm_wanted = None
        self._trm_averaging = Averaging(
            policy.schema.table.weights,
            n_averaged=self.p.n_averaged,
            decision=self.p.decision,
            min_confidence=self.p.min_confidence,
            recent=self._trm.memory.recent,
        )
        feeds = self._trm.feeds
        self._trm_signal: bt.Indicator = TRMDecision(  # type: ignore[call-arg] # Backtrader's params
            *[feeds[name] for name in needed_inputs(policy.schema)],
            policy=policy,
            decide_from=self.p.decide_from,
        )
        self._trm_signal.plotinfo.plot = False

    def _trm_models(self) -> list[str]:
        policy = self._trm_loaded
        return list(getattr(policy, "fingerprints", ())) or [type(policy).__name__]

    def _trm_needs(self, feeds: dict[str, Feed]) -> Needs:
        inputs = needed_inputs(self._trm_loaded.schema)
        needs = {**dict.fromkeys(inputs, ("close",)), **super()._trm_needs(feeds)}
        return needs | {"equity": ("open", "close", "volume")}

    def _trm_warn_of_another_universe(self) -> None:
        """Warn if the caller names other funds than those that were evaluated."""
        others = [
            str(getattr(self.p, role))
            for role in ASSETS
            if getattr(self.p, role) and known_role(getattr(self.p, role)) != role
        ]
        if others:
            warnings.warn(
                f"{' and '.join(others)}: on another pair of assets than those a model "
                "was trained on, its decisions were never evaluated. "
                "Train a model on these, and read the model's card.",
                UniverseWarning,
                stacklevel=2,
            )

    def _trm_feeds(self) -> dict[str, Feed]:
        """Return the feeds of all roles, and the optional ones of the policy."""
        found, feeds = super()._trm_feeds(), feeds_by_name(self.datas)
        schema = self._trm_loaded.schema
        for name in needed_inputs(schema)[len(self._trm_roles) :]:
            if name.lower() not in feeds:
                present = [str(data._name) for data in self.datas]
                raise BarsError(
                    f"The policy reads a feed named '{name}', which must be in the "
                    f"Cerebro; the feeds are {present}. Its inputs are "
                    f"{schema.inputs}. Add {line_to_add(name)}, or train with "
                    "`--inputs core`, which reads SPY, TLT and VIX alone."
                )
            found[name] = feeds[name.lower()]
        return found
