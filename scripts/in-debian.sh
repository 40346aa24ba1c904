#!/usr/bin/env bash
# Runs a command in a copy of the checkout on another release of Debian. debootstrap makes the release's root once, below
# CACHE. The command sees its own processes only; all of them and all mounts end with it. Go, its modules and its build
# cache are those of this machine. Needs root. usage: in-debian.sh SUITE COMMAND...
set -euo pipefail
suite=${1:?usage: in-debian.sh SUITE COMMAND...}
shift
cache=${CACHE:-/var/cache/liveapid-roots}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
root=$cache/$suite
checkout=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" -eq 0 ] || { echo "in-debian.sh needs root, because it makes a root directory of Debian and mounts into it" >&2; exit 1; }

# One run at a time: the lock is held by the command, too, and ends with it.
mkdir -p "$cache"
exec 9>"$cache/$suite.lock"
flock -n 9 || { echo "in-debian.sh: waiting for another run in $root" >&2; flock 9; }

export DEBIAN_FRONTEND=noninteractive
if ! command -v debootstrap >/dev/null; then
  echo "installing debootstrap"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
if [ ! -d "$root" ]; then
  echo "making a root of Debian $suite in $root"
  # An interrupted debootstrap leaves mounts.
  awk -v part="$root.part/" 'index($2, part) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount -l
  rm -rf --one-file-system "$root.part"
  debootstrap --variant=minbase --include=ca-certificates,make,perl,git,procps "$suite" "$root.part" "$mirror" >"$cache/$suite.log" ||
    { tail -5 "$cache/$suite.log" >&2; exit 1; }
  # No package starts a service: the tests start their own.
  printf '#!/bin/sh\nexit 101\n' >"$root.part/usr/sbin/policy-rc.d"
  chmod 755 "$root.part/usr/sbin/policy-rc.d"
  mv "$root.part" "$root"
fi

# A copy of the work tree, with its history. Built programs and tools of the last run stay.
mkdir -p "$root/src"
find "$root/src" -mindepth 1 -maxdepth 1 ! -name bin -exec rm -rf {} +
# The checkout may belong to another user.
export GIT_CONFIG_GLOBAL=$cache/$suite.gitconfig
git config --global --replace-all safe.directory '*'
git clone -q --no-checkout "$checkout" "$root/src/clone"
mv "$root/src/clone/.git" "$root/src/.git"
rm -r "$root/src/clone"
(cd "$checkout" && git ls-files -coz --exclude-standard | while IFS= read -r -d '' file; do
  # A deleted file that is not yet committed is still listed.
  if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
done | tar -c --no-recursion --null -T -) | tar -x --no-same-owner -C "$root/src"
git -C "$root/src" reset -q

# The names of hosts are this machine's, and so are the authorities below.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

goroot=$(go env GOROOT)
modules=$(go env GOMODCACHE)
builds=$(go env GOCACHE)
mkdir -p "$root$goroot" "$root$modules" "$root$builds" "$modules" "$builds"
export goroot modules builds root
# The root becomes the mount at /, as on a machine: programs under test make mount and user namespaces of their own.
exec unshare --mount --pid --fork --kill-child -- bash -euc '
  exec 9>&- # unshare holds the lock.
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  for dir in "$goroot" "$modules" "$builds"; do mount --bind "$dir" "$root$dir"; done
  mkdir -p "$root/run/authorities" "$root/run/old"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/run/authorities/"
  proxy=$(go env GOPROXY) flags=$(go env GOFLAGS) sums=$(go env GOSUMDB)
  cd "$root"
  pivot_root . run/old
  cd /
  umount -l /run/old
  exec /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} \
    PATH="$goroot/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    SSL_CERT_FILE=/run/authorities/ca-certificates.crt NODE_EXTRA_CA_CERTS=/run/authorities/ca-certificates.crt \
    GOPROXY="$proxy" GOFLAGS="$flags" GOSUMDB="$sums" GOMODCACHE="$modules" GOCACHE="$builds" \
    bash -c "cd /src && exec \"\$@\"" bash "$@"' bash "$@"
