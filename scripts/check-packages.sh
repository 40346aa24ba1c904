#!/usr/bin/env bash
# Checks packages: lintian for Debian's; rpmlint and an installation into an empty root for the others; and the processor
# for which each program is built.
# usage: check-packages.sh PACKAGE...
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# rpmlint unpacks with cpio, and the names in nfpm's packages begin with /: without this, they would be unpacked over this
# machine's files.
printf '#!/bin/sh\nexec "%s" --no-absolute-filenames "$@"\n' "$(command -v cpio)" >"$work/cpio"
chmod 755 "$work/cpio"
for package in "$@"; do
  package=$(realpath "$package")
  echo "== $package"
  mkdir "$work/root"
  case $package in
    *.deb)
      lintian --allow-root --fail-on error,warning "$package" || status=1
      dpkg-deb -x "$package" "$work/root"
      ;;
    *.rpm)
      said=$(PATH="$work:$PATH" rpmlint -c packaging/rpmlint.toml "$package" 2>&1) && [[ $said == *" 0 errors, 0 warnings"* ]] || { printf '%s\n' "$said" >&2; status=1; }
      # Into an empty root, on a machine that is not of this family, without the scripts.
      rpm --root "$work/root" --initdb
      rpm --root "$work/root" -i --nodeps --noscripts --ignorearch "$package" 2>"$work/log" || { cat "$work/log" >&2; status=1; }
      rpm --root "$work/root" -V --nodeps liveapid || status=1
      ;;
  esac
  case $package in
    *amd64.deb | *x86_64.rpm) machine=x86-64 ;;
    *) machine=AArch64 ;;
  esac
  for program in usr/sbin/liveapid usr/bin/{liveapi,cpapi2,uapi} usr/lib/liveapid/liveapi-{email,script,pam}; do
    LC_ALL=C readelf -h "$work/root/$program" | grep -iqE "Machine:.*$machine" || { echo "$program is not for $machine" >&2; status=1; }
  done
  rm -rf "$work/root"
done
exit "$status"
