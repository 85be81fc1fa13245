"""The execution shared by every strategy here: weights in, checked orders out.

Weights decided at the close of session t are traded at the open of t + 1. In a plain
Cerebro the orders are sized from the close of t, and buys are cut to what cash pays for
if both assets gap against us by `max_gap`; the rest is bought on the next bar. With
``Cerebro(cheat_on_open=True)`` they are sized from that open itself, so the weights are
exact at the fill after costs, while the decision still knows nothing after t. With
``broker.set_coc(True)`` both happen at the close of t.
"""

import dis
import warnings
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from types import CodeType
from typing import ClassVar

import backtrader as bt
import pandas as pd
from pydantic import ValidationError

from trm_bt.config import StrategyConfig, explain
from trm_bt.errors import ConfigError, SetupWarning
from trm_bt.feeds._typing import Feed
from trm_bt.feeds.calendars import check_daily
from trm_bt.feeds.roles import feeds_by_name, find_roles
from trm_bt.feeds.values import Needs
from trm_bt.strategies.broker import REFUSED
from trm_bt.strategies.execution import Execution
from trm_bt.strategies.ledger import ASSETS, WEIGHT_COLUMNS
from trm_bt.strategies.readouts import readout


class _Prepared(bt.strategy.MetaStrategy):
    """Prepare a strategy before its `__init__`, which a subclass may override."""

    def dopreinit(
        self, _obj: "RebalancingStrategy", *args: object, **kwargs: object
    ) -> tuple["RebalancingStrategy", tuple[object, ...], dict[str, object]]:
        _obj, args, kwargs = super().dopreinit(_obj, *args, **kwargs)
        if kwargs and type(_obj).__init__ is bt.Strategy.__init__:
            _refuse_unknown(type(_obj), next(iter(kwargs)))
        _obj._trm_check_params()
        _obj._trm_prepare()
        return _obj, args, kwargs


class RebalancingStrategy(bt.Strategy, metaclass=_Prepared):
    """Hold equity, bond and cash at the weights that `target_weights` returns.

    A subclass decides in `target_weights` and leaves the trading to this class. Feeds
    without a role are ignored: their bars neither delay nor trigger anything. Cash
    earns the yield of a feed named cash_rate (annual, decimal, in `close`), if there is
    one: cash held from session t - 1 to t earns rate[t - 1] / 252, credited before the
    orders of t are sized, once per broker.

    An order that is still open at the next bar is cancelled and its remainder sized
    again; one that the broker refuses is logged, counted and tried again on the
    next bar. With live feeds a session that one of them lacks, or has without a price,
    is held through: nothing is decided or traded, and `halts` lists it. Live feeds that
    give history are decided on, and traded from when each of them says LIVE; then the
    last decision is traded at once.

    A subclass may use any name and override any method of `bt.Strategy`: decisions,
    trades and records do not depend on them. If it overrides `next`, it calls
    ``super().next()`` on the bars to decide; if it never does, all are decided.

    Params
    ------
    equity, bond : str or None
        Feed names; None finds SPY and TLT by name, else feeds without names by order.
    roles : {"by_order"} or None
        Take feeds with unknown names by order.
    rebalance_band : float
        Weights may drift this far from their targets before anything is traded.
    min_trade_value : float
        Trades worth less than this, in quote currency, are not made.
    max_gap : float
        Opening gap against us that buys must survive in a plain Cerebro.
    schedule : str, callable, mapping or Timer
        Closes whose decision is traded; between them the weights drift. "bar",
        "weekly", "monthly", "change" (when the decided weights change), or as
        `trm_bt.strategies.schedule.DueSessions` takes it. Decisions are still
        taken at each close; the weights in force are those of the last due one.
    decide_from : Timestamp, str or None
        First session on which to decide; before it no cash accrues and nothing is
        logged. None decides as soon as possible.
    trade_from : Timestamp, str or None
        First session whose decision is traded; before it decisions are taken and
        logged, and nothing else. A strategy that is started again on a later session
        decides what one that never stopped does.
    state : str, Path or None
        A file that keeps what was decided and sent, so that a later process continues
        from there: no session is decided or traded twice.

    Raises
    ------
    BarsError
        If a feed is missing or gives no finished daily bars, daily feeds stamp a date
        with different times of day, or feeds that are not live stand on different
        sessions or lack a value.
    ConfigError
        If a param is out of range, `target_weights` returns invalid weights, the
        broker's commission scheme has leverage, a multiplier or a margin, or `state` is
        another kind of file.
    CheckpointError
        If `state` was written by other models, or for other feeds.

    Warns
    -----
    SetupWarning
        If another of these strategies trades the same feed, or the broker takes no
        cash yield.
    """

    params: tuple[tuple[str, object], ...] = (
        ("equity", None),
        ("bond", None),
        ("roles", None),
        ("rebalance_band", 0.0),
        ("min_trade_value", 0.0),
        ("max_gap", 0.08),
        ("schedule", "bar"),
        ("decide_from", None),
        ("trade_from", None),
        ("state", None),
    )
    _trm_roles: ClassVar[tuple[str, ...]] = ASSETS
    _trm_bounded: ClassVar[tuple[str, ...]] = (
        "rebalance_band",
        "min_trade_value",
        "max_gap",
    )
    _trm: Execution
    _orderspending: list[bt.Order]

    def target_weights(self) -> tuple[float, float] | None:
        """Return the weights of equity and bond, decided at the current close.

        None keeps the earlier weights. The rest is held in cash.
        """
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return whether `target_weights` may be called at the current close.

        If it may not, the earlier weights are kept and traded.
        """
        return True

    def next(self) -> None:
        """Decide at the close, if every feed has it."""
        self._trm.decide()

    @readout
    def orders(self) -> pd.DataFrame:
        """Every order that reached its final state, in the order of the notices.

        Columns are `ORDER_COLUMNS`; size and value are negative for sales, an unfilled
        order has its requested size and no price, and slippage is how much worse the
        price was than the open, as a decimal. "Unfilled" is the state of an order
        whose bar never came because the bars ended.
        """
        return self._trm.ledger.order_table()

    @readout
    def closes(self) -> pd.DataFrame:
        """Our own valuation at each close since `decide_from` and `trade_from`.

        Columns equity, bond and cash hold values in quote currency, and `others` that
        of positions in other feeds: together `broker_value`, as the broker reports it.
        `credit` is the yield that the cash earns until the next open, `flow` the cash
        deposited since the previous close, negative for withdrawals.
        """
        return self._trm.ledger.close_table()

    @readout
    def weights(self) -> pd.DataFrame:
        """Actual weights of equity, bond and cash at each close, our own valuation."""
        values = self._trm.ledger.close_table()[list(WEIGHT_COLUMNS)]
        return values.div(values.sum(axis=1), axis=0)

    @readout
    def executions(self) -> pd.DataFrame:
        """Target and realised weights, at the fill and at the close after it.

        One row per session with fills; columns are `EXECUTION_COLUMNS`.
        """
        return self._trm.ledger.execution_table()

    @readout
    def halts(self) -> pd.DatetimeIndex:
        """Sessions of live feeds that were held through: some feed lacked the bar."""
        return self._trm.sessions.halts

    @readout
    def n_submitted(self) -> int:
        """Orders sent."""
        return self._trm.n_submitted

    @readout
    def n_rejected(self) -> int:
        """Orders that the broker rejected or could not fill; should be zero."""
        names = {bt.Order.Status[state] for state in REFUSED}
        return sum(name in names for name in self._trm.ledger.order_names[1::2])

    def _trm_prepare(self) -> None:
        """Find the feeds, before any `__init__`."""
        for name in ("target_weights", "is_ready"):
            if not callable(getattr(type(self), name)):
                raise ConfigError(
                    f"`{name}` of {type(self).__name__} must be a method, which the "
                    "allocator calls at each close. Give the attribute another name."
                )
        feeds = self._trm_feeds()
        check_daily(feeds)
        self._trm = Execution(self, feeds, self._trm_needs(feeds))

    def _trm_check_params(self) -> None:
        given = {name: getattr(self.p, name) for name in self._trm_bounded}
        try:
            StrategyConfig(**given)
        except ValidationError as error:
            reason = explain(StrategyConfig, error)
            raise ConfigError(f"{type(self).__name__}: {reason}") from error

    def _trm_feeds(self) -> dict[str, Feed]:
        """Return the feeds by role, those of the assets first."""
        names = {role: getattr(self.p, role) for role in self._trm_roles}
        feeds = find_roles(self.datas, names, self.p.roles)
        rate = feeds_by_name(self.datas).get("cash_rate")
        return feeds if rate is None else {**feeds, "cash_rate": rate}

    def _trm_needs(self, feeds: dict[str, Feed]) -> Needs:
        """Return the lines that are read, by role; each bar must have them."""
        rate = {"cash_rate": ("close",)} if "cash_rate" in feeds else {}
        return {**dict.fromkeys(ASSETS, ("open", "close")), **rate}

    def _trm_weigh(self) -> None:
        """Take in what is known at a close, once, before weights are asked for."""

    def _trm_models(self) -> list[str]:
        """Identify the deciding models, so that no other ones continue the state."""
        return [type(self).__name__]

    def _start(self) -> None:
        super()._start()
        roles = {id(feed) for feed in self._trm.feeds.values()}
        self._trm_awaited = [
            (feed, n_bars)
            for feed, n_bars in zip(self.datas, self._minperiods, strict=True)
            if n_bars > 1 or id(feed) in roles
        ]
        self._trm_has_bars = False
        self._trm_adds = not _passes_on(type(self), "next")
        self._trm_starts = type(self).nextstart is not bt.Strategy.nextstart
        self._trm.start()
        self._trm_warn_of_another_trader()

    def _trm_warn_of_another_trader(self) -> None:
        """Warn where an earlier strategy of ours trades one of these feeds."""
        ours = {id(feed): feed for feed in self._trm.assets}
        for other in self.cerebro.runningstrats:
            if other is self:
                return
            if isinstance(other, RebalancingStrategy):
                shared = [f for f in other._trm.assets if id(f) in ours]
                names = " and ".join(f"'{feed._name}'" for feed in shared)
                if shared:
                    warnings.warn(
                        f"{type(other).__name__} and {type(self).__name__} trade "
                        f"{names} on one account: each undoes the other's orders. "
                        "Run them one by one.",
                        SetupWarning,
                        stacklevel=2,
                    )

    def _getminperstatus(self) -> int:
        """Return how many bars are missing, except those of feeds without a role."""
        if not self._trm_has_bars:  # bars that are there stay there
            missing = max(int(n) - len(feed) for feed, n in self._trm_awaited)
            self._trm_has_bars = missing < 0
            self._minperstatus: int = missing
        return self._minperstatus

    def _addnotification(self, order: bt.Order, quicknotify: bool = False) -> None:
        self._trm.note(order)
        super()._addnotification(order, quicknotify=quicknotify)

    def clear(self) -> None:
        """Release our own orders, which Backtrader would keep to the end."""
        if self._orderspending:
            self._orderspending = self._trm.of_others(self._orderspending)
        super().clear()

    def _notify(self, qorders: object = (), qtrades: object = ()) -> None:
        super()._notify(qorders=qorders, qtrades=qtrades)
        if not qorders:
            self._trm.close_session()

    def _next_analyzers(self, minperstatus: int, once: bool = False) -> None:
        if minperstatus <= 0:
            is_first = minperstatus == 0 and self._trm_starts
            if self._trm_adds or is_first:
                self._trm.decide()
            self._trm.trade_at_close()
        super()._next_analyzers(minperstatus, once=once)

    def _next_open(self) -> None:
        super()._next_open()
        self._trm.trade_at_open()

    def _oncepost_open(self) -> None:
        super()._oncepost_open()
        self._trm.trade_at_open()

    def _stop(self) -> None:
        self._trm.stop()
        super()._stop()


def _refuse_unknown(kind: type[RebalancingStrategy], name: str) -> None:
    """Raise `ConfigError` for a parameter that Backtrader would drop silently."""
    known = list(kind.params._getkeys())  # type: ignore[attr-defined] # Backtrader's own
    (nearest,) = get_close_matches(name, known, 1, 0.0)
    raise ConfigError(
        f"{kind.__name__} has no parameter '{name}'. Did you mean '{nearest}'?"
    )


def _passes_on(kind: type, name: str) -> bool:
    """Tell whether every override of a method may call the one that it overrides."""
    for owner in kind.__mro__:
        if owner is RebalancingStrategy:
            return True
        own = vars(owner).get(name)
        if own is not None and not _may_call_overridden(own, name, kind):
            return False
    return True


def _may_call_overridden(method: object, name: str, kind: type) -> bool:
    """Look for `super().name` or `Class.name` in a method, and in what it calls."""
    classes = {"super", *(one.__name__ for one in kind.__mro__)}
    for code in _reached(method, kind):
        read = [*dis.get_instructions(code)]
        attributes = {step.argval for step in read if "ATTR" in step.opname}
        attributes |= {step.argval for step in read if step.opname == "LOAD_METHOD"}
        if "getattr" in code.co_names:
            attributes |= {step.argval for step in read if step.opname == "LOAD_CONST"}
        if name in attributes and not classes.isdisjoint(code.co_names):
            return True
    return False


def _reached(method: object, kind: type) -> Iterator[CodeType]:
    """Yield the code of a method, of what it wraps, and of what it calls by name."""
    own = kind.__mro__[: kind.__mro__.index(RebalancingStrategy)]
    waiting, seen = [method], set()
    while waiting:
        one = waiting.pop()
        code = one if isinstance(one, CodeType) else getattr(one, "__code__", None)
        if code is None or code in seen:
            continue
        seen.add(code)
        yield code
        waiting += code.co_consts
        for cell in getattr(one, "__closure__", None) or ():
            with suppress(ValueError):  # not filled yet
                waiting.append(cell.cell_contents)
        spaces = [vars(owner) for owner in own] + [getattr(one, "__globals__", {})]
        waiting += [space[n] for n in code.co_names for space in spaces if n in space]
