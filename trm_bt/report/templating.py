"""The templates' environment, and how numbers and names are written in pages."""

import re
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from trm_bt.market.feature_table import FEATURES

_DASH: Final = "\N{EN DASH}"
_FORMULA_STARTS: Final = (
    *"=+-@\t\r\n",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)
"""Spreadsheets of some languages read the wide signs as the narrow ones."""
_LABELS: Final = {
    "trm": "TRM",
    "spy": "SPY",
    "sixty_forty": "60/40",
    "dot_com_crash": "Dot-com crash",
    "china_selloff": "China sell-off",
    "covid_19_crash": "COVID-19 crash",
    "gamestop_squeeze": "GameStop squeeze",
    "russia_ukraine": "Russia and Ukraine",
    "svb_banking_crisis": "SVB banking crisis",
    "halt_prob": "Halt probability",
    **{feature.name: feature.label for feature in FEATURES},
    "exposure_matched": "Exposure-matched mix",
    "moving_average_200": "200-session average",
    "hmm_regime": "HMM regime",
    "lightgbm": "LightGBM",
    "yesterdays_best": "Yesterday\u2019s best",
}


def environment() -> Environment:
    """Return the templates' environment: everything escaped, nothing undefined."""
    templates = Environment(
        loader=PackageLoader("trm_bt.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": percent,
        "share": share,
        "number": number,
        "exact": exact,
        "label": label,
    }
    return templates


def percent(value: float | None) -> str:
    """Return a decimal as a percentage, or a dash where there is no figure.

    Examples
    --------
    >>> percent(0.1234), percent(None)
    ('12.3 %', '\N{EN DASH}')
    """
    return f"{number(value * 100, 1)} %" if value is not None else _DASH


def share(value: float | None) -> str:
    """Return a decimal of 0 or more as a percentage that is 0 for nothing alone.

    Nor is it 100 for what is a little less.

    Examples
    --------
    >>> share(0.1234), share(0.0), share(2e-9), share(0.9998), share(None)
    ('12.3 %', '0.0 %', '< 0.1 %', '> 99.9 %', '\N{EN DASH}')
    """
    text = percent(value)
    if value and text == percent(0.0):
        return "< 0.1 %"
    if value and value < 1.0 and text == percent(1.0):
        return "> 99.9 %"
    return text


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign, or a dash where there is none."""
    if value is None:
        return _DASH
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def exact(value: float | None) -> str:
    """Return a number that reads back as the same one; empty where there is none."""
    return "" if value is None else repr(float(value))


def spreadsheet_safe(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Examples
    --------
    >>> spreadsheet_safe("=1+1"), spreadsheet_safe("brexit")
    ("'=1+1", 'brexit')
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def label(name: str) -> str:
    """Return a name of ours as a reader would write it.

    Examples
    --------
    >>> label("sixty_forty"), label("flash_crash")
    ('60/40', 'Flash crash')
    """
    words = name.replace("_", " ")
    return _LABELS.get(name, words[:1].upper() + words[1:])


def safe_name(name: str) -> str:
    """Return `name` reduced to what any file system and any link takes.

    Examples
    --------
    >>> safe_name("../<script>Flash Crash")
    'script_flash_crash'
    >>> safe_name("...")
    'unnamed'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:80] or "unnamed"
