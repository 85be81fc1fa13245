"""Figures as a reader sees them, on pages and in the terminal alike.

A percentage is `6.8%`, a thousand `1,000`, the minus sign is a true one, zero has no
sign, and a figure that does not exist is a dash.
"""

from typing import Final

_DASH: Final = "\N{EN DASH}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a decimal as a percentage, or a dash where there is no figure.

    Examples
    --------
    >>> percent(0.1234), percent(None)
    ('12.3%', '\N{EN DASH}')
    """
    return f"{number(value * 100, digits)}%" if value is not None else _DASH


def portion(value: float | None) -> str:
    """Return a decimal of 0 or more as a percentage that is 0 for nothing alone.

    Nor is it 100 for what is a little less.

    Examples
    --------
    >>> portion(0.1234), portion(0.0), portion(2e-9), portion(0.9998), portion(None)
    ('12.3%', '0.0%', '< 0.1%', '> 99.9%', '\N{EN DASH}')
    """
    text = percent(value)
    if value and text == percent(0.0):
        return "< 0.1%"
    if value and value < 1.0 and text == percent(1.0):
        return "> 99.9%"
    return text


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign, or a dash where there is none.

    Examples
    --------
    >>> number(-1234.567), number(-0.001), number(None)
    ('\N{MINUS SIGN}1,234.57', '0.00', '\N{EN DASH}')
    """
    if value is None:
        return _DASH
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, and none on a zero.

    Examples
    --------
    >>> signed(0.123), signed(-0.001), signed(-1.5, 1)
    ('+0.12', '0.00', '\N{MINUS SIGN}1.5')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def count(value: int) -> str:
    """Return a whole number with its thousands marked.

    Examples
    --------
    >>> count(4969)
    '4,969'
    """
    return f"{value:,}"
