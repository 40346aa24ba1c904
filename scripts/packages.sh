#!/usr/bin/env bash
# Builds the packages that packaging/nfpm.yaml describes, for each format (deb, rpm) and processor (amd64, arm64) that is
# given, into OUT. The programs are built without cgo, so they run on every Linux and are built for each processor on any
# other. The same tree gives the same files. usage: packages.sh TOOLS OUT "FORMATS" "PROCESSORS"
set -euo pipefail
tools=$(realpath "${1:?usage: packages.sh TOOLS OUT FORMATS PROCESSORS}")
mkdir -p "${2:?usage: packages.sh TOOLS OUT FORMATS PROCESSORS}"
out=$(realpath "$2")
formats=${3:-deb rpm}
processors=${4:-amd64 arm64}
cd "$(dirname "$0")/.."
umask 022
VERSION=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' host/version.go)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)
export VERSION SOURCE_DATE_EPOCH
STAGE=$(mktemp -d)
export STAGE
trap 'rm -rf "$STAGE"' EXIT
build() {
  local options=(-trimpath -buildvcs=false -tags grpcnotrace -ldflags '-s -w')
  CGO_ENABLED=0 "${GO:-go}" build "${options[@]}" -o "$1/" ./cmd/...
  # The only program that loads libraries.
  CGO_ENABLED=0 "${GO:-go}" build "${options[@]}" -buildmode=pie -o "$1/" ./cmd/liveapi-pam
}

# The commands generate their own man pages and completion.
native=$STAGE/native
mkdir -p "$native" "$STAGE"/{man,bash,zsh,fish,doc,bindings}
build "$native"
scripts/man.sh "$native" "$STAGE/pages"
for page in "$STAGE"/pages/*; do
  section=$STAGE/man/man${page##*.}
  mkdir -p "$section"
  gzip -9n <"$page" >"$section/$(basename "$page").gz"
done
for program in liveapi liveapid; do
  "$native/$program" completion bash >"$STAGE/bash/$program"
  "$native/$program" completion zsh >"$STAGE/zsh/_$program"
  "$native/$program" completion fish >"$STAGE/fish/$program.fish"
done
install -m 644 packaging/completion/apitool.zsh "$STAGE/zsh/_uapi"
for program in cpapi1 cpapi2 uapi whmapi1; do
  install -m 644 packaging/completion/apitool.bash "$STAGE/bash/$program"
  sed "s/@PROGRAM@/$program/g" packaging/completion/apitool.fish >"$STAGE/fish/$program.fish"
done

# The libraries, without their tests, and their names on Perl's path.
for language in perl php; do
  (git ls-files "bindings/$language" 2>/dev/null || find "bindings/$language" -type f) | grep -vE '/(t|tests)/|/\.perlcriticrc$|/php(cs|unit)\.xml' |
    while read -r file; do install -D -m 644 "$file" "$STAGE/$file"; done
done
for path in perl5 perl5/vendor_perl; do
  (cd bindings/perl/lib && find . -name '*.pm' -printf '%P\n') | while read -r file; do
    mkdir -p "$STAGE/link/$path/$(dirname "$file")"
    ln -s "$(realpath -m --relative-to="/usr/share/$path/$(dirname "$file")" "/usr/share/liveapid/bindings/perl/lib/$file")" "$STAGE/link/$path/$file"
  done
  mv "$STAGE/link/$path" "$STAGE/${path##*/}"
done
gzip -9n <CHANGELOG.md >"$STAGE/CHANGELOG.md.gz"
install -m 644 README.md docs/*.md plugins/email/policy/strength/words.LICENSE "$STAGE/doc/"
cat >"$STAGE/changelog.yaml" <<END
- semver: $VERSION-1
  date: $(date -ud "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  packager: The liveapid authors <liveapid@users.noreply.github.com>
  deb: {urgency: medium, distributions: [stable]}
  changes:
    - note: The changes are in CHANGELOG.md.
END

# COMPRESSION=gzip is for tests, which install the packages at once.
sed "s/compression: xz/compression: ${COMPRESSION:-xz}/; s|@STAGE@|$STAGE|" packaging/nfpm.yaml >"$STAGE/nfpm.yaml"
for ARCH in $processors; do
  export ARCH BIN=$STAGE/$ARCH
  if [ "$ARCH" = "$("${GO:-go}" env GOHOSTARCH)" ]; then BIN=$native; else GOARCH=$ARCH build "$BIN"; fi
  find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  for format in $formats; do
    "$tools/nfpm" package --config "$STAGE/nfpm.yaml" --packager "$format" --target "$out/" >"$STAGE/log" || { cat "$STAGE/log" >&2; exit 1; }
    sed -n 's/^created package: //p' "$STAGE/log"
  done
done
