"""Which feed of a Cerebro plays which role."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from trm_bt.errors import BarsError, ConfigError
from trm_bt.feeds._typing import Feed

KNOWN_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "equity": ("equity", "spy"),
    "bond": ("bond", "tlt"),
    "volatility": ("volatility", "vix"),
}
BY_ORDER: Final = "by_order"
_QUALIFIERS: Final = frozenset(
    # exchanges and data vendors, by their names and by the letters of Reuters
    (
        *("us", "usa", "arca", "arcx", "xnys", "xnas", "nyse", "nysearca", "amex"),
        *("nasdaq", "nas", "bats", "iex", "pcx", "smart", "cboe", "cbo", "indexcboe"),
        *("tvc", "xo", *"aknopqx"),
        # kinds of instruments, and of bars
        *("i", "ind", "indx", "index", "equity", "etf", "fund", "stk", "usd"),
        *("d", "d1", "1d", "day", "daily", "adj", "adjusted", "csv", "txt", "history"),
    )
)
"""What vendors write around a symbol, and never another fund's name."""
_SERIES: Final = ("cash_rate", "put_call")


def known_role(name: str) -> str | None:
    """Return the role that a name is known by, None for none.

    Any case is taken, and the exchange, country or kind that vendors add: what is left
    without them must be a known name.

    Examples
    --------
    >>> [known_role(name) for name in ("SPY US Equity", ".VIX", "TLT.O", "SPYV")]
    ['equity', 'volatility', 'bond', None]
    """
    if name.lower().endswith((".csv", ".txt")):  # Backtrader names a file by its path
        name = re.split(r"[/\\]", name)[-1]
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    for role, (plain, symbol) in KNOWN_NAMES.items():
        is_symbol = symbol in words and _QUALIFIERS.issuperset(words - {symbol})
        if name.lower() == plain or is_symbol:
            return role
    return None


def feeds_by_name(datas: Sequence[Feed]) -> dict[str, Feed]:
    """Return the feeds by lower-cased name; of two with one name the first counts."""
    return {str(data._name).lower(): data for data in reversed(datas)}


def find_roles(
    datas: Sequence[Feed], names: Mapping[str, str | None], roles: str | None = None
) -> dict[str, Feed]:
    """Find the feeds of the roles in `names` among `datas`.

    A name given by the caller decides; else the known names of a role (SPY, TLT and
    VIX, any case, as vendors spell them). Where no feed is known by name, those that
    have no name are taken in order, and those that have one if the caller says so; but
    for feeds named cash_rate and put_call.

    Parameters
    ----------
    datas : sequence of Backtrader data feeds
        The strategy's feeds, in the order they were added.
    names : mapping of str to str or None
        Feed name by role (equity, bond, volatility), None where the caller named
        none; roles that are no key are not looked for.
    roles : {"by_order"}, optional
        Take feeds with unknown names in order.

    Returns
    -------
    dict of str to data feed
        One feed for each key of `names`.

    Raises
    ------
    BarsError
        If a named feed is absent, or a role is left without a feed, or with two.
    ConfigError
        If `roles` is something else, or the names say otherwise than the order.
    """
    if roles not in (None, BY_ORDER):
        raise ConfigError(f"`roles` must be None or '{BY_ORDER}', got {roles!r}.")
    found = {
        role: feed
        for role, chosen in names.items()
        if (feed := _named(role, chosen, datas)) is not None
    }
    series = [data for data in datas if str(data._name).lower() not in _SERIES]
    in_order = [data for data in series if roles or not data._name]
    if not found and len(in_order) >= len(names):
        return dict(zip(names, in_order, strict=False))
    _check_found(found, names, datas)
    if roles:
        _check_order(found, dict(zip(names, in_order, strict=False)))
    return found


def _named(role: str, chosen: str | None, datas: Sequence[Feed]) -> Feed | None:
    """Return the feed of a role by the caller's name, else by a known one."""
    feeds = feeds_by_name(datas)
    if chosen is not None:
        if str(chosen).lower() not in feeds:
            raise BarsError(
                f"`{role}` names a feed that must be in the Cerebro, got '{chosen}'; "
                f"the feeds are {_present(datas)}."
            )
        return feeds[str(chosen).lower()]
    exact = [feeds[name] for name in KNOWN_NAMES[role] if name in feeds]
    if exact:
        return exact[0]
    spelled = [name for name in feeds if known_role(name) == role]
    if len(spelled) > 1:
        raise BarsError(
            f"The role {role} must have one feed, but {spelled} may all be meant: pass "
            f"{role}='<feed name>'."
        )
    return feeds[spelled[0]] if spelled else None


def _check_found(
    found: Mapping[str, Feed], names: Mapping[str, str | None], datas: Sequence[Feed]
) -> None:
    """Refuse one feed for two roles, and a role without a feed."""
    for role in found:
        twin = next(other for other in found if found[other] is found[role])
        if twin != role:
            raise BarsError(
                f"The roles {twin} and {role} must have a feed each, got "
                f"'{found[role]._name}' for both. Name another one: {role}='<feed "
                "name>'."
            )
    missing = [role for role in names if role not in found]
    if not found:  # feeds without names fill the first roles
        unnamed = [data for data in datas if not data._name]
        missing = missing[len(unnamed) :]
    if missing:
        name = KNOWN_NAMES[missing[0]][1].upper()
        params = ", ".join(f"{role}='<feed name>'" for role in names)
        raise BarsError(
            f"No feed for the role {missing[0]} among {_present(datas)}: add "
            f"{line_to_add(name)}, name one of them '{name}', assign them "
            f"({params}), or confirm this order (roles='{BY_ORDER}')."
        )


def line_to_add(name: str) -> str:
    """Return the line of a script that adds a feed by its name.

    Examples
    --------
    >>> line_to_add("VIX")
    "`cerebro.adddata(bt.feeds.PandasData(dataname=vix), name='VIX')`"
    """
    variable = "".join(c for c in name.lower() if c.isalnum() or c == "_")
    return f"`cerebro.adddata(bt.feeds.PandasData(dataname={variable}), name='{name}')`"


def _check_order(found: Mapping[str, Feed], ordered: Mapping[str, Feed]) -> None:
    """Refuse an order that the names contradict."""
    for role, feed in found.items():
        if ordered.get(role) is not feed:
            raise ConfigError(
                f"roles='{BY_ORDER}' must not contradict the names: '{feed._name}' is "
                f"known as {role}, but is in another place. Leave it out."
            )


def _present(datas: Sequence[Feed]) -> list[str]:
    return [str(data._name) for data in datas]
