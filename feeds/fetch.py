"""Bring a store of bars up to date, one symbol after another."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, FetchError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.store import BarStore, check_symbol
from trm_bt.feeds.yahoo import SOURCE, Download
from trm_bt.market.adjustment import RAW_COLUMNS

DEFAULT_SYMBOLS: Final = (
    "SPY", "TLT", "^VIX", "VUSTX", "^IRX",
    "XLB", "XLC", "XLE", "XLF", "XLI", "XLK", "XLP", "XLRE", "XLU", "XLV", "XLY",
)  # fmt: skip
"""Core roles, the older bond fund, the cash rate and the eleven sector funds."""
DEFAULT_TIME_LIMIT: Final = 600.0
_OVERLAP: Final = 15
"""Sessions that are asked for again and compared."""
_COMPARE_WHOLE_AFTER: Final = pd.Timedelta(days=30)
"""A fund may correct a distribution of long ago."""
_FEW_LOST: Final = 3
"""So many sessions may go missing at the vendor, and the copy's stay."""
_RELATIVE_SLACK: Final = 1e-5
"""Undoing a split leaves the vendor's rounding; a cent on a price of 500 is twice this.
"""


Action = Literal["new", "extended", "unchanged", "rebuilt", "kept", "missing"]


class Downloader(Protocol):
    """Something that downloads one symbol's raw bars, as `yahoo.download` does."""

    def __call__(
        self, symbol: str, *, now: pd.Timestamp, start: pd.Timestamp | None = None
    ) -> Download:
        """Return the bars from `start` on, or all there are."""


@dataclass(frozen=True)
class Outcome:
    """What became of one symbol.

    Parameters
    ----------
    symbol : str
        As the vendor spells it.
    action : {"new", "extended", "unchanged", "rebuilt", "kept", "missing"}
        "rebuilt" where the vendor's history had changed or the copy was damaged,
        "kept" where the download failed and the copy serves, "missing" where there is
        no copy either.
    n_new : int
        Sessions added.
    messages : tuple of str
        Warnings and reasons.
    """

    symbol: str
    action: Action
    n_new: int = 0
    messages: tuple[str, ...] = ()


def fetch_all(
    store: BarStore,
    symbols: Sequence[str],
    *,
    download: Downloader,
    now: pd.Timestamp,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Outcome, ...]:
    """Bring every symbol up to date; one that fails does not keep the others back.

    Parameters
    ----------
    store : BarStore
        Where the bars are kept.
    symbols : sequence of str
        Symbols as the vendor spells them.
    download : callable
        As `trm_bt.feeds.yahoo.download`.
    now : Timestamp
        The moment of the fetch, with a time zone.
    time_limit : float
        Seconds after which no further symbol is asked for; its copy serves.
    progress : callable, optional
        Called with the symbol, the number done and the number in all.

    Returns
    -------
    tuple of Outcome
        One for each symbol, in order.

    Raises
    ------
    BarsError
        If a symbol is none, or the store is damaged.
    OSError
        If bars cannot be written; what was there stays.
    """
    for symbol in symbols:
        check_symbol(symbol)
    deadline = time.monotonic() + time_limit

    def download_in_time(
        symbol: str, *, now: pd.Timestamp, start: pd.Timestamp | None = None
    ) -> Download:
        if time.monotonic() > deadline:
            raise FetchError(f"{symbol}: not asked for, {time_limit:g} s are over.")
        return download(symbol, now=now, start=start)

    outcomes = []
    for done, symbol in enumerate(symbols):
        if progress:
            progress(symbol, done, len(symbols))
        try:
            outcome = update(store, symbol, download=download_in_time, now=now)
        except FetchError as error:
            outcome = Outcome(symbol, "missing", messages=(str(error),))
        outcomes.append(outcome)
    if progress and symbols:
        progress(symbols[-1], len(symbols), len(symbols))
    return tuple(outcomes)


def update(
    store: BarStore, symbol: str, *, download: Downloader, now: pd.Timestamp
) -> Outcome:
    """Bring one symbol up to date.

    The last fifteen sessions are asked for again, every 30 days the whole history. If
    they are what the store holds, later sessions are added; if not, the vendor has
    changed its history, and the whole of it is taken again.

    Returns
    -------
    Outcome
        What was done. If the download fails, the copy is kept and the outcome says how
        old it is.

    Raises
    ------
    FetchError
        If the download fails and there is no copy.
    """
    with store.updating(symbol):
        kept, damage = _read_copy(store, symbol)
        if kept is None:
            full = download(symbol, now=now)
            _save(store, symbol, full.raw, now)
            if damage is None:
                return Outcome(symbol, "new", len(full.raw), full.warnings)
            return Outcome(symbol, "rebuilt", 0, (damage, *full.warnings))
        try:
            return _renew(store, symbol, kept, download=download, now=now)
        except FetchError as error:
            return Outcome(symbol, "kept", 0, (str(error), _say_age(symbol, kept, now)))


def _read_copy(store: BarStore, symbol: str) -> tuple[pd.DataFrame | None, str | None]:
    """Return the copy, or what is wrong with it; neither where there is none."""
    if store.entry(symbol) is None:
        return None, None
    try:
        return store.read(symbol), None
    except BarsError as error:
        return None, f"{symbol}: taken again, the copy was damaged. {error}"


def _renew(
    store: BarStore,
    symbol: str,
    kept: pd.DataFrame,
    *,
    download: Downloader,
    now: pd.Timestamp,
) -> Outcome:
    entry = store.entry(symbol)
    assert entry is not None
    is_due = now - pd.Timestamp(entry.compared_at) > _COMPARE_WHOLE_AFTER
    last = kept.index[-1]
    first = kept.index[0 if is_due else -min(_OVERLAP, len(kept))]
    sent = download(symbol, now=now, start=None if is_due else first)
    lost = kept.loc[first:].index.difference(sent.raw.index)
    change = _first_change(kept.loc[first:].drop(index=lost), sent.raw.loc[:last])
    if change is None and len(lost) <= _FEW_LOST:
        new = sent.raw[sent.raw.index > last]
        messages = (*_say_lost(symbol, lost), *sent.warnings)
        if new.empty and not is_due:
            return Outcome(symbol, "unchanged", 0, messages)
        compared_at = None if is_due else entry.compared_at
        _save(store, symbol, pd.concat([kept, new]), now, compared_at)
        action: Action = "unchanged" if new.empty else "extended"
        return Outcome(symbol, action, len(new), messages)
    full = sent if is_due else download(symbol, now=now)
    lost = kept.index.difference(full.raw.index)
    change = change or f"{len(lost)} sessions are gone"
    if len(lost) > _FEW_LOST:
        raise FetchError(
            f"{symbol}: the vendor's history has changed ({change}) and lacks "
            f"{len(lost)} sessions that the copy has, first {lost[0].date()}. Fetch "
            "into a new store to take it all the same."
        )
    _save(store, symbol, full.raw, now)
    sentence = f"{symbol}: rebuilt, the vendor's history has changed: {change}."
    n_new = int((full.raw.index > last).sum())
    return Outcome(symbol, "rebuilt", n_new, (sentence, *full.warnings))


def _first_change(kept: pd.DataFrame, sent: pd.DataFrame) -> str | None:
    """Say where the overlap differs first, None if it does not."""
    added = sent.index.difference(kept.index)
    if len(added):
        return f"{added[0].date()} is only in what was sent"
    columns = list(RAW_COLUMNS)
    is_close = np.isclose(
        kept[columns], sent[columns], rtol=_RELATIVE_SLACK, atol=1e-6, equal_nan=True
    )
    if is_close.all():
        return None
    row, column = np.argwhere(~is_close)[0]
    name = columns[column]
    return (
        f"'{name}' on {kept.index[row].date()} was {kept[name].iloc[row]:g} and is "
        f"{sent[name].iloc[row]:g}"
    )


def _say_lost(symbol: str, lost: pd.Index) -> tuple[str, ...]:
    if not len(lost):
        return ()
    return (
        f"{symbol}: the vendor no longer has {len(lost)} sessions, first "
        f"{pd.Timestamp(lost[0]).date()}; the copy's bars stay.",
    )


def _save(
    store: BarStore,
    symbol: str,
    raw: pd.DataFrame,
    now: pd.Timestamp,
    compared_at: str | None = None,
) -> None:
    moment = now.tz_convert("UTC").isoformat(timespec="seconds")
    store.write(
        symbol, raw, source=SOURCE, retrieved_at=moment, compared_at=compared_at
    )


def _say_age(symbol: str, kept: pd.DataFrame, now: pd.Timestamp) -> str:
    last = kept.index[-1]
    today = now.tz_convert("America/New_York").tz_localize(None).normalize()
    n_behind = len(nyse_sessions(last, today)) - 1
    return (
        f"{symbol}: the copy that serves ends on {last.date()}, "
        f"{n_behind} sessions ago."
    )
