#!/usr/bin/env bash
# Runs the tests of the Perl and PHP bindings with the programs in bin/.
set -euo pipefail
cd "$(dirname "$0")/.."
export LIVEAPI_BIN=$PWD/bin LIVEAPI_TRANSCRIPTS=$PWD/testdata/transcripts
unset CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET LIVEAPID_CONFIG LIVEAPID
echo "== perl $(perl -e 'printf "%vd", $^V')"
(cd bindings/perl && prove -l t)
echo "== php $(php -r 'echo PHP_VERSION;')"
(cd bindings/php && phpunit -c phpunit.xml)
