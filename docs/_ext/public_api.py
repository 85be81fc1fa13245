"""The reference of the public names, in the groups of the tables in `api.md`.

`api.md` is the one list of names. A page of `api/` takes a group of it by its heading,
and the docstrings say the rest. A public name in any other page links to its entry, the
first time that it stands there.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import nested_parse_with_titles

import trm_bt

TABLES = Path(__file__).parents[1] / "api.md"


def names_under(heading: str) -> list[str]:
    """Return the public names of the table under a heading of `api.md`."""
    text = TABLES.read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    if not names:
        raise ValueError(f"`api.md` has no public names under '{heading}'.")
    return names


class PublicGroup(Directive):
    """Document every public name of one group."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Hand the names to autodoc, as they are imported."""
        lines = StringList()
        for name in names_under(self.arguments[0]):
            is_class = isinstance(getattr(trm_bt, name), type)
            kind = "autoclass" if is_class else "autofunction"
            options = ["   :members:", "   :exclude-members: __init__"]
            entry = [f".. {kind}:: trm_bt.{name}", *(options if is_class else [])]
            for line in ["", *entry, ""]:
                lines.append(line, str(TABLES))
        parent = nodes.section()
        parent.document = self.state.document
        nested_parse_with_titles(self.state, lines, parent)
        return parent.children


class LinkPublicNames(SphinxTransform):
    """Link the first mention of each public name on a page to its entry."""

    default_priority = 400

    def apply(self) -> None:
        """Wrap literals that are a public name."""
        seen: set[str] = set()
        for node in list(self.document.findall(nodes.literal)):
            name = node.astext()
            is_plain = isinstance(node.parent, (nodes.paragraph, nodes.entry))
            if name not in trm_bt.__all__ or name in seen or not is_plain:
                continue
            seen.add(name)
            link = pending_xref(
                "",
                node.deepcopy(),
                refdomain="py",
                reftype="obj",
                reftarget=f"trm_bt.{name}",
                refdoc=self.env.docname,
                refexplicit=True,
                refwarn=True,
            )
            node.replace_self(link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the links."""
    app.add_directive("public-group", PublicGroup)
    app.add_transform(LinkPublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
