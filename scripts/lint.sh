#!/usr/bin/env bash
# Runs every linter. usage: lint.sh TOOLS, the directory with staticcheck and npm's packages.
set -euo pipefail
tools=${1:?usage: lint.sh TOOLS}
cd "$(dirname "$0")/.."
status=0
run() { echo "== $1"; "$@" || status=1; }

for program in perlcritic phpcs; do
  command -v "$program" >/dev/null && continue
  # make deps says this, too.
  [[ $program == phpcs && $(. /etc/os-release; echo "$ID$VERSION_ID") == debian13 ]] && continue
  echo "$program is not installed: run make deps" >&2
  exit 1
done

echo "== gofmt"
unformatted=$(git ls-files -coz --exclude-standard '*.go' | xargs -0 gofmt -l)
[ -z "$unformatted" ] || { printf 'run gofmt -w on:\n%s\n' "$unformatted" >&2; status=1; }
run "${GO:-go}" vet ./...
run "$tools/staticcheck" ./...
run perlcritic --quiet --profile bindings/perl/.perlcriticrc bindings/perl/lib examples
if command -v phpcs >/dev/null; then
  (cd bindings/php && run phpcs -q --standard=phpcs.xml; exit $status) || status=1
else
  echo "== phpcs: not in Debian 13, so the style of PHP is checked on Debian 12 only"
fi
# The configuration finds its packages in its own directory.
cp tests/web/eslint.config.mjs "$tools/npm/"
run "$tools/npm/node_modules/.bin/eslint" -c "$tools/npm/eslint.config.mjs" host tests

echo "== subjects of the last commits"
long=$(git log -20 --format='%h %s' | LC_ALL=C.UTF-8 grep -E '^[0-9a-f]+ .{73,}' || true)
[ -z "$long" ] || { printf 'longer than 72 characters:\n%s\n' "$long" >&2; status=1; }
exit "$status"
