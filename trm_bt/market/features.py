"""The ten market features, each known at the close of its session.

`feature_rows` is the one home of every formula. It is row-independent: each row is
computed from its own trailing sessions alone, laid out contiguously, so that one row
or a whole history gives the same bits. The batch function, the indicator and the
labelling analyzer all call it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, ConfigDict

from trm_bt.config import FeatureConfig
from trm_bt.errors import BarsError
from trm_bt.market.bars import ROLES, Bars

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
FORMULA_VERSION: Final = 1

Status = Literal["observed", "proxy"]
_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "vix_level": ("volatility",),
    "spy_returns_5d": ("equity",),
    "spy_returns_20d": ("equity",),
    "volume_ratio": ("equity",),
    "market_breadth": ("members",),
    "correlation": ("equity", "bond"),
    "put_call_ratio": ("put_call",),
    "gini_coefficient": ("members",),
    "sector_dispersion": ("members",),
    "signal_quality_score": ("equity",),
}
"""What each feature must have read to count as observed, if that is observed itself."""


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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[str, ...] = ()
    has_put_call: bool = False
    status: tuple[Status, ...] = ("observed",) * 10
    lookbacks: FeatureConfig = FeatureConfig()
    formula_version: int = FORMULA_VERSION

    @property
    def n_lookback(self) -> int:
        """Sessions that the first valid row needs, itself included."""
        config = self.lookbacks
        needed = [
            config.short_return_lookback + 1,
            config.long_return_lookback + 1,
            config.volume_lookback,
            config.correlation_lookback + 1,
            config.gini_lookback + 1,
            config.dispersion_lookback + 1,
            config.efficiency_lookback + 1,
            config.breadth_lookback
            if self.members
            else config.breadth_proxy_lookback + 1,
            max(
                config.put_call_short_lookback,
                config.put_call_long_lookback
                if self.has_put_call
                else config.put_call_proxy_lookback,
            ),
        ]
        return max(needed)

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
        lookback; each row is known at the close of its session.
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
    return schema_from({role: bars.status(role) for role in present}, members, config)


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
    status: list[Status] = [
        "observed"
        if all(role_status.get(role) == "observed" for role in _INPUTS[name])
        else "proxy"
        for name in FEATURE_NAMES
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
    r"""Compute feature rows from trailing input arrays; the one home of the formulas.

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

    Notes
    -----
    With r the equity's simple daily returns and all windows ending at t:

    - volume_ratio: :math:`v_t / \operatorname{mean}(v)`.
    - market_breadth: share of members above their own mean close; proxy: share of r
      above 0.
    - correlation: Pearson correlation of equity and bond returns.
    - put_call_ratio: short mean of the ratio over its long mean; proxy: short mean of
      the volatility index over its long mean.
    - gini_coefficient: Gini coefficient across members of each one's summed absolute
      returns; proxy: of the equity's absolute returns.
    - sector_dispersion: standard deviation (n denominator) across members of their
      returns over the lookback; proxy: across equity and bond.
    - signal_quality_score: :math:`|\\sum r| / \\sum |r|`.

    References
    ----------
    Kaufman, P. (2013). Trading Systems and Methods, 5th ed.: efficiency ratio.
    """
    n_sessions, n_lookback = len(inputs["equity"]), schema.n_lookback
    if n_sessions < n_lookback:
        raise BarsError(
            f"Features need {n_lookback} sessions of bars, got {n_sessions}. "
            "Give more history or shorter lookbacks."
        )
    n_rows = n_sessions - n_lookback + 1
    columns = {
        **_equity_features(inputs, schema.lookbacks, n_rows),
        **_member_features(inputs, schema, n_rows),
        "put_call_ratio": _put_call_ratio(inputs, schema, n_rows),
    }
    rows = np.stack([columns[name][0] for name in FEATURE_NAMES], axis=-1)
    is_zero = np.stack([columns[name][1] for name in FEATURE_NAMES], axis=-1)
    return rows, is_zero


_Column = tuple[np.ndarray, np.ndarray]
"""Values and where a denominator was 0, each of shape (n_rows,)."""


def _equity_features(
    inputs: Mapping[str, np.ndarray], config: FeatureConfig, n_rows: int
) -> dict[str, _Column]:
    """Compute the features that equity, bond and volatility alone decide."""
    equity, volume = inputs["equity"], inputs["volume"]
    equity_returns, bond_returns = _returns(equity), _returns(inputs["bond"])
    path = _tail(equity_returns, config.efficiency_lookback, n_rows)
    return {
        "vix_level": _sure(inputs["volatility"][-n_rows:]),
        "spy_returns_5d": _sure(
            _returns(equity, config.short_return_lookback)[-n_rows:]
        ),
        "spy_returns_20d": _sure(
            _returns(equity, config.long_return_lookback)[-n_rows:]
        ),
        "volume_ratio": _divide(
            volume[-n_rows:], _mean(volume, config.volume_lookback, n_rows)
        ),
        "correlation": _correlation(
            _tail(equity_returns, config.correlation_lookback, n_rows),
            _tail(bond_returns, config.correlation_lookback, n_rows),
        ),
        "signal_quality_score": _divide(
            np.abs(path.sum(axis=-1)), np.abs(path).sum(axis=-1)
        ),
    }


def _member_features(
    inputs: Mapping[str, np.ndarray], schema: FeatureSchema, n_rows: int
) -> dict[str, _Column]:
    """Compute what needs a cross-section: of the members, else its proxies."""
    config = schema.lookbacks
    if schema.members:
        members = inputs["members"]
        closes = _tail(members, config.breadth_lookback, n_rows)
        is_up = closes[..., -1] > closes.mean(axis=-1)
        moves = _tail(_returns(members), config.gini_lookback, n_rows)
        sizes = np.abs(moves).sum(axis=-1)
        spread = _returns(members, config.dispersion_lookback)[-n_rows:]
    else:
        returns = _returns(inputs["equity"])
        is_up = _tail(returns, config.breadth_proxy_lookback, n_rows) > 0
        sizes = np.abs(_tail(returns, config.gini_lookback, n_rows))
        both = np.stack([inputs["equity"], inputs["bond"]], axis=-1)
        spread = _returns(both, config.dispersion_lookback)[-n_rows:]
    return {
        "market_breadth": _sure(is_up.mean(axis=-1)),
        "gini_coefficient": _gini(sizes),
        "sector_dispersion": _sure(spread.std(axis=-1)),
    }


def _put_call_ratio(
    inputs: Mapping[str, np.ndarray], schema: FeatureSchema, n_rows: int
) -> _Column:
    """Hold the short mean of put/call (proxy: the volatility index) to its long one."""
    config = schema.lookbacks
    values, lookback = (
        (inputs["put_call"], config.put_call_long_lookback)
        if schema.has_put_call
        else (inputs["volatility"], config.put_call_proxy_lookback)
    )
    return _divide(
        _mean(values, config.put_call_short_lookback, n_rows),
        _mean(values, lookback, n_rows),
    )


def _returns(values: np.ndarray, lookback: int = 1) -> np.ndarray:
    """Return simple returns over `lookback` sessions, shape (n - lookback, ...)."""
    return np.asarray(values[lookback:] / values[:-lookback] - 1.0)


def _tail(values: np.ndarray, lookback: int, n_rows: int) -> np.ndarray:
    """Lay out each row's last `lookback` values along a contiguous last axis.

    A reduction over a contiguous last axis adds in one order however many rows there
    are, which is what makes one row and a whole history agree to the last bit.
    """
    windows = sliding_window_view(values, lookback, axis=0)
    return np.ascontiguousarray(windows[len(windows) - n_rows :])


def _mean(values: np.ndarray, lookback: int, n_rows: int) -> np.ndarray:
    return np.asarray(_tail(values, lookback, n_rows).mean(axis=-1))


def _sure(values: np.ndarray) -> _Column:
    """Return a column that has no denominator to be 0."""
    return values, np.zeros(len(values), dtype=bool)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> _Column:
    """Divide, with 0 where the denominator is 0."""
    is_zero = denominator == 0
    zeros = np.zeros(len(denominator))
    return np.divide(numerator, denominator, out=zeros, where=~is_zero), is_zero


def _correlation(left: np.ndarray, right: np.ndarray) -> _Column:
    """Correlate along the last axis (Pearson), shapes (n_rows, lookback)."""
    left = left - left.mean(axis=-1, keepdims=True)
    right = right - right.mean(axis=-1, keepdims=True)
    scale = np.sqrt((left * left).sum(axis=-1) * (right * right).sum(axis=-1))
    values, is_zero = _divide((left * right).sum(axis=-1), scale)
    return np.clip(values, -1.0, 1.0), is_zero


def _gini(sizes: np.ndarray) -> _Column:
    """Return the Gini coefficient along the last axis, shape (n_rows, n)."""
    n = sizes.shape[-1]
    ranks = 2.0 * np.arange(1, n + 1) - n - 1
    ordered = np.sort(sizes, axis=-1)
    return _divide((ordered * ranks).sum(axis=-1), n * sizes.sum(axis=-1))
