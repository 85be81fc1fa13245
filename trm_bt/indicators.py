"""The features and a policy's decisions as Backtrader indicators."""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt import processes  # noqa: F401 # loaded before a fork, which it detects
from trm_bt.errors import ConfigError, LookAheadError
from trm_bt.feeds._typing import Line, Params
from trm_bt.feeds.backtrader import first_day, sessions_of, stamp_of, stamps_of
from trm_bt.feeds.calendars import (
    BarByBar,
    check_daily,
    check_finished,
    check_preloaded,
    check_weekdays,
    is_live,
    stand_together,
)
from trm_bt.feeds.inputs import (
    VolatilityWatch,
    datas_by_input,
    feeds_behind,
    given_schema,
    is_feed,
)
from trm_bt.feeds.live import LiveBars
from trm_bt.feeds.values import check_current_values, check_preloaded_values
from trm_bt.market._typing import (
    FloatArray,
    FloatFeatures,
    FloatSessions,
    FloatSessionsByFeature,
)
from trm_bt.market.allocations import Allocations
from trm_bt.market.bars import CORE_ROLES, check_volatility
from trm_bt.market.decisions import Decision, Policy
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, feature_rows
from trm_bt.strategies.decision_lines import MetaDecision, decision_lines

DECISION_LINES: Final = decision_lines(Allocations.of(None))
"""Lines of a decision between the eight allocations."""


class MarketFeatures(bt.Indicator):
    """The market features, each known at the close of its bar.

    The datas are equity, bond and volatility, and nothing else by default. A schema
    with members takes them next, in its order, and one with put/call takes that last;
    each of these is a feed with its value in `close`, or any line. The datas may be
    resampled: lookbacks count their bars. The lines are named as `FEATURE_NAMES`; bars
    before the first full lookback are NaN.

    With live feeds a row stands on the bar with which the last of them gives a session,
    even if others are already ahead; a session that one of them never gives is
    left out for all, as it is when bars are loaded. On other bars the lines are NaN.

    Params
    ------
    schema : FeatureSchema
        Which formulas and lookbacks to use. Default: proxies for every optional input.

    Attributes
    ----------
    session : float
        Date number of the session that the row of live feeds is of; NaN without one.

    Raises
    ------
    BarsError
        If the datas are not what the schema needs, a feed is replayed or gives a
        session two bars, daily feeds stamp a date with different times of day, or feeds
        that are not live stand on different sessions.
    """

    lines = FEATURE_NAMES
    params = (("schema", FeatureSchema()),)

    def __init__(self) -> None:
        schema = self.p.schema
        self._inputs = datas_by_input(self, schema, takes_lines=True)
        self._feeds = {name: it for name, it in self._inputs.items() if is_feed(it)}
        self._behind = self._feeds | feeds_behind(self._inputs)
        check_finished(self._behind)
        self._bars = BarByBar(self._behind)
        self._is_live = is_live(self._feeds)
        self._shared: deque[list[float]] = deque(maxlen=schema.n_lookback)
        self._joined: LiveBars[list[float]] = LiveBars(self._feeds, self._bar_of)
        self.session = self._kept = np.nan
        self.addminperiod(schema.n_lookback)

    def prenext(self) -> None:
        """Remember the bars of live feeds, of which some may be left out."""
        if self._is_live:
            self._remember()
        elif self._bars.has_new():
            self._bars.handle()
            check_weekdays(self.data, [stamp_of(self.data)])

    def next(self) -> None:
        """Compute the current bar's row from its trailing bars."""
        self.prenext()
        n_lookback = self.p.schema.n_lookback
        if self._is_live:
            row = self._row_of_shared()
        else:
            row = self._rows(lambda line: line.get(size=n_lookback))[0]
        values = np.full(len(FEATURE_NAMES), np.nan) if row is None else row
        for line, value in zip(_lines(self), values, strict=True):
            line[0] = value

    def once(self, start: int, end: int) -> None:
        """Compute rows `start` to `end` in one call of the same kernel."""
        check_preloaded(self._behind)  # the engine joins feeds by position
        check_weekdays(self.data, stamps_of(self.data, end))
        if start == end:
            return
        first = start + 1 - self.p.schema.n_lookback
        rows = self._rows(lambda line: line.array[first:end])
        for line, values in zip(_lines(self), rows.T, strict=True):
            line.array[start:end] = array("d", values.tobytes())

    def _lines_of(self, name: str) -> list[Line]:
        """Return the lines that are read of an input."""
        data = self._inputs[name]
        return [_value(data), data.volume] if name == "equity" else [_value(data)]

    def _rows(self, read: Callable[[Line], Iterable[float]]) -> FloatSessionsByFeature:
        """Feed the kernel with what `read` takes from each input line."""
        lines = (line for name in self._inputs for line in self._lines_of(name))
        return self._kernel([np.array(read(line)) for line in lines])

    def _kernel(self, values: list[FloatSessions]) -> FloatSessionsByFeature:
        """Compute feature rows from the values of `_lines_of` all, oldest first."""
        schema = self.p.schema
        equity, volume, *closes = values
        closes = [equity, *closes]
        inputs = dict(zip(CORE_ROLES, closes, strict=False), volume=volume)
        if schema.members:
            first = len(CORE_ROLES)
            inputs["members"] = np.stack(closes[first:][: len(schema.members)], axis=-1)
        if schema.has_put_call:
            inputs["put_call"] = closes[-1]
        return feature_rows(inputs, schema)[0]

    def _remember(self) -> None:
        """Keep the session that the current bars complete, and say which it is."""
        found = self._joined.take()
        if found is not None:
            check_weekdays(self.data, [self._joined.newest])
        if found is not None and self._has_lines_of_it():
            rows = (found.get(name) or self._bar_of(name) for name in self._inputs)
            self._shared.append([value for row in rows if row for value in row])
            self.session = self._kept = self._joined.newest
            return
        is_again = stand_together(self._feeds) and stamp_of(self.data) == self._kept
        self.session = self._kept if is_again else np.nan

    def _bar_of(self, name: str) -> list[float] | None:
        """Return what is read of the current bar of an input, if all of it is there."""
        values = [line[0] for line in self._lines_of(name)]
        return values if all(map(math.isfinite, values)) else None

    def _has_lines_of_it(self) -> bool:
        """Tell whether inputs that are no feeds have a value of the joined session."""
        lines = self._inputs.keys() - self._feeds.keys()
        is_there = all(self._bar_of(name) is not None for name in lines)
        return not lines or (is_there and stand_together(self._feeds))

    def _row_of_shared(self) -> FloatFeatures | None:
        """Compute the row of the newest shared bar; None while bars are missing."""
        if math.isnan(self.session) or len(self._shared) < self.p.schema.n_lookback:
            return None
        return np.asarray(self._kernel(list(np.array(self._shared).T))[0])


class TRMDecision(bt.Indicator, metaclass=MetaDecision):
    """A policy's decision at each close, to trade on in your own way.

    Lines: `prob_<allocation>` for each allocation of the policy, `halt_prob`, and
    `allocation`, the class index. All are NaN while the policy abstains, and before
    the first full lookback. Where the engine knows the whole history (preload and
    runonce) everything is decided in one batch, else bar by bar, with the same
    decisions, because a policy looks at one row at a time.

    The datas are feeds: equity, bond and volatility, then the members and put/call that
    the policy's schema needs, as `MarketFeatures` takes them.

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
        Let a checkpoint decide on sessions of its training span.
    decide_from : Timestamp, str or None
        First session on which to decide.

    Attributes
    ----------
    features : MarketFeatures
        The features that are decided on.
    schema : FeatureSchema
        What they are made of.
    decided : dict of float to (Decision, ndarray of shape (n_features,))
        Decisions and their features by Backtrader's date number, oldest first.

    Raises
    ------
    ConfigError
        If neither checkpoint nor policy is given.
    BarsError
        If a feed is missing or gives no finished daily bars, feeds stand on different
        sessions, or the volatility feed is not a volatility index.
    CheckpointError
        If the policy cannot read the features that these feeds give.
    LookAheadError
        If the policy decides a session differently when it is shown later ones.
    """

    lines = DECISION_LINES
    params = (
        ("checkpoint", None),
        ("policy", None),
        ("device", "auto"),
        ("allow_in_sample", False),
        ("decide_from", None),
    )

    def __init__(self) -> None:
        self.policy = given_or_loaded_policy(self.p)
        wanted = self.policy.schema
        self._inputs = datas_by_input(self, wanted, takes_lines=False)
        check_daily(self._inputs)
        self._is_live = is_live(self._inputs)
        self._watch = VolatilityWatch(self._inputs)
        self.schema = given_schema(self._inputs, wanted)
        self.policy.check_schema(self.schema)
        self._needs = dict.fromkeys(self._inputs, ("close",)) | {
            "equity": ("close", "volume")
        }
        self.features: bt.Indicator = MarketFeatures(*self.datas, schema=self.schema)  # type: ignore[call-arg] # Backtrader's params
        self._decide_from = first_day("decide_from", self.p.decide_from)
        self.decided: dict[float, tuple[Decision, FloatFeatures]] = {}

    @classmethod
    def loaded_policy(cls, given: Mapping[str, object]) -> Policy:
        """Return the policy of an instance with these params."""
        own: Params = cls.params  # by now a class of Backtrader's
        params = {**own._getpairs(), **given}
        return given_or_loaded_policy(SimpleNamespace(**params))

    def _plotlabel(self) -> list[str]:
        return []  # a chart has no room for the params

    @property
    def current(self) -> Decision | None:
        """The decision at the current close; None if none was requested."""
        found = self.decided.get(self._session())
        return None if found is None else found[0]

    def _session(self) -> float:
        """Return the date number of the session that is decided on."""
        return float(self.features.session if self._is_live else stamp_of(self.data))

    def next(self) -> None:
        """Decide on the current bar, if it has features and is a new one."""
        number = self._session()
        if number in self.decided:
            return
        if not self._is_live:
            check_current_values(self._inputs, self._needs)
        row = np.array([[line[0] for line in self.features.lines]])
        if not np.isnan(row).all() and number == stamp_of(self.data):
            self._watch.note()
        values = np.full(len(decision_lines(self.schema.table)), np.nan)
        if number >= self._decide_from and not np.isnan(row).all():
            values = self._decide(np.array([number]), row)[0]
        for line, value in zip(_lines(self), values.tolist(), strict=True):
            line[0] = value

    def oncestart(self, start: int, end: int) -> None:
        """Leave the first bar to `once`, so that there is one batch."""

    def once(self, start: int, end: int) -> None:
        """Decide on every bar in one batch, and on a few of them alone once more."""
        check_preloaded_values(self._inputs, self._needs)
        self._watch.look_at_all(end)
        start -= 1
        numbers = stamps_of(self.data, end)[start:]
        first = start + int(np.searchsorted(numbers, self._decide_from))
        if first >= end:
            return
        features = [line.array[first:end] for line in self.features.lines]
        rows = np.ascontiguousarray(np.array(features).T)
        values = self._decide(numbers[first - start :], rows)
        for line, column in zip(_lines(self), values.T, strict=True):
            line.array[first:end] = array("d", column.tobytes())

    def _decide(
        self, numbers: FloatSessions, rows: FloatSessionsByFeature
    ) -> FloatArray:
        """Decide on rows and keep it; return the lines, shape (n_rows, n_lines)."""
        sessions = sessions_of(numbers)
        name = str(self.data2._name)
        check_volatility(pd.Series(rows[:, 0], sessions), name)
        decisions = self.policy.decide(sessions, rows)
        self._check_rows_alone(sessions, rows, decisions)
        pairs = zip(decisions, rows, strict=True)
        self.decided.update(zip(numbers.tolist(), pairs, strict=True))
        return np.array(
            [
                [
                    *decision.probabilities,
                    decision.halt_prob,
                    np.nan if decision.allocation is None else decision.allocation,
                ]
                for decision in decisions
            ]
        )

    def _check_rows_alone(
        self,
        sessions: pd.DatetimeIndex,
        rows: FloatSessionsByFeature,
        decided: list[Decision],
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
            (alone,) = self.policy.decide(sessions[[i]], rows[[i]])
            pair = alone.probabilities, decided[i].probabilities
            if pair[0].tobytes() != pair[1].tobytes():
                raise LookAheadError(
                    f"{type(self.policy).__name__} must decide each row from that row "
                    f"alone, but decides {sessions[i].date()} differently when later "
                    f"rows are there: {pair[1].round(6)} against {pair[0].round(6)}."
                )


def given_or_loaded_policy(params: Params) -> Policy:
    """Return the policy that `params` hold, else load their checkpoint.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    given: Policy | None = params.policy
    if given is not None:
        if not all(hasattr(given, name) for name in ("schema", "decide")):
            raise ConfigError(
                "`policy` must have `schema`, `check_schema` and `decide`, as a "
                f"`TRMPolicy` does, got {given!r}. A folder is a `checkpoint`."
            )
        return given
    if params.checkpoint is None:
        raise ConfigError(
            "TRMAllocator and TRMDecision need a `checkpoint` folder or a `policy`, "
            "got neither."
        )
    from trm_bt.learning.policy import TRMPolicy

    return TRMPolicy.load(
        Path(params.checkpoint),
        device=params.device,
        allow_in_sample=params.allow_in_sample,
    )


def _lines(indicator: bt.Indicator) -> Iterator[Line]:
    return iter(indicator.lines)


def _value(data: bt.LineSeries) -> Line:
    """Return the close of a feed, the first line of anything else."""
    return getattr(data.lines, "close", data.lines[0])
