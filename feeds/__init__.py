"""Where bars come from, and how they enter Backtrader."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

from trm_bt.errors import BarsError
from trm_bt.feeds.assembly import assemble
from trm_bt.feeds.exchange import FIRST_SESSION
from trm_bt.feeds.long_bond import LongBond
from trm_bt.feeds.older_history import History
from trm_bt.feeds.optional_inputs import choose_inputs
from trm_bt.feeds.sample import load_sample
from trm_bt.feeds.sources import check_span
from trm_bt.feeds.vendors import open_source
from trm_bt.market.bars import Bars
from trm_bt.quality.rules import judge_by

__all__ = ["load_bars"]


def load_bars(
    source: str | Path,
    *,
    start: str | date | None = None,
    end: str | date | None = None,
    observed: str | Sequence[str] = (),
    long_bond: LongBond = "fund",
    history: History = "none",
    inputs: str | Sequence[str] = "all",
    accept: str | Sequence[str] = (),
    strict: bool = False,
) -> Bars:
    """Load validated bars from the embedded sample, a store or a folder of files.

    Parameters
    ----------
    source : str or Path
        "sample"; "yahoo", the store that ``trm-bt fetch`` fills; or a folder, which is
        such a store or has one CSV or parquet file for each symbol.
    start, end : str or date, optional
        First and last date, inclusive, text as YYYY-MM-DD. The sample begins in 1990,
        or in 1962 if `start` is earlier.
    observed : str or sequence of {"members", "put_call"}
        Optional inputs that must be observed; the span is shortened until they are.
    long_bond : {"fund", "yields", "none"}
        Substitute before TLT's first session: the returns of VUSTX if available, a par
        bond repriced from constant-maturity yields, or none.
    history : {"none", "index"}
        Substitute before SPY, the long bond and VIX: none, or the returns of the
        S&P 500 (GSPC), a bond from the 10-year yield (dgs10) and an estimate of VIX,
        declared in `source` and provenance. The sample then begins in 1962.
    inputs : str or sequence of str
        "all" available optional inputs; "core" for equity, bond and volatility only,
        with proxies for the rest; or "members", "put_call" and symbols of members by
        name. The cash rate is not affected.
    accept : str or sequence of str
        Rules that are overruled, as RULE or RULE:SYMBOL; the provenance says so.
    strict : bool
        Whether findings that warn refuse the bars too, unless they are accepted; what
        is merely not used is said as before.

    Returns
    -------
    Bars
        Bars of every role that the source has.

    Warns
    -----
    BarsWarning
        For each symbol that is unusual but valid; the provenance keeps it.

    Raises
    ------
    BarsError
        If a date is invalid, or the source is missing or breaks a rule; the sentence
        names the place.
    """
    start, end = (str(x)[:10] if isinstance(x, date) else x for x in (start, end))
    check_span(start, end)
    observed, accept = ((x,) if isinstance(x, str) else x for x in (observed, accept))
    judgement = judge_by(accept, is_strict=strict)
    _check_choice("long_bond", long_bond, get_args(LongBond))
    _check_choice("history", history, get_args(History))
    requested = [inputs] if isinstance(inputs, str) else inputs
    if str(source) == "sample":
        for name in observed:
            raise BarsError(
                f"The sample has no observed '{name}', at best a proxy. Use bars that "
                "have it."
            )
        early = FIRST_SESSION if history == "index" and start is None else start
        return _only(load_sample(early).between(start, end), requested)
    opened = open_source(source)
    opened.judgement = judgement
    return assemble(
        opened,
        slice(start, end),
        observed=observed,
        long_bond=long_bond,
        history=history,
        inputs=requested,
    )


def _check_choice(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise BarsError(f"`{name}` must be one of {', '.join(known)}, got '{given}'.")


def _only(sample: Bars, requested: Sequence[str]) -> Bars:
    """Leave out the members of the sample that are not requested."""
    held = sample.members
    members, is_all = choose_inputs(requested, [] if held is None else [*held], ())
    if held is None and is_all:
        return sample
    if held is not None and members:
        return replace(sample, members=held[list(members)])
    provenance = {k: v for k, v in sample.provenance.items() if k != "members"}
    return replace(sample, members=None, provenance=provenance)
