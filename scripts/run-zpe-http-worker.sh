#!/usr/bin/env bash
# Runs a worker that fetches its work over HTTPS. Settings come from the file that ZPE_ENV_FILE names (default:
# .env.compute in the project's root, if it is there); arguments go to `zpe worker`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

env_file=${ZPE_ENV_FILE:-}
if [ -z "$env_file" ] && [ -f "$root/.env.compute" ]; then
    env_file=$root/.env.compute
fi
if [ -n "$env_file" ]; then
    [ -r "$env_file" ] || { echo "ZPE_ENV_FILE: cannot read $env_file" >&2; exit 1; }
    case $env_file in */*) ;; *) env_file=./$env_file ;; esac # else it is looked for on PATH
    set -a
    # shellcheck source=/dev/null
    . "$env_file"
    set +a
fi

if [ -x "$root/.venv/bin/python" ]; then
    python=$root/.venv/bin/python
else
    python=python3
fi
exec "$python" -m zpe_sdk.worker "$@"
