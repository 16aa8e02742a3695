#!/bin/sh
# Make .venv with onejob (editable) and its development tools, unless it is as wanted already.
# Usage: make-venv.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# A copied or moved tree has an environment that points elsewhere; so the place is part of it.
state="$(pwd) $("$1" --version) $(cat pyproject.toml scripts/wheel_hook.py | sha256sum)"
if [ "$(cat .venv/made-from 2>/dev/null)" = "$state" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi
echo "making .venv"
"$1" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --editable '.[dev]'
echo "$state" >.venv/made-from
