#!/usr/bin/env bash
# Install a wheel or an sdist in a new environment and use it from an empty folder.
set -euo pipefail
wheel=$(realpath "$1")
constraints=$(realpath "$(dirname "$0")/../constraints.txt")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" "$wheel"
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
"$work/venv/bin/trm-bt" config > config.json
"$work/venv/bin/trm-bt" features --bars sample --config config.json --out features
"$work/venv/bin/trm-bt" labels --bars sample --config config.json --out labels
"$work/venv/bin/trm-bt" validate --bars sample > validated.txt
test -s features/features.png && test -s labels/labels.csv && test -s validated.txt
echo "$(basename "$wheel") works outside the repository"
