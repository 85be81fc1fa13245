"""The feeds that features are computed from, by the input that each of them is."""

from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed, Feeds
from trm_bt.feeds.backtrader import sessions_of, stamp_of, stamps_of
from trm_bt.feeds.calendars import parts_of
from trm_bt.feeds.roles import known_role
from trm_bt.market._typing import FloatArray
from trm_bt.market.bars import CORE_ROLES, Status
from trm_bt.market.features import FeatureSchema, schema_from
from trm_bt.quality.core_roles import check_volatility_role

_N_EXAMINED: Final = 253
"""Closes after which a volatility feed that comes bar by bar is looked at: a year."""
_N_FORGOTTEN: Final = 126
"""It is looked at again after half a year, on a year."""


def needed_inputs(schema: FeatureSchema) -> list[str]:
    """Return the inputs that features of `schema` read, in the order of the datas."""
    return [*CORE_ROLES, *schema.optional_inputs]


def datas_by_input(
    indicator: bt.Indicator, schema: FeatureSchema, *, takes_lines: bool
) -> dict[str, Feed]:
    """Return the datas of an indicator by the input that they are.

    Parameters
    ----------
    indicator : Indicator
        What was given the datas.
    schema : FeatureSchema
        What they are to be.
    takes_lines : bool
        Whether optional inputs may be lines or indicators.

    Raises
    ------
    BarsError
        If their number is not what the schema needs, one is no feed, or the name of one
        says that it is in another's place.
    """
    taker, needed = type(indicator).__name__, needed_inputs(schema)
    if len(indicator.datas) != len(needed):
        raise BarsError(
            f"{taker} needs {len(needed)} feeds ({', '.join(needed)}), got "
            f"{len(indicator.datas)}. Pass them in this order."
        )
    inputs = dict(zip(needed, indicator.datas, strict=True))
    for name, data in inputs.items():
        if not (is_feed(data) or (takes_lines and name not in CORE_ROLES)):
            raise BarsError(
                f"{taker} needs a feed as {name}, got a line or an indicator. Pass the "
                "feed itself, such as `spy` instead of `spy.close`."
            )
    for role in CORE_ROLES:
        known = known_role(str(inputs[role]._name))
        if known not in (None, role):
            raise BarsError(
                f"{taker} takes equity, bond and volatility in this order, got "
                f"'{inputs[role]._name}', which is known as {known}, as {role}."
            )
    return inputs


def is_feed(data: bt.LineSeries) -> bool:
    """Tell whether `data` is a feed, and no line or indicator."""
    return isinstance(data, bt.feed.AbstractDataBase)


def feeds_behind(inputs: Feeds) -> dict[str, Feed]:
    """Return the feeds that inputs are made of and are not, numbered, by input."""
    found: dict[str, Feed] = {}
    for name, data in inputs.items():
        for feed in _parts_of(data):
            if not any(feed is other for other in (*inputs.values(), *found.values())):
                found[f"{name} ({len(found) + 1})"] = feed
    return found


def _parts_of(data: bt.LineSeries) -> list[Feed]:
    """Return the feeds that a line or an indicator is made of; a feed is its own."""
    if is_feed(data):
        return [data]
    owner = getattr(data, "_owner", None)
    parts = [*getattr(data, "datas", ()), *getattr(data, "args", ())]
    parts += [getattr(data, name, None) for name in ("a", "b")]
    if isinstance(data, bt.LineSeriesStub):
        parts += data.lines
    is_line = not isinstance(data, bt.Indicator)
    if is_line and (is_feed(owner) or isinstance(owner, bt.Indicator)):
        parts.append(owner)
    known = (part for part in parts if isinstance(part, bt.LineRoot))
    return [feed for part in known for feed in _parts_of(part)]


def given_schema(inputs: Feeds, wanted: FeatureSchema) -> FeatureSchema:
    """Say what feeds give: which roles are observed, and which are estimates."""
    feed_of = dict(inputs)
    if wanted.members:
        feed_of["members"] = feed_of[wanted.members[0]]
    roles = (*CORE_ROLES, "members", "put_call")
    status = {role: _status_of(feed_of[role]) for role in roles if role in feed_of}
    given = schema_from(status, wanted.members, wanted.lookbacks)
    return given.model_copy(update={"allocations": wanted.allocations})


def _status_of(feed: Feed) -> Status:
    """Return whether a feed and all that it is made of is observed."""
    parts = [feed, *parts_of(feed)]
    is_proxy = any(getattr(part, "role_status", "") == "proxy" for part in parts)
    return "proxy" if is_proxy else "observed"


class VolatilityWatch:
    """Hold the volatility feed against equity and bond, as `trm-bt validate` does.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Feeds by role.
    """

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = [feeds[role] for role in CORE_ROLES]
        self._rows: list[list[float]] = []

    def look_at_all(self, n_bars: int) -> None:
        """Look at the first `n_bars` bars of preloaded feeds."""
        closes = [feed.close.array[:n_bars] for feed in self._feeds]
        self._look_at(np.array([stamps_of(self._feeds[0], n_bars), *closes]).T)

    def note(self) -> None:
        """Keep the current bar, and look at the last year once half a year."""
        closes = [feed.close[0] for feed in self._feeds]
        self._rows.append([stamp_of(self._feeds[0]), *closes])
        if len(self._rows) >= _N_EXAMINED:
            self._look_at(np.array(self._rows))
            del self._rows[:_N_FORGOTTEN]

    def _look_at(self, rows: FloatArray) -> None:
        """Refuse the feed by rows of date number and closes, shape (n_bars, 4)."""
        closes = pd.DataFrame(rows[:, 1:], sessions_of(rows[:, 0]), CORE_ROLES)
        check_volatility_role(closes, str(self._feeds[2]._name or "volatility"))
