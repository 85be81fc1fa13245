"""What decides a result: its inputs and the code that works on them, hashed."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Final

_PACKAGES: Final = "trm_bt", "trm_bt.feeds", "trm_bt.strategies", "trm_bt.analyzers"


def key_of(*parts: str | bytes) -> str:
    """Return the SHA-256 of parts and of the code that works on them."""
    digest = hashlib.sha256()
    for part in (*parts, *code_versions()):
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


@cache
def code_versions() -> tuple[str, ...]:
    """Return Python, torch and this package as they are here, its sources by digest."""
    digest = hashlib.sha256()
    sources = dict(sorted(source for name in _PACKAGES for source in _sources(name)))
    for name, content in sources.items():
        digest.update(name.encode() + hashlib.sha256(content).digest())
    python = ".".join(python_version().split(".")[:2])
    return (
        f"Python {python}",
        f"torch {version('torch')}",
        f"trm-bt {version('trm-bt')} ({digest.hexdigest()[:12]})",
    )


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of a package, by dotted path however it is installed."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    for path in folder.rglob("*.py"):
        inner = path.relative_to(folder).as_posix()
        yield f"{package.replace('.', '/')}/{inner}", path.read_bytes()
