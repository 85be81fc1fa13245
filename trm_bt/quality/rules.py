"""The rules for one symbol's bars, in one list.

An error means that numbers made from the bars could not be believed; a warning names
what happens in sound histories as well. A new rule is a function that yields findings
and an entry in `STAGES`.
"""

from collections.abc import Sequence
from typing import Final, get_args

from trm_bt.errors import BarsError
from trm_bt.quality import moves, payouts, rows, values
from trm_bt.quality.core_roles import TOGETHER_RULES
from trm_bt.quality.findings import (
    UNACCEPTABLE,
    BarCheck,
    Finding,
    Judgement,
    Role,
    Subject,
    has_errors,
)

_ALL: Final[tuple[Role, ...]] = get_args(Role)
_PRICED: Final = _ALL[:-1]
"""All but the series."""
_PAYING: Final[tuple[Role, ...]] = ("equity", "bond", "member", "fund_nav")
_TRADED: Final[tuple[Role, ...]] = ("equity", "bond", "member")
_READ_RULES: Final = ("newest first", "other ticker", "unknown column", "not closed")
"""What is said of a file when it is read."""
VOLUME_RULES: Final = ("volume", "zero volume", "volume of another unit")
STAGES: Final[tuple[tuple[BarCheck, ...], ...]] = (
    (
        BarCheck(("dates", "time zone", "duplicates", "order"), rows.find_index, _ALL),
        BarCheck(("columns",), rows.find_columns, _PRICED),
    ),
    (
        BarCheck(("missing sessions", "extra sessions"), rows.find_calendar, _ALL),
        BarCheck(("prices", "high and low"), values.find_bad_prices, _PRICED),
        BarCheck(VOLUME_RULES, values.find_volumes, _TRADED),
    ),
    (BarCheck(("prices",), values.find_unadjustable, _PRICED),),
    (
        BarCheck(("adjusted and raw mixed",), values.find_mixed, _PRICED),
        BarCheck(("not adjusted",), payouts.find_unadjusted, _PAYING),
        BarCheck(("distributions",), payouts.find_distributions, _PAYING),
        BarCheck(
            ("one-day moves", "wicks", "bad ticks", "displaced bars", "jumps"),
            moves.find_moves,
            _PRICED,
        ),
        BarCheck(
            ("stale", "straight line", "copied bars"), moves.find_made_up, _PRICED
        ),
        BarCheck(("role",), moves.find_foreign, _PRICED),
    ),
)
"""Each stage is looked at only if those before it have left bars to look at."""


def examine(bars: Subject) -> tuple[Finding, ...]:
    """Hold one symbol's bars against the calendar, the rules of prices and its role.

    Returns
    -------
    tuple of Finding
        In the order of the rules, up to the first stage that leaves no bars to look at.
    """
    found: list[Finding] = []
    for stage in STAGES:
        for check in stage:
            if bars.role in check.roles:
                found += check.find(bars)
        if {finding.rule for finding in found} & {*UNACCEPTABLE} and has_errors(found):
            break
    return tuple(found)


def judge_by(accepted: Sequence[str], *, is_strict: bool = False) -> Judgement:
    """Return the judgement that overrules these rules.

    Parameters
    ----------
    accepted : sequence of str
        As RULE or RULE:SYMBOL; a hyphen may stand for a space.
    is_strict : bool
        Whether what is odd refuses.

    Raises
    ------
    BarsError
        If one names no rule, or one without which there are no bars.
    """
    checks = [rule for stage in STAGES for check in stage for rule in check.rules]
    names = {rule.replace(" ", "-"): rule for rule in (*_READ_RULES, *checks)}
    names |= {rule.replace(" ", "-"): rule for rule in TOGETHER_RULES}
    spelled = []
    for given in accepted:
        rule, _, symbol = given.partition(":")
        known = names.get(rule.strip().replace(" ", "-"))
        if known is None or known in UNACCEPTABLE:
            allowed = sorted({*names.values()} - {*UNACCEPTABLE})
            raise BarsError(
                f"`accept` takes a rule that may be overruled, got '{given}'. Rules "
                f"that may be: {', '.join(allowed)}."
            )
        spelled.append(f"{known}:{symbol.strip()}" if symbol else known)
    return Judgement(tuple(spelled), is_strict)


def rules_for(role: Role) -> tuple[str, ...]:
    """Return the rules for bars of a role, in order.

    The first one is checked by the reader of the file, and the role of a series by the
    reader of the series.
    """
    checks = [check for stage in STAGES for check in stage if role in check.roles]
    names = ["readable", *(rule for check in checks for rule in check.rules), "role"]
    return tuple(dict.fromkeys(names))
