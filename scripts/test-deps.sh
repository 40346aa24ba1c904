#!/usr/bin/env bash
# Installs the Debian packages that the tests use: PHP, Dovecot, databases, a browser, and linters.
# If all of them are installed, it does nothing. A checker of style that a release of Debian does not have is left out.
set -euo pipefail
missing=()
style=" php-codesniffer "
for package in bzip2 chromium curl npm roundcube-core roundcube-plugins php-curl gcc libc6-dev python3 python3-grpcio python3-msgpack nodejs php-cli php-cgi phpunit php-codesniffer dovecot-imapd dovecot-lmtpd dovecot-pgsql dovecot-mysql dovecot-auth-lua dovecot-sieve dovecot-managesieved postfix postfix-pgsql postfix-mysql postgresql mariadb-server acl php-msgpack libdata-messagepack-perl libtest-pod-perl libtest-pod-coverage-perl libperl-critic-perl libjson-perl adduser lintian rpm rpmlint cpio systemd dbus zsh fish; do
  # npm and Node.js may have been installed without Debian's packages.
  case $package in npm|nodejs) command -v "${package/nodejs/node}" >/dev/null 2>&1 && continue ;; esac
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
for i in "${!missing[@]}"; do
  [[ $style == *" ${missing[i]} "* && $(. /etc/os-release; echo "$ID$VERSION_ID") == debian13 ]] || continue
  echo "${missing[i]} is not in Debian 13: its check is left to Debian 12"
  unset "missing[i]"
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "The tests need: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}"
apt-get update -qq
# policy-rc.d prevents the packages from starting services. The tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
