"""Bars from a folder of CSV or parquet files, one a symbol.

`SPY`, `TLT` and `VIX` are needed. `VUSTX` serves before the first session of `TLT`.
`members.txt` names the members (else the nine original sector SPDRs, if all are
there), `putcall` holds a put/call ratio and `rates` the 3-month yield in percent a
year. Prices must be adjusted; a column `adj close` adjusts the others by its ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from trm_bt.errors import BarsError
from trm_bt.feeds.tables import file_of, read_symbol, read_table
from trm_bt.market.bars import (
    MAX_CARRIED_SESSIONS,
    PRICE_COLUMNS,
    Bars,
    Provenance,
    check_positive,
    check_volatility,
)

SECTORS: Final = ("XLB", "XLE", "XLF", "XLI", "XLK", "XLP", "XLU", "XLV", "XLY")
OPTIONAL_INPUTS: Final = ("members", "put_call")
_OLDER_BOND: Final = "VUSTX"
_LOWEST_PEAK_PERCENT: Final = 0.09
"""Since 1990 the 3-month yield in decimals has stayed below this, and in percent it has
peaked above it in any two years."""


def load_folder(
    folder: Path,
    *,
    start: str | None = None,
    end: str | None = None,
    observed: Sequence[str] = (),
) -> Bars:
    """Load the bars of a folder on the calendar that SPY, TLT and VIX share.

    An optional input serves only if it covers the whole span without a hole over five
    sessions; the provenance says so, and what was spliced or carried forward.

    Parameters
    ----------
    folder : Path
        Folder with one file a symbol.
    start, end : str, optional
        First and last date wanted, inclusive.
    observed : sequence of {"members", "put_call"}
        Inputs that must be observed: the span starts where they do.

    Raises
    ------
    BarsError
        If a file is missing or breaks a rule; the sentence names file, rule and the
        first offending session.
    """
    if not folder.is_dir():
        raise BarsError(
            f"{folder}: must be a folder with SPY, TLT and VIX files, or the word "
            "'sample'; there is no such folder."
        )
    equity = read_symbol(folder, "SPY")
    volatility = read_symbol(folder, "VIX", has_volume=False)
    check_volatility(volatility["close"], str(file_of(folder, "VIX")))
    bond, spliced_on = _spliced_bond(folder, first_wanted=equity.index[0])
    roles = {"SPY": equity, "TLT": bond, "VIX": volatility}
    calendar = _shared_calendar(folder, roles, start, end)
    optional = _optional_inputs(folder)
    calendar = _shorten_for(observed, optional, calendar, folder)

    equity, bond, volatility = (frame.loc[calendar] for frame in roles.values())
    provenance = {
        "equity": _provenance("SPY", folder, calendar),
        "bond": _provenance("TLT", folder, calendar),
        "volatility": _provenance("VIX", folder, calendar),
    }
    if spliced_on is not None and calendar[0] < spliced_on:
        equity, provenance["equity"], provenance["bond"] = _fill_at_closes(
            equity, spliced_on, provenance
        )
    series: dict[str, pd.DataFrame | None] = {}
    for role, entry in optional.items():
        series[role], provenance[role] = entry.on(calendar)
    return Bars(
        equity=equity,
        bond=bond,
        volatility=volatility,
        members=series.get("members"),
        put_call=_only_column(series.get("put_call")),
        cash_rate=_only_column(series.get("cash_rate")),
        source=f"files of the folder {folder.name}",
        provenance=provenance,
    )


@dataclass(frozen=True)
class _OptionalInput:
    """Values of an optional role as its files give them, and their name."""

    values: pd.DataFrame
    source: str

    def carried(self, calendar: pd.DatetimeIndex) -> pd.DataFrame:
        """Return the values on `calendar`, carried over short holes, NaN elsewhere."""
        index = self.values.index.union(calendar)
        values = self.values.reindex(index).ffill(limit=MAX_CARRIED_SESSIONS)
        return values.loc[calendar]

    def on(self, calendar: pd.DatetimeIndex) -> tuple[pd.DataFrame | None, Provenance]:
        """Return the values if they cover `calendar`, and what the provenance says."""
        values = self.carried(calendar)
        is_absent = values.isna().any(axis=1).to_numpy()
        if is_absent.any():
            note = (
                f"not used: no value on {is_absent.sum()} of {len(calendar)} sessions, "
                f"first {calendar[int(is_absent.argmax())].date()}"
            )
            return None, Provenance(
                self.source, calendar[0], calendar[-1], "proxy", (note,)
            )
        n_carried = int(
            self.values.reindex(calendar).isna().any(axis=1).to_numpy().sum()
        )
        notes = (f"carried forward on {n_carried} sessions",) if n_carried else ()
        return values, Provenance(
            self.source, calendar[0], calendar[-1], "observed", notes
        )


def _spliced_bond(
    folder: Path, first_wanted: pd.Timestamp
) -> tuple[pd.DataFrame, pd.Timestamp | None]:
    """Return TLT, preceded by the older fund's returns where TLT starts too late.

    The older fund is scaled so that its close on TLT's first session equals TLT's, so
    every return before that session is the fund's and every later one is TLT's.
    """
    bond = read_symbol(folder, "TLT")
    first = bond.index[0]
    if first <= first_wanted or file_of(folder, _OLDER_BOND) is None:
        return bond, None
    older = read_symbol(folder, _OLDER_BOND)
    if first not in older.index:
        raise BarsError(
            f"{file_of(folder, _OLDER_BOND)}: must hold TLT's first session "
            f"{first.date()} to be spliced before it, and does not."
        )
    before = older.loc[: first - pd.Timedelta(days=1)].copy()
    prices = list(PRICE_COLUMNS)
    before[prices] *= bond["close"].iloc[0] / older.at[first, "close"]
    before["open"] = before["close"]
    return pd.concat([before, bond]), first


def _fill_at_closes(
    equity: pd.DataFrame, spliced_on: pd.Timestamp, provenance: dict[str, Provenance]
) -> tuple[pd.DataFrame, Provenance, Provenance]:
    """Set the equity's open to its close where the bond has closes only."""
    equity = equity.copy()
    is_before = equity.index < spliced_on
    equity.loc[is_before, "open"] = equity.loc[is_before, "close"]
    fills = (
        f"open set to the close before {spliced_on.date()}, so that both legs fill at "
        "the next close: the older bond fund has closes only"
    )
    splice = f"before {spliced_on.date()} the returns of {_OLDER_BOND}"
    both = provenance["equity"], provenance["bond"]
    notes = ((fills,), (splice, fills))
    first, second = (
        Provenance(entry.source, entry.start, entry.end, entry.status, note)
        for entry, note in zip(both, notes, strict=True)
    )
    return equity, first, second


def _shared_calendar(
    folder: Path, roles: dict[str, pd.DataFrame], start: str | None, end: str | None
) -> pd.DatetimeIndex:
    """Return the sessions all roles share; inside their span they must agree."""
    first = max(frame.index[0] for frame in roles.values())
    last = min(frame.index[-1] for frame in roles.values())
    cuts = {name: frame.loc[first:last].index for name, frame in roles.items()}
    calendar = cuts["SPY"]
    for name, sessions in cuts.items():
        differing = calendar.symmetric_difference(sessions)
        if len(differing):
            raise BarsError(
                f"{folder}: SPY and {name} must have the same sessions, but disagree "
                f"on {len(differing)} of {len(calendar)}, first {differing[0].date()}."
            )
    wanted = calendar[calendar.slice_indexer(start, end)]
    if not len(wanted):
        raise BarsError(
            f"{folder}: no session lies between {start or 'the start'} and "
            f"{end or 'the end'}; SPY, TLT and VIX share {first.date()} to "
            f"{last.date()}."
        )
    assert isinstance(wanted, pd.DatetimeIndex)
    return wanted


def _optional_inputs(folder: Path) -> dict[str, _OptionalInput]:
    """Read the optional roles that the folder has.

    Raises
    ------
    BarsError
        If a file breaks a rule; a yield in decimals instead of percent is one.
    """
    found: dict[str, _OptionalInput] = {}
    symbols = _member_symbols(folder)
    if symbols:
        closes = {s: read_symbol(folder, s, has_volume=False)["close"] for s in symbols}
        found["members"] = _OptionalInput(pd.DataFrame(closes), ", ".join(symbols))
    put_call = _read_series(folder, "putcall", ("total_pc", "equity_pc"))
    if put_call is not None:
        check_positive(put_call, str(file_of(folder, "putcall")))
        source = f"put/call ratio {put_call.columns[0]}"
        found["put_call"] = _OptionalInput(put_call, source)
    rates = _read_series(folder, "rates", ("dgs3mo",))
    if rates is not None:
        if 0 < rates.iloc[:, 0].max() < _LOWEST_PEAK_PERCENT:
            raise BarsError(
                f"{file_of(folder, 'rates')}: must hold percent a year, got at most "
                f"{rates.iloc[:, 0].max():g}: these look like decimals."
            )
        source = f"{rates.columns[0]}, percent a year"
        found["cash_rate"] = _OptionalInput(rates / 100.0, source)
    return found


def _member_symbols(folder: Path) -> list[str]:
    listed = folder / "members.txt"
    if listed.is_file():
        try:
            return listed.read_text(encoding="utf-8").split()
        except UnicodeDecodeError as error:
            raise BarsError(f"{listed}: must be text in UTF-8.") from error
    has_all = all(file_of(folder, symbol) for symbol in SECTORS)
    return list(SECTORS) if has_all else []


def _read_series(
    folder: Path, name: str, preferred: tuple[str, ...]
) -> pd.DataFrame | None:
    """Read one column of a file: the first preferred one, else its only number."""
    path = file_of(folder, name)
    if path is None:
        return None
    frame = read_table(path)
    chosen = [column for column in preferred if column in frame.columns]
    if not chosen and len(frame.columns) != 1:
        raise BarsError(
            f"{path}: must have a column {' or '.join(preferred)}, or one column only, "
            f"got {list(frame.columns)}."
        )
    return frame[[chosen[0] if chosen else frame.columns[0]]].dropna()


def _shorten_for(
    observed: Sequence[str],
    optional: dict[str, _OptionalInput],
    calendar: pd.DatetimeIndex,
    folder: Path,
) -> pd.DatetimeIndex:
    """Start the calendar after the last session on which an insisted input lacks."""
    for name in observed:
        if name not in OPTIONAL_INPUTS:
            raise BarsError(
                f"`observed` takes {' or '.join(OPTIONAL_INPUTS)}, got '{name}'."
            )
        if name not in optional:
            raise BarsError(
                f"{folder}: must hold '{name}' to observe it, and has none."
            )
        is_absent = optional[name].carried(calendar).isna().any(axis=1).to_numpy()
        n_skipped = int(np.flatnonzero(is_absent)[-1]) + 1 if is_absent.any() else 0
        if n_skipped == len(calendar):
            raise BarsError(
                f"{folder}: '{name}' must reach the last session "
                f"{calendar[-1].date()}, and has no value there."
            )
        calendar = calendar[n_skipped:]
    return calendar


def _provenance(symbol: str, folder: Path, calendar: pd.DatetimeIndex) -> Provenance:
    path = file_of(folder, symbol)
    assert path is not None
    return Provenance(path.name, calendar[0], calendar[-1])


def _only_column(values: pd.DataFrame | None) -> pd.Series | None:
    return None if values is None else values.iloc[:, 0]
