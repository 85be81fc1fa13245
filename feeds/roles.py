"""Which feed of a Cerebro plays which role."""

from collections.abc import Mapping, Sequence
from typing import Final

from trm_bt.errors import BarsError
from trm_bt.feeds._typing import Feed

KNOWN_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "equity": ("equity", "spy"),
    "bond": ("bond", "tlt"),
    "volatility": ("volatility", "vix", "^vix"),
}

_SERIES: Final = ("cash_rate", "put_call")


def is_known(role: str, name: str) -> bool:
    """Tell whether `name` is one that a role is known by, in any case."""
    return name.lower() in KNOWN_NAMES[role]


def feeds_by_name(datas: Sequence[Feed]) -> dict[str, Feed]:
    """Return the feeds by lower-cased name; of two with one name the first counts."""
    return {str(data._name).lower(): data for data in reversed(datas)}


def find_roles(
    datas: Sequence[Feed], names: Mapping[str, str | None]
) -> dict[str, Feed]:
    """Find the feeds of the roles in `names` among `datas`.

    A name given by the caller decides; else the known names of a role (SPY, TLT, VIX
    or ^VIX, any case); else, when no feed is known by name, the first ones in order,
    but for those named cash_rate and put_call.

    Parameters
    ----------
    datas : sequence of Backtrader data feeds
        The strategy's feeds, in the order they were added.
    names : mapping of str to str or None
        Feed name by role (equity, bond, volatility), None where the caller named
        none; roles that are no key are not looked for.

    Returns
    -------
    dict of str to data feed
        One feed for each key of `names`.

    Raises
    ------
    BarsError
        If a named feed is absent or a role is left without a feed.
    """
    present = [str(data._name) for data in datas]
    feeds = feeds_by_name(datas)
    found: dict[str, Feed] = {}
    for role, chosen in names.items():
        candidates = (chosen,) if chosen else KNOWN_NAMES[role]
        matches = [name.lower() for name in candidates if name.lower() in feeds]
        if matches:
            found[role] = feeds[matches[0]]
        elif chosen:
            raise BarsError(
                f"`{role}` names a feed that must be in the Cerebro, got '{chosen}'; "
                f"the feeds are {present}."
            )
    unknown = [data for data in datas if str(data._name).lower() not in _SERIES]
    if not found and len(unknown) >= len(names):
        return dict(zip(names, unknown, strict=False))
    for role in found:
        twin = next(other for other in found if found[other] is found[role])
        if twin != role:
            raise BarsError(
                f"The roles {twin} and {role} must have a feed each, got "
                f"'{found[role]._name}' for both. Name another one: {role}='<feed "
                "name>'."
            )
    missing = [role for role in names if role not in found]
    if not found:  # of feeds that nobody named, the first roles are there
        missing = missing[len(unknown) :]
    if missing:
        role, name = missing[0], KNOWN_NAMES[missing[0]][1].upper()
        raise BarsError(
            f"No feed for the role {role} among {present}: add {line_to_add(name)}, "
            f"name one of them '{name}', or pass {role}='<feed name>'."
        )
    return found


def line_to_add(name: str) -> str:
    """Return the line of a script that adds a feed by its name.

    Examples
    --------
    >>> line_to_add("VIX")
    "`cerebro.adddata(bt.feeds.PandasData(dataname=vix), name='VIX')`"
    """
    variable = "".join(c for c in name.lower() if c.isalnum() or c == "_")
    return f"`cerebro.adddata(bt.feeds.PandasData(dataname={variable}), name='{name}')`"
