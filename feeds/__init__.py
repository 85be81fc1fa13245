"""Where bars come from, and how they enter Backtrader."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from trm_bt.errors import BarsError
from trm_bt.feeds.folder import load_folder
from trm_bt.feeds.sample import load_sample
from trm_bt.market.bars import Bars

__all__ = ["load_bars", "load_folder", "load_sample"]


def load_bars(
    source: str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    observed: Sequence[str] = (),
) -> Bars:
    """Load checked bars from the embedded sample or a folder of files.

    Parameters
    ----------
    source : str or Path
        "sample", or a folder with one CSV or parquet file a symbol.
    start, end : str, optional
        First and last date of the bars wanted, inclusive, as YYYY-MM-DD.
    observed : sequence of {"members", "put_call"}
        Optional inputs that must be observed; the span is shortened until they are.

    Returns
    -------
    Bars
        Bars of every role that the source has.

    Raises
    ------
    BarsError
        If a date is none, or the source is missing or breaks a rule; the sentence
        names the file.
    """
    for name, value in (("start", start), ("end", end)):
        _check_date(name, value)
    if str(source) != "sample":
        return load_folder(Path(source), start=start, end=end, observed=observed)
    bars = load_sample().between(start, end)
    for name in observed:
        raise BarsError(
            f"The sample has no observed '{name}', at best a proxy. Use bars that "
            "have it."
        )
    return bars


def _check_date(name: str, value: str | None) -> None:
    try:
        if value is not None:
            date.fromisoformat(value)
    except ValueError as error:
        raise BarsError(
            f"`{name}` must be a date as YYYY-MM-DD, got '{value}'."
        ) from error
