"""The ten features as a Backtrader indicator."""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import backtrader as bt
import numpy as np

from trm_bt.errors import BarsError
from trm_bt.feeds.calendars import check_current_bar, check_preloaded
from trm_bt.market.features import FEATURE_NAMES, FeatureSchema, feature_rows

_FIXED_INPUTS: Final = ("equity", "bond", "volatility")


class MarketFeatures(bt.Indicator):
    """The ten market features, each known at the close of the bar it stands on.

    The datas are equity, bond and volatility, and nothing else by default. A schema
    with members takes them next, in its order, and one with put/call takes that last;
    each of these is a feed with its value in `close`, or any line. The datas may be
    resampled: lookbacks count their bars. The lines are named as `FEATURE_NAMES`; bars
    before the first full lookback are NaN.

    Params
    ------
    schema : FeatureSchema
        Which formulas and lookbacks to use. Default: proxies for every optional input.

    Raises
    ------
    BarsError
        If the number of datas is not what the schema needs, or feeds stand on
        different sessions.
    """

    lines = FEATURE_NAMES
    params = (("schema", FeatureSchema()),)

    def __init__(self) -> None:
        schema = self.p.schema
        needed = [*_FIXED_INPUTS, *schema.members, *["put_call"] * schema.has_put_call]
        if len(self.datas) != len(needed):
            raise BarsError(
                f"MarketFeatures needs {len(needed)} feeds ({', '.join(needed)}), got "
                f"{len(self.datas)}. Pass them in this order."
            )
        self._feeds = {
            name: data
            for name, data in zip(needed, self.datas, strict=True)
            if isinstance(data, bt.feed.AbstractDataBase)
        }
        self.addminperiod(schema.n_lookback)

    def next(self) -> None:
        """Compute the current bar's row from its trailing bars."""
        check_current_bar(self._feeds)
        n_lookback = self.p.schema.n_lookback
        row = self._rows(lambda line: line.get(size=n_lookback))[0]
        for line, value in zip(self._lines(), row, strict=True):
            line[0] = value

    def once(self, start: int, end: int) -> None:
        """Compute rows `start` to `end` in one call of the same kernel."""
        check_preloaded(self._feeds)  # the engine joins feeds by position
        if start == end:
            return
        first = start + 1 - self.p.schema.n_lookback
        rows = self._rows(lambda line: line.array[first:end])
        for line, values in zip(self._lines(), rows.T, strict=True):
            line.array[start:end] = array("d", values.tobytes())

    def _lines(self) -> Iterator[bt.LineBuffer]:
        return iter(self.lines)

    def _rows(self, read: Callable[[bt.LineBuffer], Iterable[float]]) -> np.ndarray:
        """Feed the kernel with what `read` takes from each input line."""
        schema = self.p.schema
        closes = [np.array(read(_value(d)), dtype=np.float64) for d in self.datas]
        inputs = dict(zip(_FIXED_INPUTS, closes, strict=False))
        inputs["volume"] = np.array(read(self.datas[0].volume), dtype=np.float64)
        if schema.members:
            inputs["members"] = np.stack(closes[3 : 3 + len(schema.members)], axis=-1)
        if schema.has_put_call:
            inputs["put_call"] = closes[-1]
        return feature_rows(inputs, schema)[0]


def _value(data: bt.LineSeries) -> bt.LineBuffer:
    """Return the close of a feed, the first line of anything else."""
    return getattr(data.lines, "close", data.lines[0])
