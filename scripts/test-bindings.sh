#!/usr/bin/env bash
# Runs the shims' own tests in real Perl and PHP, against the programs in bin/.
set -euo pipefail
cd "$(dirname "$0")/.."
export LIVEAPI_BIN=$PWD/bin LIVEAPI_TRANSCRIPTS=$PWD/testdata/transcripts
unset CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET LIVEAPID_CONFIG LIVEAPID
echo "== perl $(perl -e 'printf "%vd", $^V')"
(cd bindings/perl && prove -l t)
echo "== php $(php -r 'echo PHP_VERSION;')"
(cd bindings/php && phpcs -q --standard=phpcs.xml && phpunit -c phpunit.xml)
