#!/usr/bin/env bash
# Usage: scripts/package.sh [--programs DIRECTORY] [OUTPUT]
#
# Makes the Debian package with the services, their systemd units and the documents, and prints its path. Needs dpkg-dev and
# binutils, which it installs as root, or names.
#
#   --programs DIRECTORY   take the programs from there, instead of building them
#   OUTPUT                 the directory of the package (default: target/debian)
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/packages.sh"
source "$ROOT/scripts/native/prepare.sh"

readonly PACKAGE=transaction-replication
readonly UNITS=usr/lib/systemd/system DOCUMENTS=usr/share/doc/$PACKAGE

parse_arguments() {
  PROGRAMS='' OUTPUT=$ROOT/target/debian
  while [[ $# -gt 0 ]]; do
    case $1 in
      -h | --help) print_help "$0" && exit ;;
      --programs)
        [[ -d ${2:-} ]] || die_usage "--programs takes a directory."
        PROGRAMS=$2
        shift
        ;;
      -*) die_usage "There is no option '$1'." ;;
      *) OUTPUT=$1 ;;
    esac
    shift
  done
}

# Sets SERVICES and COMMAND_LINE.
programs_load() {
  SERVICES=(outbox-publisher inbox-processor data-generator) COMMAND_LINE=(replicationctl)
  [[ -z $PROGRAMS ]] || return 0
  prepare_binaries >&2
  PROGRAMS=${CARGO_TARGET_DIR:-$ROOT/target}/release
}

# What the package puts on a machine, below STAGE.
files_stage() {
  local service program
  install --directory "$STAGE"/{usr/bin,$UNITS,$DOCUMENTS/examples,etc/replication}
  for program in "${SERVICES[@]}" "${COMMAND_LINE[@]}"; do
    strip --strip-unneeded --remove-section=.comment -o "$STAGE/usr/bin/$program" "$PROGRAMS/$program"
    chmod 755 "$STAGE/usr/bin/$program"
  done
  install --mode=644 "$ROOT"/packaging/systemd/*.service "$STAGE/$UNITS/"
  install --mode=644 "$ROOT"/packaging/etc/*.env "$STAGE/etc/replication/"
  for service in "${SERVICES[@]}"; do install --directory --mode=700 "$STAGE/etc/replication/$service"; done
  command_line_stage
  manual_stage
  documents_stage
}

# The manual page of each service, as it describes itself to systemd.
manual_stage() {
  local service what commands
  install --directory "$STAGE/usr/share/man/man8"
  for service in "${SERVICES[@]}"; do
    what=$(sed --quiet 's/^Description=Transaction replication: //p' "$ROOT/packaging/systemd/$service.service")
    commands='.TP\n.B migrate\nbrings the schema of its side up to date, as the owner of the database'
    [[ $service != data-generator ]] || commands='.TP\n.BR prepare-source ", " prepare-target\nmake the databases of the demo'
    sed "s|@NAME@|$service|g; s|@WHAT@|$what|; s|^@COMMANDS@|$commands|" "$ROOT/packaging/man/service.8" \
      | gzip --best --no-name >"$STAGE/usr/share/man/man8/$service.8.gz"
  done
}

# Completions and the manual page, which the program prints itself.
command_line_stage() {
  local program=$STAGE/usr/bin/replicationctl
  install --directory "$STAGE"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,man/man1}
  "$program" completion bash >"$STAGE/usr/share/bash-completion/completions/replicationctl"
  "$program" completion zsh >"$STAGE/usr/share/zsh/vendor-completions/_replicationctl"
  "$program" completion fish >"$STAGE/usr/share/fish/vendor_completions.d/replicationctl.fish"
  "$program" man | gzip --best --no-name >"$STAGE/usr/share/man/man1/replicationctl.1.gz"
}

documents_stage() {
  install --mode=644 "$ROOT"/docs/*.md "$ROOT/packaging/debian/copyright" "$STAGE/$DOCUMENTS/"
  install --mode=644 "$ROOT/.env.example" "$STAGE/$DOCUMENTS/examples/settings.env"
  gzip --best --no-name --stdout "$ROOT/packaging/debian/changelog" >"$STAGE/$DOCUMENTS/changelog.gz"
  install -D --mode=644 "$ROOT/packaging/debian/lintian-overrides" "$STAGE/usr/share/lintian/overrides/$PACKAGE"
  crates_print >"$STAGE/$DOCUMENTS/crates.txt"
}

# What is linked into the programs: crate, version, licence.
crates_print() {
  (cd "$ROOT" && cargo tree --locked --edges normal --prefix none --format '{p} {l}' "${SERVICES[@]/#/--package=}" \
    "${COMMAND_LINE[@]/#/--package=}") | sed --regexp-extended 's/ \((proc-macro|\*|\/[^)]*)\)//g' | sort --unique
}

# The control file, with what the programs need of the machine's libraries.
control_stage() {
  local version needs file
  version=$(version_of_workspace)
  [[ $(head -n 1 "$ROOT/packaging/debian/changelog") == "$PACKAGE ($version) "* ]] \
    || die "packaging/debian/changelog does not begin with the version of Cargo.toml, $version: describe that version there."
  install --directory "$STAGE/DEBIAN"
  needs=$(cd "$ROOT/packaging" && dpkg-shlibdeps -O "${SERVICES[@]/#/-e$STAGE/usr/bin/}" "${COMMAND_LINE[@]/#/-e$STAGE/usr/bin/}")
  {
    printf 'Package: %s\nVersion: %s\nArchitecture: %s\n' "$PACKAGE" "$version" "$(dpkg --print-architecture)"
    printf 'Installed-Size: %s\n' "$(du --summarize --block-size=1024 --apparent-size "$STAGE" | cut --fields=1)"
    sed --regexp-extended "s/\\$\{shlibs:Depends\}/${needs#*=}/; /^(Source|Standards-Version|Architecture|Package|)(:.*)?$/d" \
      "$ROOT/packaging/debian/control"
  } >"$STAGE/DEBIAN/control"
  for file in postinst prerm postrm; do install --mode=755 "$ROOT/packaging/debian/$file" "$STAGE/DEBIAN/"; done
  (cd "$STAGE" && find etc -type f -printf '/%p\n' | sort >DEBIAN/conffiles)
  (cd "$STAGE" && find usr -type f -print0 | sort --zero-terminated | xargs --null md5sum >DEBIAN/md5sums)
}

version_of_workspace() { sed --quiet 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml" | head -n 1; }

# The same files give the same package: its times are those of the last commit.
package_make() {
  local version
  version=$(version_of_workspace)
  SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || stat --format=%Y "$ROOT/Cargo.lock")
  export SOURCE_DATE_EPOCH
  mkdir -p "$OUTPUT"
  PACKAGE_FILE=$OUTPUT/${PACKAGE}_${version}_$(dpkg --print-architecture).deb
  dpkg-deb --root-owner-group --build "$STAGE" "$PACKAGE_FILE" >/dev/null
}

main() {
  parse_arguments "$@"
  umask 022
  if ! { type -P dpkg-shlibdeps && type -P strip; } >/dev/null; then packages_install dpkg-dev binutils >&2; fi
  require_cargo
  programs_load
  STAGE=$(mktemp --directory)
  trap 'rm -rf "$STAGE"' EXIT
  chmod 755 "$STAGE"
  files_stage
  control_stage
  package_make
  printf '%s\n' "$PACKAGE_FILE"
}

main "$@"
