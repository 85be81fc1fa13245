"""What cash earns: credited once a broker, however many strategies hold its account."""

import math
import warnings
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from trm_bt.errors import SetupWarning
from trm_bt.feeds._typing import Broker, Feed
from trm_bt.feeds.backtrader import sessions_of, stamps_of
from trm_bt.market.bars import SESSIONS_PER_YEAR, check_cash_rate

_PAID: Final[WeakKeyDictionary[Broker, tuple[float, float, float]]] = (
    WeakKeyDictionary()
)
"""By broker, the session of the newest credit, its amount, and its fund shares."""


class Interest:
    """Credit the yield of a feed to what is held in cash.

    Parameters
    ----------
    broker : Broker
        Who holds the cash; one that takes none is warned of, and credited nothing.
    feed : data feed
        Annual yield as a decimal in `close`, at the start of a run.

    Raises
    ------
    BarsError
        If a preloaded yield is no decimal.
    """

    def __init__(self, broker: Broker, feed: Feed) -> None:
        _PAID.pop(broker, None)
        self._broker, self._feed = broker, feed
        self._name = str(feed._name)
        self._before: float | None = None
        self._is_known = bool(feed.buflen())
        self._takes_cash = True
        if not callable(getattr(broker, "add_cash", None)):
            self._refuse()
        if self._is_known:
            sessions = sessions_of(stamps_of(feed, feed.buflen()))
            rates = np.array(feed.close.array[: feed.buflen()])
            check_cash_rate(rates, sessions, self._name)

    def credit(self, session: float, cash: float) -> float:
        """Return what `cash` earns until the next open, credited once a session.

        Raises
        ------
        BarsError
            If a yield that was not preloaded is no decimal.
        """
        if not self._takes_cash:
            return 0.0
        paid_on, credit, _ = _PAID.get(self._broker, (-np.inf, 0.0, 0.0))
        if paid_on == session:
            return credit
        rate = float(self._feed.close[0])
        if not self._is_known and rate != self._before:
            rates = np.array([rate if self._before is None else self._before, rate])
            check_cash_rate(rates, sessions_of([session] * 2), self._name)
            self._before = rate
        credit = cash * rate / SESSIONS_PER_YEAR
        try:
            self._broker.add_cash(credit)
        except NotImplementedError:
            self._refuse()
            return 0.0
        _PAID[self._broker] = session, credit, self._keep_fund_shares(credit)
        return credit

    def _refuse(self) -> None:
        """Say that nothing will be credited."""
        self._takes_cash = False
        warnings.warn(
            f"{type(self._broker).__name__} takes no `add_cash`: the yield of "
            f"'{self._name}' is not credited. Cash earns what the broker pays.",
            SetupWarning,
            stacklevel=2,
        )

    def _keep_fund_shares(self, credit: float) -> float:
        """Take off the shares that the credit will add: it is earned, not paid in."""
        if not hasattr(self._broker, "_fundshares"):
            return 0.0
        shares: float = credit / self._broker.fundvalue
        self._broker._fundshares -= shares
        return shares


def fund_shares(broker: Broker, session: float) -> float:
    """Return the shares of the broker's fund, before a credit of this session."""
    there = float(broker.get_fundshares())
    if not _PAID:
        return there
    paid_on, _, shares = _PAID.get(broker, (-np.inf, 0.0, 0.0))
    return there + shares if paid_on == session else there


class CashFlows:
    """What was paid into an account, or drawn, by the shares of its fund.

    Parameters
    ----------
    broker : Broker
        The broker, at the start of a run.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker, self._before, self._value = broker, math.nan, math.nan

    def since_last(self, session: float) -> float:
        """Return what was paid in since it was asked last, negative if drawn."""
        before, value = self._before, self._value
        shares = fund_shares(self._broker, session)
        self._before, self._value = shares, float(self._broker.get_fundvalue())
        is_same = shares == before or math.isclose(shares, before, rel_tol=1e-9)
        if is_same or math.isnan(before):
            return 0.0
        return (shares - before) * value
