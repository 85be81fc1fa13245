"""The pages under docs, and the blocks of code in them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NOTEBOOKS = sorted(
    path for path in PAGES if path.read_text(encoding="utf-8").startswith("---\nfile_")
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code, and the line of its page that it begins on."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """Return the blocks of one language on a page, in order."""
    text = page.read_text(encoding="utf-8")
    fenced = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    found = []
    for match in fenced.finditer(text):
        indent, named, body = match.groups()
        if named.strip() == language:
            line = text.count("\n", 0, match.start()) + 1
            lines = [part.removeprefix(indent) for part in body.splitlines()]
            found.append(Block(page, line, language, "\n".join(lines) + "\n"))
    return found
