"""Take the pictures of the README and docs/report.md: two pages of a finished run.

Needs Chromium on the path.
    python scripts/page_pictures.py runs/sample
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = {
    "report_index.png": ("index.html", 1160, 1560),
    "report_tearsheet.png": ("tearsheets/financial_crisis.html", 1160, 1900),
}
"""Page, width and height in pixels by picture."""
COLOURS = 128
"""Pages have few colours: a palette makes a picture a third of its size."""
MAX_BYTES = 250_000


def screenshot(browser: str, page: Path, size: tuple[int, int], out: Path) -> None:
    """Save the top of a page, as a light page without scroll bars."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(
                    "--blink-settings=preferredColorScheme=1",
                    "--virtual-time-budget=9000",
                ),
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
                f"--screenshot={out}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )


def main() -> None:
    """Replace the pictures in docs by those of the run in the first argument."""
    run = Path(sys.argv[1])
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Chromium must be on the path, and is not: install it.")
    for name, (page, *size) in PICTURES.items():
        out = DOCS / name
        screenshot(browser, run / page, (size[0], size[1]), out)
        with Image.open(out) as picture:
            picture.convert("RGB").quantize(COLOURS).save(out, optimize=True)
        n_bytes = out.stat().st_size
        if n_bytes > MAX_BYTES:
            sys.exit(f"{out}: must have at most {MAX_BYTES} bytes, has {n_bytes}.")
        print(f"{out.name} {n_bytes:,} bytes")


if __name__ == "__main__":
    main()
