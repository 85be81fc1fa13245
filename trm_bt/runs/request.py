"""The bars of a request."""

from trm_bt.feeds import load_bars
from trm_bt.market.bars import Bars
from trm_bt.runfolder.records import RunRequest


def requested_bars(request: RunRequest) -> Bars:
    """Load the requested bars."""
    return load_bars(
        request.bars,
        start=request.start,
        end=request.end,
        observed=request.observed,
        long_bond=request.config.bars.long_bond,
    )
