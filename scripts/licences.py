"""Print the licence of everything that trm-bt installs, as its own metadata states it.

Ends with exit code 1 where one is not known to go with GPL-3.0-or-later.
    python scripts/licences.py > docs/licences.md
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

COMPATIBLE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software|HPND|Zlib|Unlicense|CC0|MPL|"
    r"Mozilla|L?GPL|General Public|NCSA|Public Domain)"
)
"""Licences that GPL-3.0-or-later may be combined with, by the words of their names."""
UNSTATED = {"peewee": "MIT (its LICENSE file)"}
"""What no metadata say, looked up by hand."""
HEAD = """# Licences

trm-bt is GPL-3.0-or-later, with uPlot (MIT) in its pages. This table is printed by
`python scripts/licences.py` from the metadata of what an installation brings on Linux;
the package itself contains none of it.

| package | version | licence |
|---|---|---|"""
TAIL = """
The build of torch for processors alone brings no others. Its default build for Linux
brings CUDA as well, under NVIDIA's own, mostly proprietary terms: `cuda-bindings`,
`cuda-pathfinder`, `cuda-toolkit`, `nvidia-cublas`, `nvidia-cuda-cupti`,
`nvidia-cuda-nvrtc`, `nvidia-cuda-runtime`, `nvidia-cudnn-cu13`, `nvidia-cufft`,
`nvidia-cufile`, `nvidia-curand`, `nvidia-cusolver`, `nvidia-cusparse`,
`nvidia-cusparselt-cu13`, `nvidia-nccl-cu13`, `nvidia-nvjitlink`, `nvidia-nvshmem-cu13`
and `nvidia-nvtx` (of torch 2.13); and `triton`, MIT. trm-bt works without them and
distributes none of them; before you distribute an image that holds both, read NVIDIA's
terms."""


def name_of(dist: Distribution) -> str:
    """Return the name as registries spell it."""
    return re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower()


def licence_of(dist: Distribution) -> str:
    """Return the expression, else what classifiers say, else the first line."""
    metadata = dist.metadata
    if metadata["License-Expression"]:
        return str(metadata["License-Expression"])
    named = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License :: ") and text.count(" :: ") > 1
    ]
    stated = (metadata["License"] or "").strip().splitlines()
    return " and ".join(named) or (stated[0][:60] if stated else "not stated")


def installed(root: str) -> dict[str, Distribution]:
    """Return what a distribution needs, itself not, through all that each needs."""
    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        try:
            dist = distribution(waiting.pop())
        except PackageNotFoundError:  # for another system, or of a build for CUDA
            continue
        if name_of(dist) in found:
            continue
        found[name_of(dist)] = dist
        needs = map(Requirement, dist.requires or [])
        waiting += [
            need.name
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
    del found[name_of(distribution(root))]
    return found


def main() -> int:
    """Print the page; return how the process ends."""
    print(HEAD)
    unknown = []
    for name, dist in sorted(installed("trm-bt").items()):
        licence = UNSTATED.get(name) or licence_of(dist)
        print(f"| {name} | {dist.version} | {licence} |")
        if not COMPATIBLE.search(licence):
            unknown.append(name)
    print(TAIL)
    if unknown:
        print(f"not known to go with GPL-3.0-or-later: {unknown}", file=sys.stderr)
    return int(bool(unknown))


if __name__ == "__main__":
    sys.exit(main())
