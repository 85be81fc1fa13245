"""Orders, fills and positions of any Cerebro's strategies, session by session."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import backtrader as bt
import numpy as np
import pandas as pd

from trm_bt.errors import ConfigError
from trm_bt.feeds.backtrader import local_number, sessions_of, stamp_of

_Row = tuple[float | str | bool, ...]
_NAME: Final = "trm_run_recorder"
_IN_FLIGHT: Final = (bt.Order.Created, bt.Order.Submitted, bt.Order.Accepted)
_ORDER_COLUMNS: Final = (
    *("session", "is_at_open", "feed", "type", "size", "price", "pricelimit"),
    *("trailamount", "trailpercent", "valid", "oco", "parent", "transmit"),
)
_REQUEST_COLUMNS: Final = ("session", "is_at_open", "what", "nth", "amount")
_NOTICE_COLUMNS: Final = (
    *("nth", "session", "status", "filled_on", "size", "price", "commission"),
)


@dataclass(frozen=True)
class RecordedRun:
    """What happened in a run.

    Parameters
    ----------
    closes : DataFrame of shape (n_closes, 4 + n_feeds)
        Columns strategy (its number in the Cerebro), session, at whose close the row is
        known, value and cash in quote currency, and `position <feed>` in shares. A
        strategy stands on a session once, and again where a resampled bar comes late.
    orders : DataFrame of shape (n_orders, 14)
        Every order as it was sent: `session` it was sent on, `is_at_open` if that was
        before the broker had seen the bar (`next_open` and cheating timers), strategy,
        feed, type, signed size, the prices that were requested, `valid` as a date
        number, among the strategy's orders the numbers of its `oco` (the first of the
        group, none for that one) and `parent`, and whether to `transmit` it.
    requests : DataFrame of shape (n_requests, 6)
        Other requests to the broker: `what` is "cancel", with the number
        `nth` of the order among the strategy's, or "cash", with the amount added.
    notices : DataFrame of shape (n_notices, 9)
        Fills and refusals: `session` of the notice, row of `order` in `orders`, its
        strategy and number `nth` among that one's orders, status, `filled_on` (missing
        if nothing was), and what is filled so far: signed size, mean price, commission.
    decides_from : Timestamp or None
        First session on which every strategy has left `prenext`; None if one never did.
    is_flushed : bool
        Whether a feed delivers an unfinished bar where its bars end, as resampled ones
        do.
    """

    closes: pd.DataFrame
    orders: pd.DataFrame
    requests: pd.DataFrame
    notices: pd.DataFrame
    decides_from: pd.Timestamp | None
    is_flushed: bool


class RunRecorder(bt.Analyzer):
    """Note every order when it is sent, every notice about it, and every close.

    An order is noted by the broker's `submit`, so that one sent on the last bar, of
    which no strategy ever hears again, is there too.
    """

    def start(self) -> None:
        """Listen to the broker of the strategy."""
        self.closes: list[_Row] = []
        self.orders: list[_Row] = []
        self.requests: list[_Row] = []
        self.notices: list[_Row] = []
        self.first_next: float | None = None
        self._rows: dict[int, int] = {}
        self._broker_ran_on = -np.inf
        broker = self.strategy.broker
        submit, run = broker.submit, broker.next

        def noted_submit(order: bt.Order, **kwargs: bool) -> bt.Order:
            if order.owner is self.strategy and order.ref not in self._rows:
                self._note(order)
            return submit(order, **kwargs)

        def noted_next() -> None:
            self._broker_ran_on = self._now()
            run()

        broker.submit, broker.next = noted_submit, noted_next
        self._listen_to_requests()

    def _listen_to_requests(self) -> None:
        """Note cancellations, and cash that is added (by the first strategy alone)."""
        broker = self.strategy.broker
        cancel, add_cash = broker.cancel, broker.add_cash

        def noted_cancel(order: bt.Order, bracket: bool = False) -> bool:
            # with `bracket` it is the broker itself that gives up the other side
            if order.ref in self._rows and not bracket:
                self._request("cancel", self._rows[order.ref], np.nan)
            return bool(cancel(order, bracket))

        def noted_add_cash(cash: float) -> None:
            self._request("cash", np.nan, cash)
            add_cash(cash)

        broker.cancel = noted_cancel
        if self.strategy is self.strategy.cerebro.runningstrats[0]:
            broker.add_cash = noted_add_cash

    def prenext(self) -> None:
        """Note a close before the strategy decides anything in `next`."""
        broker = self.strategy.broker
        held = broker.positions  # asking for one would give a feed without bars one
        sizes = [held[f].size if f in held else 0 for f in self.strategy.datas]
        self.closes.append((self._now(), broker.getvalue(), broker.getcash(), *sizes))

    def next(self) -> None:
        """Note a close."""
        if self.first_next is None:
            self.first_next = self._now()
        self.prenext()

    def notify_order(self, order: bt.Order) -> None:
        """Note what became of an order."""
        if order.status in _IN_FLIGHT or order.ref not in self._rows:
            return
        done = order.executed
        self.notices.append(
            (
                self._rows[order.ref],
                self._now(),
                order.getstatusname(),
                local_number(order.data, done.dt) if done.size else np.nan,
                done.size,
                done.price,
                done.comm,
            )
        )

    def _now(self) -> float:
        """Return the newest bar's date number.

        A feed that has not started shows its last bar of all, so it has no say; and
        the strategy's own clock still stands on the bar before in `next_open`.
        """
        started = [stamp_of(f) for f in self.strategy.cerebro.datas if len(f)]
        return float(np.floor(max(started)))

    def _request(self, what: str, nth: float, amount: float) -> None:
        now = self._now()
        self.requests.append((now, now > self._broker_ran_on, what, nth, amount))

    def _others(self, order: bt.Order) -> list[float]:
        """Return the numbers of an order's `oco` and `parent`, NaN for none."""
        group = self.strategy.broker._ocos.get(order.ref)
        parent = None if order.parent is None else order.parent.ref
        return [
            np.nan if ref is None else self._rows.get(ref, np.nan)
            for ref in (group, parent)
        ]

    def _note(self, order: bt.Order) -> None:
        now, asked = self._now(), order.p
        others = self._others(order)
        self._rows[order.ref] = len(self.orders)
        # the broker asks no price of these, whatever was passed as one
        is_free = order.exectype in (bt.Order.Market, bt.Order.Close)
        prices = [None if is_free else asked.price, asked.pricelimit]
        prices += [asked.trailamount, asked.trailpercent, order.valid]
        self.orders.append(
            (
                now,
                now > self._broker_ran_on,
                _feed_name(order.data),
                order.ExecTypes[order.exectype],
                order.created.size,
                *[np.nan if price is None else float(price) for price in prices],
                *others,
                bool(order.transmit),
            )
        )


def record_cerebro(cerebro: bt.Cerebro) -> RecordedRun:
    """Run a Cerebro and return what its strategies did.

    Parameters
    ----------
    cerebro : Cerebro
        Feeds, broker and strategies in place, not run yet, not for optimisation.

    Returns
    -------
    RecordedRun
        Strategies in the order of the Cerebro.

    Raises
    ------
    ConfigError
        If it is no Cerebro, or one that is built to optimise or has no strategy.
    """
    if not isinstance(cerebro, bt.Cerebro):
        raise ConfigError(f"A Cerebro is needed, got {type(cerebro).__name__}.")
    if cerebro._dooptimize:
        raise ConfigError("A Cerebro for one run is needed, got one for optstrategy.")
    cerebro.addanalyzer(RunRecorder, _name=_NAME)
    strategies = cerebro.run()
    if not strategies:
        raise ConfigError("A Cerebro with feeds and strategies is needed, got none.")
    recorders = [strategy.analyzers.getbyname(_NAME) for strategy in strategies]
    orders: list[_Row] = []
    closes, requests, notices = [], [], []
    for number, recorder in enumerate(recorders):
        n_before = len(orders)
        closes += [(number, *row) for row in recorder.closes]
        orders += [(number, *row) for row in recorder.orders]
        requests += [(number, *row) for row in recorder.requests]
        notices += [(n_before + row[0], number, *row) for row in recorder.notices]
    positions = [f"position {name}" for name in _names(strategies[0].datas)]
    firsts = [recorder.first_next for recorder in recorders]
    return RecordedRun(
        closes=_dated(closes, ("strategy", "session", "value", "cash", *positions)),
        orders=_dated(orders, ("strategy", *_ORDER_COLUMNS)),
        requests=_dated(requests, ("strategy", *_REQUEST_COLUMNS)),
        notices=_dated(notices, ("order", "strategy", *_NOTICE_COLUMNS)),
        decides_from=None if None in firsts else sessions_of(firsts).max(),
        is_flushed=any(feed._ffilters for feed in cerebro.datas),
    )


def _dated(rows: list[_Row], columns: Sequence[str]) -> pd.DataFrame:
    """Return noted rows with sessions in the place of date numbers."""
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in {"session", "filled_on"} & set(frame.columns):
        frame[name] = sessions_of(frame[name].to_numpy(np.float64))
    return frame


def _feed_name(feed: bt.AbstractDataBase) -> str:
    """Return a feed's name, else its place among the feeds."""
    return str(feed._name) if feed._name else f"data{feed._id - 1}"


def _names(feeds: Sequence[bt.AbstractDataBase]) -> list[str]:
    """Return the names of feeds, with their places where two have the same."""
    names = [_feed_name(feed) for feed in feeds]
    return [
        f"{name} (data{place})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
