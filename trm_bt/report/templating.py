"""Pages made of sections, and how numbers and names are written in them."""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Final, Generic, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trm_bt.figures import count, number, percent, portion
from trm_bt.market.feature_table import FEATURES
from trm_bt.report.colours import AREAS, COMPARED, DARK, LIGHT, LINES

PageT = TypeVar("PageT")

_FORMULA_STARTS: Final = (
    *"=+-@\t\r\n",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)
"""Spreadsheets of some languages read the wide signs as the narrow ones."""
_WORDS: Final = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"} | {
    8: "eight",
    9: "nine",
}
_LABELS: Final = {
    "trm": "TRM",
    "spy": "SPY",
    "sixty_forty": "60/40",
    "dot_com_crash": "Dot-com crash",
    "black_monday_1987": "Black Monday 1987",
    "china_selloff": "China sell-off",
    "covid_19_crash": "COVID-19 crash",
    "gamestop_squeeze": "GameStop squeeze",
    "russia_ukraine": "Russia and Ukraine",
    "svb_banking_crisis": "SVB banking crisis",
    "halt_prob": "Halt probability",
    **{feature.name: feature.label for feature in FEATURES},
    "exposure_matched": "Exposure-matched mix",
    "moving_average_200": "200-session average",
    "har_mean_variance": "HAR mean variance",
    "hmm_regime": "HMM regime",
    "lightgbm": "LightGBM",
    "yesterdays_best": "Yesterday\u2019s best",
}


@dataclass(frozen=True)
class Section(Generic[PageT]):
    """One part of a page.

    Parameters
    ----------
    show : callable
        Given what the page is about, returns the section as HTML.
    anchor, link : str
        Where the page's navigation leads, and what the link says; neither if empty.
    """

    show: Callable[[PageT], Markup]
    anchor: str = ""
    link: str = ""


@dataclass(frozen=True)
class Script:
    """What a page runs beside its own script, and the library that it calls.

    Parameters
    ----------
    library : str
        Name and version.
    licence, style : str
        The library's licence and style sheet.
    sources : tuple of str
        The library, then what draws with it.
    data : object
        What is drawn, as plain JSON values.
    """

    library: str
    licence: str
    style: str
    sources: tuple[str, ...]
    data: object


def render_page(
    title: str,
    sections: Sequence[Section[PageT]],
    page: PageT,
    *,
    ways: Sequence[tuple[str, str]] = (),
    script: Script | None = None,
) -> str:
    """Return a page as one HTML document without outside links.

    Parameters
    ----------
    title : str
        Any text, it is escaped.
    sections : sequence of Section
        From top to bottom; the links to them follow the first.
    page : object
        What the page is about, given to each section.
    ways : sequence of (str, str)
        Links to other pages over the title, and what they say.
    script : Script, optional
        What the page may run beside its own script.
    """
    template = environment().get_template("templates/page.html")
    own = asset("templates/page.js")
    sources = (own,) if script is None else (own, *script.sources)
    return template.render(
        title=title,
        sections=[section.show(page) for section in sections],
        links=[section for section in sections if section.link],
        ways=ways,
        script=script,
        sources=sources,
        hashes=_hashes(sources),
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return (files("trm_bt.report") / name).read_text(encoding="utf-8")


def _hashes(sources: Sequence[str]) -> Markup:
    """Return what a content security policy calls the scripts that may run."""
    digests = (sha256(source.encode()).digest() for source in sources)
    words = (f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
    return Markup(" ".join(words))


def fill(name: str, page: object, **facts: object) -> Markup:
    """Return the section `name` as HTML; its template sees `page` and `facts`."""
    template = environment().get_template(f"sections/{name}.html")
    return Markup(template.render(page=page, **facts))


@cache
def environment() -> Environment:
    """Return the templates' environment: everything escaped, nothing undefined."""
    templates = Environment(
        loader=PackageLoader("trm_bt.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {
        "light": LIGHT,
        "dark": DARK,
        "lines": [(label(name), colour) for name, colour in LINES.items()],
        "compared_lines": [(label(name), colour) for name, colour in COMPARED.items()],
        "assets": list(AREAS.items()),
        "version_of": version,
    }
    templates.filters |= {
        "percent": percent,
        "portion": portion,
        "in_words": in_words,
        "number": number,
        "exact": exact,
        "label": label,
        "count": count,
    }
    return templates


def in_words(count: int) -> str:
    """Return a small whole number as a word.

    Examples
    --------
    >>> in_words(8), in_words(40)
    ('eight', '40')
    """
    return _WORDS.get(count, str(count))


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
