#!/usr/bin/env bash
# Writes the man pages of all commands into OUT. usage: man.sh BIN OUT
set -euo pipefail
out=${2:?usage: man.sh BIN OUT}
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
cd "$root"
for command in liveapi liveapid; do "${GO:-go}" run -trimpath -tags man "./cmd/$command" man "$out"; done
cp packaging/man/*.[1-8] "$out/"
