"""Bring a store of bars up to date, one symbol after another."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError, FetchError
from trm_bt.feeds.exchange import nyse_sessions
from trm_bt.feeds.intake import Download
from trm_bt.feeds.sources import ROLE_OF_SYMBOL
from trm_bt.feeds.store import check_symbol
from trm_bt.feeds.vendor import Vendor
from trm_bt.market.adjustment import RAW_COLUMNS
from trm_bt.quality.findings import Subject
from trm_bt.quality.rules import examine

DEFAULT_TIME_LIMIT: Final = 600.0
_LONG_AGO: Final = "1970-01-01T00:00:00+00:00"
_OVERLAP: Final = 15
"""Sessions that are asked for again and compared."""
_COMPARE_WHOLE_AFTER: Final = pd.Timedelta(days=30)
"""A fund may correct a distribution of long ago."""
_FEW_LOST: Final = 3
"""So many sessions may go missing at the vendor, and the copy's stay."""
_MOST_RESCALED: Final = 0.2
_RELATIVE_SLACK: Final = 1e-5
"""Undoing a split leaves the vendor's rounding; a cent on a price of 500 is twice this.
"""


Action = Literal["new", "extended", "unchanged", "rebuilt", "kept", "missing"]


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
    vendor: Vendor,
    symbols: Sequence[str],
    *,
    now: pd.Timestamp,
    time_limit: float = DEFAULT_TIME_LIMIT,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Outcome, ...]:
    """Bring every symbol up to date; one that fails does not keep the others back.

    The last fifteen sessions are asked for again, every 30 days the whole history. If
    they are what the store holds, later sessions are added; if not, the vendor has
    changed its history, and the whole of it is taken again. If the download fails, the
    copy is kept and the outcome says how old it is.

    Parameters
    ----------
    vendor : Vendor
        Who is asked, and the store where the bars are kept.
    symbols : sequence of str
        Symbols as the vendor spells them.
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
        If a symbol is invalid.
    OSError
        If bars cannot be written; what was there stays.
    """
    for symbol in symbols:
        check_symbol(symbol)
    work = _Fetch(vendor, now, time_limit, time.monotonic() + time_limit)
    outcomes = []
    for done, symbol in enumerate(symbols):
        if progress:
            progress(symbol, done, len(symbols))
        try:
            outcomes.append(work.update(symbol))
        except FetchError as error:
            outcomes.append(Outcome(symbol, "missing", messages=(str(error),)))
    if progress and symbols:
        progress(symbols[-1], len(symbols), len(symbols))
    return tuple(outcomes)


@dataclass(frozen=True)
class _Fetch:
    """Who is asked at which moment, and until when."""

    vendor: Vendor
    now: pd.Timestamp
    time_limit: float
    deadline: float

    def update(self, symbol: str) -> Outcome:
        store = self.vendor.store
        with store.updating(symbol):
            damage: tuple[str, ...] = ()
            try:
                entry = store.entry(symbol)
                kept = store.read(symbol) if entry else None
            except BarsError as error:
                damage = (f"{symbol}: fetched again, as the copy was damaged. {error}",)
                entry = kept = None
            if entry is None or kept is None:
                full = self._download(symbol)
                doubts = _errors(symbol, full.raw, self.vendor).values()
                # there is nothing sound to keep: what is doubtful is asked for again
                self._save(symbol, full.raw, _LONG_AGO if doubts else None)
                said = (f"{doubt} The data sent are doubtful." for doubt in doubts)
                messages = (*damage, *full.warnings, *said)
                if damage:
                    return Outcome(symbol, "rebuilt", 0, messages)
                return Outcome(symbol, "new", len(full.raw), messages)
            try:
                return self._renew(symbol, kept, entry.compared_at)
            except FetchError as error:
                messages = (str(error), self._say_age(symbol, kept))
                return Outcome(symbol, "kept", 0, messages)

    def _renew(self, symbol: str, kept: pd.DataFrame, compared_at: str) -> Outcome:
        """Ask for what may be new, and join it if the vendor's history is as before."""
        is_due = self.now - pd.Timestamp(compared_at) > _COMPARE_WHOLE_AFTER
        overlap = kept if is_due else kept.iloc[-_OVERLAP:]
        sent = self._download(symbol, None if is_due else overlap.index[0])
        new = sent.raw[sent.raw.index > kept.index[-1]]
        lost = overlap.index.difference(sent.raw.index)
        change = _first_change(overlap.drop(index=lost), sent.raw.drop(index=new.index))
        if change or len(lost) > _FEW_LOST:
            full = sent if is_due else self._download(symbol)
            return self._rebuild(symbol, kept, full, change)
        messages = sent.warnings
        if len(lost):
            said = (
                f"{symbol}: the vendor no longer has {len(lost)} sessions, first "
                f"{lost[0].date()}; the copy's bars stay."
            )
            messages = (said, *messages)
        if is_due or len(new):
            joined = pd.concat([kept, new])
            self._refuse_doubtful(symbol, kept, joined)
            self._save(symbol, joined, None if is_due else compared_at)
        action: Action = "extended" if len(new) else "unchanged"
        return Outcome(symbol, action, len(new), messages)

    def _rebuild(
        self, symbol: str, kept: pd.DataFrame, full: Download, change: str | None
    ) -> Outcome:
        """Take the whole history again, unless it lacks what the copy has."""
        lost = kept.index.difference(full.raw.index)
        change = change or f"{len(lost)} sessions are gone"
        if len(lost) > _FEW_LOST:
            raise FetchError(
                f"{symbol}: the vendor's history has changed ({change}) and lacks "
                f"{len(lost)} sessions that the copy has, first {lost[0].date()}. "
                "Fetch into a new store to use it nevertheless."
            )
        self._refuse_doubtful(symbol, kept, full.raw)
        self._save(symbol, full.raw)
        sentence = f"{symbol}: rebuilt, the vendor's history has changed: {change}."
        n_new = int((full.raw.index > kept.index[-1]).sum())
        return Outcome(symbol, "rebuilt", n_new, (sentence, *full.warnings))

    def _refuse_doubtful(
        self, symbol: str, kept: pd.DataFrame, sent: pd.DataFrame
    ) -> None:
        """Raise `FetchError` if bars break rules that the copy keeps.

        Traded prices of the past never change by a factor: if they do, a split was
        announced whose prices are not divided yet, or divided twice.
        """
        shared = kept.index.intersection(sent.index)
        factor = (sent["close"].loc[shared] / kept["close"].loc[shared]).median()
        before = _errors(symbol, kept, self.vendor)
        after = _errors(symbol, sent, self.vendor)
        doubts = [said for rule, said in after.items() if rule not in before]
        if not before and abs(factor - 1) > _MOST_RESCALED:
            doubts.append(
                f"{symbol}: traded prices of the past must stay, those of the copy's "
                f"sessions are {factor:.3g} times what they were."
            )
        if doubts:
            raise FetchError(f"{doubts[0]} The data sent are doubtful.")

    def _download(self, symbol: str, start: pd.Timestamp | None = None) -> Download:
        if time.monotonic() > self.deadline:
            raise FetchError(
                f"{symbol}: not requested, {self.time_limit:g} s are over."
            )
        return self.vendor.download(symbol, now=self.now, start=start)

    def _save(
        self, symbol: str, raw: pd.DataFrame, compared_at: str | None = None
    ) -> None:
        moment = self.now.tz_convert("UTC").isoformat(timespec="seconds")
        self.vendor.store.write(
            symbol, raw, retrieved_at=moment, compared_at=compared_at
        )

    def _say_age(self, symbol: str, kept: pd.DataFrame) -> str:
        last = kept.index[-1]
        today = self.now.tz_convert("America/New_York").tz_localize(None).normalize()
        n_behind = len(nyse_sessions(last, today)) - 1
        return (
            f"{symbol}: the copy in use ends on {last.date()}, {n_behind} sessions ago."
        )


def _errors(symbol: str, raw: pd.DataFrame, vendor: Vendor) -> dict[str, str]:
    """Return what refuses raw bars as what the symbol is, by rule."""
    ours = {spelled: name for name, spelled in vendor.spellings.items()}
    own = ours.get(symbol, symbol)
    if symbol in vendor.yields.values():
        return {}
    role = ROLE_OF_SYMBOL.get(own, "member")
    sessions = nyse_sessions(raw.index[0], raw.index[-1])
    found = examine(Subject(raw, role, sessions, symbol, own))
    errors = (finding for finding in found if finding.severity == "error")
    return {error.rule: error.sentence for error in errors}


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
