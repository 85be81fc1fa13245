"""Run the examples and write docs/examples.md: what each is for, and what it prints.

Needs a few minutes. Run: python scripts/describe_examples.py [NAME ...]
Only the named examples are run; the output of the others stays as it is in the page.
"""

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from PIL import Image

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "examples.md"
NAMES: Final = (
    "quickstart",
    "drop_in",
    "own_rules",
    "own_allocations",
    "custom_universe",
    "optimise",
    "live_like",
    "cerebro_plot",
)
"""In the order in which a reader meets them."""
PICTURES: Final = {"cerebro_plot": PAGE.with_name("example_cerebro_plot.png")}
_COLOURS: Final = 32
_INTRODUCTION: Final = """\
# Examples

Scripts that run offline on the embedded sample, each in less than 15 seconds on two
quiet cores. They import from `trm_bt` alone, beside Backtrader, numpy and pandas, and
train a small model in seconds ([small_model.py](../examples/small_model.py)). **The
figures show how a thing is done, and not what a model earns**: for that see
[Evidence](evidence.md). This page is made by `scripts/describe_examples.py`,
which runs them.
"""


def purpose(name: str) -> str:
    """Return the docstring of an example, its commands as code."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree) or ""
    command = r"(Run|On the command line): (.+)$"
    return re.sub(command, r"\1: `\2`", text, flags=re.MULTILINE)


def page(outputs: Mapping[str, str]) -> str:
    """Return the page, given what each example prints."""
    parts = [_INTRODUCTION]
    for name in NAMES:
        parts.append(
            f"## {name}.py\n\n[Code](../examples/{name}.py). {purpose(name)}\n"
        )
        parts.append(f"```text\n{outputs[name]}```\n")
        if name in PICTURES:
            parts.append(f"![What {name}.py draws]({PICTURES[name].name})\n")
    return "\n".join(parts)


def outputs_in(text: str) -> dict[str, str]:
    """Return what each example of a page printed."""
    found = re.findall(
        r"^## (\w+)\.py$.*?^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return dict(found)


def run(name: str) -> str:
    """Run an example in an empty folder, keep its picture, and return its output."""
    with tempfile.TemporaryDirectory() as folder:
        picture = [f"{name}.png"] if name in PICTURES else []
        script = ROOT / "examples" / f"{name}.py"
        done = subprocess.run(
            [sys.executable, "-W", "error", script, *picture],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        if picture:
            drawn = Image.open(Path(folder) / picture[0]).convert("RGB")
            drawn.quantize(_COLOURS).save(PICTURES[name], optimize=True)
    return done.stdout


def main() -> None:
    """Run what is named, else all, and write the page."""
    known = outputs_in(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for name in sys.argv[1:] or NAMES:
        known[name] = run(name)
    PAGE.write_text(page(known), encoding="utf-8")


if __name__ == "__main__":
    main()
