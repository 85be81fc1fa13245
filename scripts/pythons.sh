#!/usr/bin/env bash
# Print the interpreters that can run trm-bt, oldest first, one a version: of pyenv, uv
# and the path.
set -euo pipefail
{
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null || true
    command -v uv >/dev/null && uv python list --only-installed --no-config 2>/dev/null |
        awk '{print $2}' || true
    for minor in 11 12 13 14; do command -v "python3.$minor" || true; done
    command -v python3 || true
} | while read -r python; do
    "$python" -c 'import sys, venv, ssl
if (3, 11) <= sys.version_info[:2] <= (3, 14) and sys.implementation.name == "cpython":
    print("%d.%02d" % sys.version_info[:2], sys.executable)' 2>/dev/null || true
done | sort -u -k 1,1 | awk '{print $2}'
