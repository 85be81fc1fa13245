"""The ten market features, each known at the close of its session.

`feature_rows` is the one place where the formulas of `trm_bt.market.formulas` and
`trm_bt.market.proxies` come together. It is row-independent: each row is computed from
its own trailing sessions alone, so that one row or a whole history gives the same
bits. The batch function, the indicator and the labelling analyzer all call it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from trm_bt.config import FeatureConfig, LabelConfig
from trm_bt.errors import BarsError
from trm_bt.fields import AllocationTable
from trm_bt.market._typing import (
    BoolSessionsByFeature,
    FloatArray,
    FloatSessionsByFeature,
)
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import CORE_ROLES, Bars, Status
from trm_bt.market.feature_table import FEATURES, Feature, Formula
from trm_bt.market.windows import Column

FEATURE_NAMES: Final = tuple(feature.name for feature in FEATURES)
FORMULA_VERSION: Final = 2
_ROLES: Final = {"volume": "equity"}
"""Role of an input where it does not bear the role's name."""
_OBSERVED: Final[tuple[Status, ...]] = tuple("observed" for _ in FEATURES)
_MAX_VALUES: Final = 2**18
"""Closes of members computed with at once: two MiB, which caches hold."""
_CORE_INPUTS: Final = frozenset({*CORE_ROLES, *_ROLES})


class FeatureSchema(BaseModel, frozen=True, extra="forbid"):
    """What a row of features means; a model may only read rows of its own schema.

    Lookbacks count bars, and those of a model are finished sessions: there is no key
    for their length, because a policy refuses bars of another one.

    Parameters
    ----------
    members : tuple of str
        Names of the members whose formulas are used; empty for the proxies.
    has_put_call : bool
        Whether `put_call_ratio` comes from put/call volume instead of its proxy.
    status : tuple of n_features {"observed", "proxy"}
        For each feature, whether its inputs are observed. An estimated volatility
        index or a surviving membership counts as proxy whatever the formula.
    lookbacks : FeatureConfig
        The sessions that each feature looks back.
    formula_version : int
        Raised whenever a formula changes.
    provenance : dict of str to str
        Where each role came from, in words. It is for readers: schemas that differ in
        it alone mean the same.
    allocations : AllocationTable or None
        What a model of this schema chooses from; None for the eight.
    """

    members: tuple[str, ...] = ()
    has_put_call: bool = False
    status: tuple[Status, ...] = _OBSERVED
    lookbacks: FeatureConfig = FeatureConfig()
    formula_version: int = FORMULA_VERSION
    provenance: dict[str, str] = {}
    allocations: AllocationTable | None = Field(None, exclude_if=lambda t: t is None)

    @property
    def table(self) -> Allocations:
        """The allocations with their weights."""
        return Allocations.of(self.allocations)

    def choosing(self, config: LabelConfig) -> "FeatureSchema":
        """Return this schema with the allocations that labels are made with."""
        return self.model_copy(update={"allocations": config.allocations})

    @property
    def status_by_name(self) -> dict[str, Status]:
        """Whether each feature is observed or a proxy."""
        return dict(zip(FEATURE_NAMES, self.status, strict=True))

    @property
    def formulas(self) -> list[Formula]:
        """The formula of each feature, or its proxy where its input is absent."""
        optional = {"members": bool(self.members), "put_call": self.has_put_call}
        present = _CORE_INPUTS | {name for name, given in optional.items() if given}
        return [feature.formula_for(present) for feature in FEATURES]

    @property
    def optional_inputs(self) -> tuple[str, ...]:
        """The inputs that are read beside equity, bond and volatility, by name."""
        return (*self.members, *["put_call"] * self.has_put_call)

    @property
    def inputs(self) -> str:
        """The inputs that are read, in words."""
        optional = self.optional_inputs
        if not optional:
            return "core: SPY, TLT and VIX, with proxies for members and put/call"
        return f"SPY, TLT and VIX, and {', '.join(optional)}"

    @property
    def n_lookback(self) -> int:
        """Sessions that the first valid row needs, itself included."""
        return max(formula.n_sessions(self.lookbacks) for formula in self.formulas)

    def difference(self, other: "FeatureSchema") -> str | None:
        """Say in words how features of `other` differ from these, None if they do not.

        What is chosen from them is no matter here.
        """
        for (name, ours), (_, theirs) in zip(
            self._facts(), other._facts(), strict=True
        ):
            if ours != theirs:
                return f"{name} {ours} against {theirs}"
        return None

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield what features of this schema mean, by name, in order."""
        yield "formula version", self.formula_version
        yield "members", list(self.members)
        yield "put/call input", "present" if self.has_put_call else "absent"
        for name, value in self.lookbacks.model_dump().items():
            yield f"`{name}`", value
        for name, status in self.status_by_name.items():
            yield f"feature {name}", status


@dataclass(frozen=True)
class Features:
    """Feature rows with the schema that says what they mean.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_features)
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
    status = {role: bars.status(role) for role in bars.by_role()}
    schema = schema_from(status, members, config)
    return schema.model_copy(update={"provenance": describe_provenance(bars)})


def with_inputs_of(bars: Bars, schema: FeatureSchema) -> Bars:
    """Return the bars with the optional inputs that a schema reads, and no others.

    Raises
    ------
    BarsError
        If the bars lack one of them.
    """
    members = () if bars.members is None else tuple(bars.members.columns)
    there = {*members, *["put_call"] * (bars.put_call is not None)}
    for name in schema.optional_inputs:
        if name not in there:
            raise BarsError(
                f"The model reads {schema.inputs}, but the bars have no '{name}'. Give "
                "bars that have it on every session, from a later start if need be, or "
                "train with `--inputs core`."
            )
    picked = list(schema.members)
    return replace(
        bars,
        members=bars.members[picked] if bars.members is not None and picked else None,
        put_call=bars.put_call if schema.has_put_call else None,
    )


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

    def status_of(feature: Feature) -> Status:
        roles = [_ROLES.get(name, name) for name in feature.formula.inputs]
        is_observed = all(role_status.get(role) == "observed" for role in roles)
        return "observed" if is_observed else "proxy"

    return FeatureSchema(
        members=members,
        has_put_call="put_call" in role_status,
        status=tuple(map(status_of, FEATURES)),
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


def input_arrays(bars: Bars) -> dict[str, FloatArray]:
    """Return the arrays that `feature_rows` reads, by input.

    Returns
    -------
    dict of str to ndarray
        Closes, and the volume of the equity, each of shape (n_sessions,); `members` of
        shape (n_sessions, n_members). Optional roles that are absent have no entry.
    """
    arrays: dict[str, FloatArray] = {
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
    inputs: Mapping[str, FloatArray], schema: FeatureSchema
) -> tuple[FloatSessionsByFeature, BoolSessionsByFeature]:
    """Compute feature rows from trailing input arrays, by the schema's formulas.

    Parameters
    ----------
    inputs : mapping of str to ndarray
        What `input_arrays` returns, with every optional input of the schema.
    schema : FeatureSchema
        Which formulas and lookbacks to use.

    Returns
    -------
    rows : ndarray of shape (n_sessions - n_lookback + 1, n_features)
        Row i is known at the close of session i + n_lookback - 1.
    is_zero : ndarray of the same shape, bool
        Where a denominator was 0, so that the feature was set to 0.

    Raises
    ------
    BarsError
        If there are fewer sessions than the schema's longest lookback.
    """
    config = schema.lookbacks
    n_needed = [formula.n_sessions(config) for formula in schema.formulas]
    n_sessions, n_lookback = len(inputs["equity"]), max(n_needed)
    if n_sessions < n_lookback:
        raise BarsError(
            f"Features need {n_lookback} sessions of bars, got {n_sessions}. "
            "Give more history or shorter lookbacks."
        )
    # a row is a function of its own window: what does not fit the caches goes in parts,
    # and a table of members, whose columns are far apart in memory, session by session
    n_at_once = max(_MAX_VALUES // max(1, len(schema.members)), n_lookback)
    parts = [
        _rows_of(
            {
                name: np.ascontiguousarray(
                    v[first : first + n_at_once + n_lookback - 1]
                )
                for name, v in inputs.items()
            },
            schema,
            n_needed,
        )
        for first in range(0, n_sessions - n_lookback + 1, n_at_once)
    ]
    rows, is_zero = map(np.concatenate, zip(*parts, strict=True))
    return rows, is_zero


def _rows_of(
    inputs: Mapping[str, FloatArray], schema: FeatureSchema, n_needed: Sequence[int]
) -> tuple[FloatSessionsByFeature, BoolSessionsByFeature]:
    """Compute the feature rows of as many sessions as there are windows for."""
    config, n_lookback = schema.lookbacks, max(n_needed)

    def column(formula: Formula, n_own: int) -> Column:
        first = n_lookback - n_own  # the longest lookback decides the rows
        arrays = [inputs[name][first:] for name in formula.inputs]
        return formula.compute(*arrays, *formula.sessions_looked_back(config))

    columns = list(map(column, schema.formulas, n_needed))
    rows = np.stack([values for values, _ in columns], axis=-1)
    is_zero = np.stack([is_zero for _, is_zero in columns], axis=-1)
    return rows, is_zero
