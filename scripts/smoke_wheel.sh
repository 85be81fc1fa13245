#!/usr/bin/env bash
# Install a wheel in a new environment, and use it from an empty folder. Each further
# package (an sdist) is installed in its place, and must leave the same files.
set -euo pipefail
constraints=$(realpath "$(dirname "$0")/../constraints.txt")
mapfile -t packages < <(realpath "$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
modules() {
    cat "$work"/venv/lib/python*/site-packages/trm_bt-*.dist-info/RECORD |
        grep -v -e '\.dist-info/' -e __pycache__ | sort
}

for package in "${packages[@]}"; do
    "$work/venv/bin/python" -m pip uninstall --quiet --yes trm-bt 2>/dev/null
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" "$package"
    mkdir "$work/empty" && cd "$work/empty"
    "$work/venv/bin/python" - <<'PY'
import importlib.util
import sys

for name in ("strategies", "feeds", "analyzers"):
    assert importlib.util.find_spec(name) is None, f"{name} is importable at top level"
import trm_bt

heavy = {"torch", "backtrader", "quantstats", "yfinance"} & set(sys.modules)
assert not heavy, f"import trm_bt loads {heavy}"
from trm_bt import AllocationLabeler, MarketFeatures, TRMAllocator, load_bars

assert len(load_bars("sample").sessions) == 6865
PY
    if [ -e "$work/modules" ]; then
        modules | diff "$work/modules" -
    else
        modules > "$work/modules"
        "$work/venv/bin/trm-bt" config > config.json
        "$work/venv/bin/trm-bt" features --bars sample --config config.json --out features
        "$work/venv/bin/trm-bt" labels --bars sample --config config.json --out labels
        "$work/venv/bin/trm-bt" validate --bars sample > validated.txt
        test -s features/features.png && test -s labels/labels.csv && test -s validated.txt
    fi
    cd "$work" && rm -r "$work/empty"
    echo "$(basename "$package") works outside the repository"
done
