"""The allocator: a policy's decisions, traded."""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from trm_bt.config import StrategyConfig
from trm_bt.decisions import Decision, Policy
from trm_bt.errors import BarsError, ConfigError, LookAheadError
from trm_bt.feeds.backtrader import sessions_of
from trm_bt.feeds.roles import feeds_by_name
from trm_bt.indicators import MarketFeatures
from trm_bt.market.allocations import ALLOCATION_NAMES, ALLOCATION_WEIGHTS
from trm_bt.market.bars import check_volatility
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, Status, schema_from
from trm_bt.strategies.rebalancing import ASSETS, RebalancingStrategy

DECISION_COLUMNS = (
    "session",
    *FEATURE_NAMES,
    *[f"prob_{name}" for name in ALLOCATION_NAMES],
    "confidence",
    "halt_prob",
    "n_steps",
    "allocation",
    "allocation_name",
    "model",
    "target_equity",
    "target_bond",
    "target_cash",
)
_CASH = (0.0, 0.0)


class TRMAllocator(RebalancingStrategy):
    """Hold what a policy decides from the ten market features of each close.

    The features come from `MarketFeatures` over the feeds that the policy's schema
    needs. Where the engine knows the whole history (preload and runonce), everything is
    decided in one batch on the first bar; else bar by bar, with the same decisions,
    because a policy looks at one row at a time. While the policy abstains, cash is
    held. The volatility feed is read and never traded.

    Params
    ------
    checkpoint : str, Path or None
        Folder of one checkpoint or of a walk-forward set, loaded unless a policy is
        given.
    policy : Policy or None
        Anything that has `schema`, `check_schema` and `decide`.
    device : {"auto", "cpu", "cuda"}
        Where a checkpoint runs.
    allow_in_sample : bool
        Let a checkpoint decide on sessions that it was trained on.
    decision : {"argmax", "blend"}
        Hold the most probable allocation, or all of them mixed by probability.
    min_confidence : float
        Below this largest probability the weights decided before are kept.
    equity, bond, volatility : str or None
        Feed names; None finds SPY, TLT and VIX by name, else by order.
    rebalance_band, max_gap, decide_from
        As in `RebalancingStrategy`.

    Raises
    ------
    ConfigError
        If a parameter breaks its rule, or neither checkpoint nor policy is given.
    BarsError
        If a feed is missing, the feeds stand on different sessions, or the volatility
        feed is no volatility index.
    CheckpointError
        If the policy cannot read the features that these feeds give.
    LookAheadError
        If the policy decides a session differently when it is shown later ones.
    """

    params = (
        ("checkpoint", None),
        ("policy", None),
        ("device", "auto"),
        ("allow_in_sample", False),
        ("decision", "argmax"),
        ("min_confidence", 0.0),
        ("volatility", None),
    )
    roles = (*ASSETS, "volatility")

    def __init__(self) -> None:
        super().__init__()
        self._check_params()
        self._policy = self._given_or_loaded_policy()
        schema = self._run_schema()
        self._policy.check_schema(schema)
        self.features: Any = MarketFeatures(  # type: ignore[call-arg] # Backtrader's params
            *[self._feeds[name] for name in (*self.roles, *_optional(schema))],
            schema=schema,
        )
        self._ahead: list[Decision] = []
        self._rows: list[np.ndarray] = []
        self._decisions: list[tuple[Decision, tuple[float, float]]] = []

    def target_weights(self) -> tuple[float, float] | None:
        """Return the weights that the policy wants at this close; None keeps."""
        if not self._ahead:
            rows, numbers = self._rows_from_here()
            sessions = sessions_of(numbers)
            levels = pd.Series(rows[:, 0], sessions)
            check_volatility(levels, str(self._feeds["volatility"]._name))
            decided = self._policy.decide(sessions, rows)
            self._check_rows_alone(sessions, rows, decided)
            self._ahead = decided[::-1]
            self._rows.extend(rows)
        decision = self._ahead.pop()
        targets = self._weights_of(decision)
        kept = targets if targets is not None else self._targets or _CASH
        self._decisions.append((decision, kept))
        return targets

    @property
    def decisions(self) -> pd.DataFrame:
        """Every decision with its features; columns are `DECISION_COLUMNS`.

        `allocation` is missing where the policy abstained; the target weights are those
        in force after the decision, also where a low confidence kept the earlier ones.
        The schema of the features is in ``attrs["feature_schema"]``.
        """
        n = len(self._decisions)
        log = [decision for decision, _ in self._decisions]
        features = np.reshape(self._rows[:n], (n, len(FEATURE_NAMES)))
        probs = np.reshape([d.probabilities for d in log], (n, len(ALLOCATION_NAMES)))
        targets = np.reshape([weights for _, weights in self._decisions], (n, 2))
        chosen = pd.array([d.allocation for d in log], dtype="Int64")
        names = [
            None if d.allocation is None else ALLOCATION_NAMES[d.allocation]
            for d in log
        ]
        columns = [
            pd.DatetimeIndex([d.decided_on for d in log]),
            *features.T,
            *probs.T,
            [d.confidence for d in log],
            [d.halt_prob for d in log],
            [d.n_steps for d in log],
            chosen,
            pd.array(names, dtype="string"),
            pd.array([d.model for d in log], dtype="string"),
            *targets.T,
            1.0 - targets.sum(axis=1),
        ]
        table = pd.DataFrame(dict(zip(DECISION_COLUMNS, columns, strict=True)))
        table.attrs["feature_schema"] = self.features.p.schema.model_dump(mode="json")
        return table

    @property
    def n_abstained(self) -> int:
        """Sessions on which the policy abstained and cash was held."""
        return sum(decision.allocation is None for decision, _ in self._decisions)

    def _check_rows_alone(
        self, sessions: pd.DatetimeIndex, rows: np.ndarray, decided: list[Decision]
    ) -> None:
        """Decide a few rows of a batch alone: later rows must not change a decision.

        Raises
        ------
        LookAheadError
            At the first row decided differently.
        """
        if len(rows) == 1:
            return
        for i in {0, len(rows) // 3, len(rows) // 2}:
            (alone,) = self._policy.decide(sessions[[i]], rows[[i]])
            pair = alone.probabilities, decided[i].probabilities
            if pair[0].tobytes() != pair[1].tobytes():
                raise LookAheadError(
                    f"{type(self._policy).__name__} must decide each row from that row "
                    f"alone, but decides {sessions[i].date()} differently when later "
                    f"rows are there: {pair[1].round(6)} against {pair[0].round(6)}."
                )

    def _weights_of(self, decision: Decision) -> tuple[float, float] | None:
        """Turn a decision into weights of equity and bond; None keeps the last ones."""
        if decision.allocation is None:
            return _CASH
        if decision.confidence < self.p.min_confidence:
            return None
        if self.p.decision == "blend":
            weights = decision.probabilities @ ALLOCATION_WEIGHTS
        else:
            weights = ALLOCATION_WEIGHTS[decision.allocation]
        return float(weights[0]), float(weights[1])

    def _rows_from_here(self) -> tuple[np.ndarray, list[float]]:
        """Return feature rows and date numbers from this bar to the last one known.

        With runonce the lines are plain arrays that hold the whole history; otherwise
        they end on this bar, or are short queues.
        """
        dates = self._feeds["equity"].datetime
        lines = list(self.features.lines)
        known = lines[0].array
        if isinstance(known, array) and len(known) > lines[0].idx + 1:
            rows = np.array([line.array[line.idx :] for line in lines]).T
            return np.ascontiguousarray(rows), dates.array[dates.idx :]
        return np.array([[line[0] for line in lines]]), [dates[0]]

    def _given_or_loaded_policy(self) -> Policy:
        given: Policy | None = self.p.policy
        if given is not None:
            return given
        if self.p.checkpoint is None:
            raise ConfigError(
                "TRMAllocator needs a `checkpoint` folder or a `policy`, got neither."
            )
        from trm_bt.learning.policy import TRMPolicy

        return TRMPolicy.load(
            Path(self.p.checkpoint),
            device=self.p.device,
            allow_in_sample=self.p.allow_in_sample,
        )

    def _check_params(self) -> None:
        names = ("decision", "min_confidence", "rebalance_band", "max_gap")
        try:
            StrategyConfig(**{name: getattr(self.p, name) for name in names})
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                f"TRMAllocator: `{first['loc'][0]}`: {first['msg']}, got "
                f"{first['input']!r}."
            ) from error

    def _run_schema(self) -> FeatureSchema:
        """Find the optional feeds that the policy needs; say what the feeds give."""
        wanted = self._policy.schema
        assert isinstance(wanted, FeatureSchema)
        feeds = feeds_by_name(self.datas)
        for name in _optional(wanted):
            if name.lower() not in feeds:
                present = [str(data._name) for data in self.datas]
                raise BarsError(
                    f"The policy reads a feed named '{name}', which must be in the "
                    f"Cerebro; the feeds are {present}."
                )
            self._feeds[name] = feeds[name.lower()]
        first_member = {"members": wanted.members[0]} if wanted.members else {}
        feed_of = {role: role for role in (*self.roles, "put_call")} | first_member
        status: dict[str, Status] = {
            role: getattr(self._feeds[name], "role_status", "observed")
            for role, name in feed_of.items()
            if name in self._feeds
        }
        return schema_from(status, wanted.members, wanted.lookbacks)


def _optional(schema: FeatureSchema) -> list[str]:
    """Return the names of the feeds that `schema` reads beside the three roles."""
    return [*schema.members, *["put_call"] * schema.has_put_call]
