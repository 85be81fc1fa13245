"""What a strategy reads of its feeds must be there: no hole, no price of nothing."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed, Feeds
from trm_bt.feeds.backtrader import local_number, stamp_of
from trm_bt.feeds.calendars import date_text

Needs = Mapping[str, Sequence[str]]
"""By role, the lines that are read."""
_PRICES = ("open", "close")
_UNPRICED = ("cash_rate",)


def check_preloaded_values(feeds: Feeds, needs: Needs) -> None:
    """Raise `BarsError` at the first bar of a preloaded feed that lacks a value.

    Parameters
    ----------
    feeds : mapping of str to data feed
        Preloaded feeds by role.
    needs : mapping of str to sequence of str
        Lines that must be finite, prices above 0 as well; roles as in `feeds`.
    """
    for role, names in needs.items():
        feed = feeds[role]
        for name in names:
            values = np.array(getattr(feed.lines, name).array[: feed.buflen()])
            is_bad = ~np.isfinite(values)
            if _must_be_positive(role, name):
                is_bad |= values <= 0
            if is_bad.any():
                at = int(is_bad.argmax())
                number = local_number(feed, feed.datetime.array[at])
                raise _refusal(feed, role, name, values[at], number)


def check_current_values(feeds: Feeds, needs: Needs) -> None:
    """Raise `BarsError` if the current bar of a feed lacks a value."""
    for role, name, value in _missing_now(feeds, needs):
        raise _refusal(feeds[role], role, name, value, stamp_of(feeds[role]))


def has_current_values(feeds: Feeds, needs: Needs) -> bool:
    """Return whether the current bars of all feeds have their values."""
    return not any(_missing_now(feeds, needs))


def _missing_now(feeds: Feeds, needs: Needs) -> Iterator[tuple[str, str, float]]:
    """Yield role, line and value of what the current bars lack."""
    for role, names in needs.items():
        for name in names:
            value = getattr(feeds[role].lines, name)[0]
            is_low = _must_be_positive(role, name) and value <= 0
            if is_low or not math.isfinite(value):
                yield role, name, value


def _must_be_positive(role: str, name: str) -> bool:
    return name in _PRICES and role not in _UNPRICED


def _refusal(
    feed: Feed, role: str, name: str, value: float, number: float
) -> BarsError:
    rule = "above 0" if _must_be_positive(role, name) else "finite"
    return BarsError(
        f"The feed '{feed._name or role}' must have a `{name}` that is {rule}, got "
        f"{value} on {date_text(number)}. Drop that session from every feed, or fill "
        "it from a source you trust."
    )
