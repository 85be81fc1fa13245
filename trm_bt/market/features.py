"""The ten market features, each known at the close of its session.

`feature_rows` is the one place where the formulas of `trm_bt.market.formulas` and
`trm_bt.market.proxies` come together. It is row-independent: each row is computed from
its own trailing sessions alone, so that one row or a whole history gives the same
bits. The batch function, the indicator and the labelling analyzer all call it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from trm_bt.config import FeatureConfig
from trm_bt.errors import BarsError
from trm_bt.market import formulas, proxies
from trm_bt.market.bars import ROLES, Bars
from trm_bt.market.windows import Column

FEATURE_NAMES: Final = (
    "vix_level",
    "spy_returns_5d",
    "spy_returns_20d",
    "volume_ratio",
    "market_breadth",
    "correlation",
    "put_call_ratio",
    "gini_coefficient",
    "sector_dispersion",
    "signal_quality_score",
)
FORMULA_VERSION: Final = 2

Status = Literal["observed", "proxy"]
_ROLES: Final = {"volume": "equity"}
"""Role of an input where it does not bear the role's name."""


@dataclass(frozen=True)
class Formula:
    """How one feature comes about.

    Parameters
    ----------
    compute : callable
        A function of `trm_bt.market.formulas` or `trm_bt.market.proxies`.
    inputs : tuple of str
        Names of the arrays that it takes first, as `input_arrays` gives them.
    lookbacks : tuple of int
        What it takes after them.
    of_returns : bool
        Whether its lookback counts returns, which need one more session.
    """

    compute: Callable[..., Column]
    inputs: tuple[str, ...]
    lookbacks: tuple[int, ...] = ()
    of_returns: bool = False

    @property
    def n_sessions(self) -> int:
        """Sessions that one row needs, its own included."""
        return max(self.lookbacks, default=1) + self.of_returns


@cache
def formulas_for(
    config: FeatureConfig, has_members: bool, has_put_call: bool
) -> dict[str, Formula]:
    """Return the formula of each feature, proxies for the optional inputs not there."""
    return {
        **_core_formulas(config),
        **(_member_formulas(config) if has_members else _member_proxies(config)),
        "put_call_ratio": Formula(
            formulas.put_call_ratio,
            ("put_call",),
            (config.put_call_short_lookback, config.put_call_long_lookback),
        )
        if has_put_call
        else Formula(
            proxies.put_call_ratio_proxy,
            ("volatility",),
            (config.put_call_short_lookback, config.put_call_proxy_lookback),
        ),
    }


def _core_formulas(config: FeatureConfig) -> dict[str, Formula]:
    """Return the features that are always there."""
    equity, both = ("equity",), ("equity", "bond")
    return {
        "vix_level": Formula(formulas.vix_level, ("volatility",)),
        "spy_returns_5d": Formula(
            formulas.spy_returns,
            equity,
            (config.short_return_lookback,),
            of_returns=True,
        ),
        "spy_returns_20d": Formula(
            formulas.spy_returns,
            equity,
            (config.long_return_lookback,),
            of_returns=True,
        ),
        "volume_ratio": Formula(
            formulas.volume_ratio, ("volume",), (config.volume_lookback,)
        ),
        "correlation": Formula(
            formulas.correlation, both, (config.correlation_lookback,), of_returns=True
        ),
        "signal_quality_score": Formula(
            formulas.signal_quality_score,
            equity,
            (config.efficiency_lookback,),
            of_returns=True,
        ),
    }


def _member_formulas(config: FeatureConfig) -> dict[str, Formula]:
    """Return the features of a cross-section of members."""
    members = ("members",)
    return {
        "market_breadth": Formula(
            formulas.market_breadth, members, (config.breadth_lookback,)
        ),
        "gini_coefficient": Formula(
            formulas.gini_coefficient, members, (config.gini_lookback,), of_returns=True
        ),
        "sector_dispersion": Formula(
            formulas.sector_dispersion,
            members,
            (config.dispersion_lookback,),
            of_returns=True,
        ),
    }


def _member_proxies(config: FeatureConfig) -> dict[str, Formula]:
    """Return what stands in for them where there are no members."""
    equity, both = ("equity",), ("equity", "volatility")
    return {
        "market_breadth": Formula(
            proxies.market_breadth_proxy, both, (config.breadth_proxy_lookback,)
        ),
        "gini_coefficient": Formula(
            proxies.gini_coefficient_proxy,
            equity,
            (config.gini_lookback,),
            of_returns=True,
        ),
        "sector_dispersion": Formula(
            proxies.sector_dispersion_proxy,
            both,
            (config.dispersion_lookback,),
            of_returns=True,
        ),
    }


class FeatureSchema(BaseModel):
    """What a row of features means; a model may only read rows of its own schema.

    Parameters
    ----------
    members : tuple of str
        Names of the members whose formulas are used; empty for the proxies.
    has_put_call : bool
        Whether `put_call_ratio` comes from put/call volume instead of its proxy.
    status : tuple of 10 {"observed", "proxy"}
        For each feature, whether its inputs are observed. An estimated volatility
        index or a surviving membership counts as proxy whatever the formula.
    lookbacks : FeatureConfig
        The sessions that each feature looks back.
    formula_version : int
        Raised whenever a formula changes.
    provenance : dict of str to str
        Where each role came from, in words. It is for readers: schemas that differ in
        it alone mean the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[str, ...] = ()
    has_put_call: bool = False
    status: tuple[Status, ...] = ("observed",) * 10
    lookbacks: FeatureConfig = FeatureConfig()
    formula_version: int = FORMULA_VERSION
    provenance: dict[str, str] = {}

    @property
    def status_by_name(self) -> dict[str, Status]:
        """Whether each feature is observed or a proxy."""
        return dict(zip(FEATURE_NAMES, self.status, strict=True))

    @property
    def formulas(self) -> dict[str, Formula]:
        """The formula of each feature."""
        return formulas_for(self.lookbacks, bool(self.members), self.has_put_call)

    @property
    def n_lookback(self) -> int:
        """Sessions that the first valid row needs, itself included."""
        return max(formula.n_sessions for formula in self.formulas.values())

    def difference(self, other: "FeatureSchema") -> str | None:
        """Say in words how `other` differs from this schema, None if it does not."""
        if self.formula_version != other.formula_version:
            return (
                f"formula version {self.formula_version} against "
                f"{other.formula_version}"
            )
        if self.members != other.members:
            return f"members {list(self.members)} against {list(other.members)}"
        if self.has_put_call != other.has_put_call:
            return (
                f"put/call input {'present' if self.has_put_call else 'absent'} "
                f"against {'present' if other.has_put_call else 'absent'}"
            )
        ours, theirs = self.lookbacks.model_dump(), other.lookbacks.model_dump()
        for name, value in ours.items():
            if value != theirs[name]:
                return f"`{name}` {value} against {theirs[name]}"
        for name, mine, its in zip(
            FEATURE_NAMES, self.status, other.status, strict=True
        ):
            if mine != its:
                return f"feature {name} {mine} against {its}"
        return None


@dataclass(frozen=True)
class Features:
    """Feature rows with the schema that says what they mean.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, 10)
        One column per feature, one row per session from the first with a full
        lookback; each row is known at the close of its session. The schema travels in
        ``attrs["feature_schema"]`` as JSON values, through parquet too.
    schema : FeatureSchema
        What the columns were computed from.
    n_zero_denominators : dict of str to int
        Rows per feature that are 0 because a denominator was 0; features without
        such rows are absent.
    """

    frame: pd.DataFrame
    schema: FeatureSchema
    n_zero_denominators: dict[str, int]


def schema_for(bars: Bars, config: FeatureConfig | None = None) -> FeatureSchema:
    """Return the schema of the features that `bars` can give."""
    members = () if bars.members is None else tuple(map(str, bars.members.columns))
    present = [role for role in ROLES if getattr(bars, role) is not None]
    schema = schema_from({role: bars.status(role) for role in present}, members, config)
    return schema.model_copy(update={"provenance": describe_provenance(bars)})


def describe_provenance(bars: Bars) -> dict[str, str]:
    """Say where the bars and each of their roles came from, a sentence each."""
    roles = {
        role: "; ".join([entry.source, *entry.notes])
        for role, entry in bars.provenance.items()
    }
    return {"bars": bars.source, **roles}


def schema_from(
    role_status: Mapping[str, Status],
    members: tuple[str, ...],
    config: FeatureConfig | None = None,
) -> FeatureSchema:
    """Return the schema of features whose inputs have these statuses.

    Parameters
    ----------
    role_status : mapping of str to {"observed", "proxy"}
        Status of each role that is there.
    members : tuple of str
        Names of the members whose formulas are used; empty for the proxies.
    config : FeatureConfig, optional
        Lookbacks.
    """
    observed = formulas_for(FeatureConfig(), has_members=True, has_put_call=True)
    status: list[Status] = [
        "observed"
        if all(
            role_status.get(_ROLES.get(name, name)) == "observed"
            for name in observed[feature].inputs
        )
        else "proxy"
        for feature in FEATURE_NAMES
    ]
    return FeatureSchema(
        members=members,
        has_put_call="put_call" in role_status,
        status=tuple(status),
        lookbacks=config or FeatureConfig(),
    )


def compute_features(bars: Bars, config: FeatureConfig | None = None) -> Features:
    """Compute the ten features of every session with a full lookback.

    The row of session t uses bars up to and including t and is known at its close.

    Parameters
    ----------
    bars : Bars
        Checked bars; optional roles decide between observed formula and proxy.
    config : FeatureConfig, optional
        Lookbacks.

    Returns
    -------
    Features
        Rows from the first session with a full lookback; nothing is back-filled.

    Raises
    ------
    BarsError
        If the bars are shorter than the longest lookback.
    """
    schema = schema_for(bars, config)
    rows, is_zero = feature_rows(input_arrays(bars), schema)
    frame = pd.DataFrame(
        rows, index=bars.sessions[schema.n_lookback - 1 :], columns=FEATURE_NAMES
    )
    frame.attrs["feature_schema"] = schema.model_dump(mode="json")
    counts = dict(zip(FEATURE_NAMES, is_zero.sum(axis=0).tolist(), strict=True))
    return Features(frame, schema, {name: n for name, n in counts.items() if n})


def input_arrays(bars: Bars) -> dict[str, np.ndarray]:
    """Return the arrays that `feature_rows` reads, shapes (n_sessions[, n_members])."""
    arrays: dict[str, np.ndarray] = {
        "equity": bars.equity["close"].to_numpy(np.float64),
        "volume": bars.equity["volume"].to_numpy(np.float64),
        "bond": bars.bond["close"].to_numpy(np.float64),
        "volatility": bars.volatility["close"].to_numpy(np.float64),
    }
    if bars.members is not None:
        arrays["members"] = bars.members.to_numpy(np.float64)
    if bars.put_call is not None:
        arrays["put_call"] = bars.put_call.to_numpy(np.float64)
    return arrays


def feature_rows(
    inputs: Mapping[str, np.ndarray], schema: FeatureSchema
) -> tuple[np.ndarray, np.ndarray]:
    """Compute feature rows from trailing input arrays, by the schema's formulas.

    Parameters
    ----------
    inputs : mapping of str to ndarray
        `equity`, `volume`, `bond`, `volatility` and, if the schema names them,
        `put_call`, each of shape (n_sessions,), and `members` of shape
        (n_sessions, n_members); closes except for `volume`, oldest first.
    schema : FeatureSchema
        Which formulas and lookbacks to use.

    Returns
    -------
    rows : ndarray of shape (n_sessions - n_lookback + 1, 10)
        Row i is known at the close of session i + n_lookback - 1.
    is_zero : ndarray of the same shape, bool
        Where a denominator was 0, so that the feature was set to 0.

    Raises
    ------
    BarsError
        If there are fewer sessions than the schema's longest lookback.
    """
    n_sessions, n_lookback = len(inputs["equity"]), schema.n_lookback
    if n_sessions < n_lookback:
        raise BarsError(
            f"Features need {n_lookback} sessions of bars, got {n_sessions}. "
            "Give more history or shorter lookbacks."
        )

    def column(formula: Formula) -> Column:
        first = n_lookback - formula.n_sessions  # a longer lookback decides the rows
        arrays = [inputs[name][first:] for name in formula.inputs]
        return formula.compute(*arrays, *formula.lookbacks)

    chosen = schema.formulas
    columns = [column(chosen[name]) for name in FEATURE_NAMES]
    rows = np.stack([values for values, _ in columns], axis=-1)
    is_zero = np.stack([is_zero for _, is_zero in columns], axis=-1)
    return rows, is_zero
