"""Sections of the pages: a template each, shown on some page, with text escaped."""

import re
from pathlib import Path

from trm_bt.report import (
    compare_page,
    index,
    runs_page,
    sections,
    sweep_page,
    tearsheets,
)
from trm_bt.report.colours import LIGHT
from trm_bt.report.drawing import as_svg, panels
from trm_bt.report.templating import Section, render_page

FOLDER = Path(sections.__file__).parent


def test_every_section_has_a_template_and_every_template_a_page():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    templates = {path.stem for path in FOLDER.glob("*.html")}
    lists = "".join(
        Path(page.__file__).read_text()
        for page in (index, tearsheets, compare_page, runs_page, sweep_page)
    )
    listed = re.findall(r'\bSection\(\s*(?:partial\(fill, ")?(\w+)', lists)
    assert modules <= templates
    assert set(listed) == templates


def test_links_follow_the_first_section_and_lead_to_the_others():
    page = render_page(
        "<b>title</b>",
        [
            Section(lambda page: f"<p>{page}"),
            Section(lambda page: '<h2 id="two">', "two", "<i>Two</i>"),
        ],
        "what it is about",
    )
    assert "<title>&lt;b&gt;title" in page
    places = [
        page.index("&lt;p&gt;what it is about"),
        page.index('<a href="#two">&lt;i&gt;Two'),
        page.index("&lt;h2 id="),
    ]
    assert places == sorted(places)
    assert page.count("<script") == 1  # that of every page, and no other
    assert page.count("'sha256-") == 1


def test_colours_of_a_chart_are_variables_of_the_page():
    @as_svg
    def chart():
        figure, (axes,) = panels(1.0)
        axes.plot([0, 1], color=LIGHT["trm"])
        return figure

    svg = chart()
    assert "var(--trm)" in svg
    assert "var(--line)" in svg  # of the grid
    assert LIGHT["trm"] not in svg
