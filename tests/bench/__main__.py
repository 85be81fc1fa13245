"""Run every benchmark, each in a process of its own, and write the page of figures.

    python -m tests.bench [--bars sample] [--out docs/speed_figures.md] [NAME ...]

Named benchmarks are measured again, and the others' figures stay. Close other programs
first: the ratios hold on a busy machine, the seconds do not.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.side_by_side import processor_name

NAMES = (
    *("drop_in", "scaling", "features", "feed_preload", "indicator_overhead"),
    *("label_speed", "model_speed", "training_speed", "report_speed"),
)
HEAD = """# Figures of speed

Made by `make bench`; [Speed](speed.md) says what they mean. Each part is what one
program of `tests/bench` printed.
"""


def measured(name: str, bars: str) -> str:
    """Return a part of the page: what a benchmark prints, and where and when."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.bench.{name}"]
    print(f"{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        command if name == "scaling" else [*command, bars],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    printed = done.stdout.strip()
    is_markdown = "\n|---" in printed
    body = printed if is_markdown else f"```text\n{printed}\n```"
    return f"## {name}\n\n{processor_name()}, {time.strftime('%Y-%m-%d')}.\n\n{body}\n"


def parts_of(page: Path) -> dict[str, str]:
    """Return the parts of a page by benchmark."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {part.split("\n")[0].removeprefix("## "): part.rstrip() for part in parts}


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--bars", default="sample")
    parser.add_argument("--out", type=Path, default=Path("docs/speed_figures.md"))
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"NAME must be one of {', '.join(NAMES)}, got {min(unknown)}")
    parts = parts_of(given.out)
    for name in given.names or NAMES:
        parts[name] = measured(name, given.bars)
        kept = [parts[name].rstrip() for name in NAMES if name in parts]
        given.out.write_text("\n\n".join([HEAD.rstrip(), *kept]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
