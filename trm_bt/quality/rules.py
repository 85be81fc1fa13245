"""The rules that one symbol's bars are held to, in one list.

An error means that numbers made from the bars could not be believed; a warning names
what happens in sound histories as well. A new rule is a function that yields findings
and an entry in `STAGES`.
"""

from typing import Final

from trm_bt.quality import moves, rows, values
from trm_bt.quality.findings import BarCheck, Finding, Role, Subject, has_errors

_PRICED: Final[tuple[Role, ...]] = (
    "equity",
    "bond",
    "volatility",
    "member",
    "fund_nav",
)
_TRADED: Final[tuple[Role, ...]] = ("equity", "bond", "member")
_ALL: Final[tuple[Role, ...]] = (*_PRICED, "series")
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
"""Each stage is looked at only if the stages before it found no error."""


def examine(bars: Subject) -> tuple[Finding, ...]:
    """Hold one symbol's bars against the calendar, the rules of prices and its role.

    Returns
    -------
    tuple of Finding
        In the order of the rules, up to the first stage that has an error.
    """
    found: list[Finding] = []
    for stage in STAGES:
        for check in stage:
            if bars.role in check.roles:
                found += check.find(bars)
        if has_errors(found):
            break
    return tuple(found)


def rules_for(role: Role) -> tuple[str, ...]:
    """Return the rules that bars of a role are held to, in order.

    The first one is held by whoever reads the file, and the role of a series by the
    reader of the series.
    """
    checks = [check for stage in STAGES for check in stage if role in check.roles]
    names = ["readable", *(rule for check in checks for rule in check.rules), "role"]
    return tuple(dict.fromkeys(names))
