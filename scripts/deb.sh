#!/usr/bin/env bash
# Builds the Debian package from the programs in BIN. The build is reproducible: the same tree gives
# the same file. usage: deb.sh BIN OUT
set -euo pipefail
bin=${1:?usage: deb.sh BIN OUT}
out=${2:?usage: deb.sh BIN OUT}
root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' "$root/host/version.go")
arch=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
umask 022
put() { install -D -m "$1" "$2" "$stage/$3"; }

put 755 "$bin/liveapid" usr/sbin/liveapid
for program in liveapi cpapi2 uapi; do put 755 "$bin/$program" "usr/bin/$program"; done
for program in cpapi1 whmapi1; do ln -s uapi "$stage/usr/bin/$program"; done
# Accounts can't read these programs, so they can't trace a process that runs as them.
for program in liveapi-email liveapi-script liveapi-pam; do put 711 "$bin/$program" "usr/lib/liveapid/$program"; done
mkdir -p "$stage/usr/share/liveapid/bindings"
for language in perl php; do
  (cd "$root/bindings" && git ls-files "$language" 2>/dev/null || find "$language" -type f) | while read -r file; do
    put 644 "$root/bindings/$file" "usr/share/liveapid/bindings/$file"
  done
done
# Perl finds Cpanel::LiveAPI and LiveAPI::Module on its own path.
(cd "$root/bindings/perl/lib" && find . -name '*.pm' -printf '%P\n') | while read -r file; do
  mkdir -p "$stage/usr/share/perl5/$(dirname "$file")"
  ln -s "/usr/share/liveapid/bindings/perl/lib/$file" "$stage/usr/share/perl5/$file"
done
put 600 "$root/packaging/liveapid.toml" etc/liveapid/liveapid.toml
mkdir -p "$stage"/etc/liveapid/{accounts,plugins.d,modules}
put 644 "$root/packaging/logrotate" etc/logrotate.d/liveapid
put 644 "$root/packaging/pam" etc/pam.d/liveapid
for unit in liveapid.service liveapid.socket liveapid-queue.service; do put 644 "$root/packaging/systemd/$unit" "lib/systemd/system/$unit"; done

# The commands generate their own man pages and completion.
pages=$(mktemp -d)
trap 'rm -rf "$stage" "$pages"' EXIT
"$root/scripts/man.sh" "$bin" "$pages"
for page in "$pages"/*; do
  section=${page##*.}
  mkdir -p "$stage/usr/share/man/man$section"
  gzip -9n < "$page" > "$stage/usr/share/man/man$section/$(basename "$page").gz"
done
complete=usr/share/bash-completion/completions
mkdir -p "$stage/$complete" "$stage/usr/share/zsh/vendor-completions" "$stage/usr/share/fish/vendor_completions.d"
for program in liveapi liveapid; do
  "$bin/$program" completion bash > "$stage/$complete/$program"
  "$bin/$program" completion zsh > "$stage/usr/share/zsh/vendor-completions/_$program"
  "$bin/$program" completion fish > "$stage/usr/share/fish/vendor_completions.d/$program.fish"
done
for program in cpapi1 cpapi2 uapi whmapi1; do put 644 "$root/packaging/completion/apitool.bash" "$complete/$program"; done

doc=usr/share/doc/liveapid
put 644 "$root/LICENSE" "$doc/copyright"
put 644 "$root/plugins/email/policy/strength/words.LICENSE" "$doc/words.LICENSE"
put 644 "$root/README.md" "$doc/README.md"
gzip -9n < "$root/CHANGELOG.md" > "$stage/$doc/changelog.gz"
for page in "$root"/docs/*.md; do put 644 "$page" "$doc/$(basename "$page")"; done

mkdir "$stage/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" "$root/packaging/debian/control" > "$stage/DEBIAN/control"
install -m 644 "$root/packaging/debian/conffiles" "$stage/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 "$root/packaging/debian/$script" "$stage/DEBIAN/$script"; done
(cd "$stage" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) > "$stage/DEBIAN/md5sums"
mkdir -p "$out"
stamp=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 1767225600)
find "$stage" -exec touch -h -d "@$stamp" {} +
SOURCE_DATE_EPOCH=$stamp dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$stage" "$out/liveapid_${version}_$arch.deb" >/dev/null
echo "$out/liveapid_${version}_$arch.deb"
