#!/usr/bin/env bash
# Usage: scripts/test-regress/source.sh SERVER_PROGRAM DIRECTORY
#
# Puts PostgreSQL's own regression files into DIRECTORY, from the source package of the server program that is installed
# (in the same version where the package sources still have it, else in the newest of the package):
#
#   regress/          src/test/regress of the source package
#   lib/regress.so    its C functions, compiled here; and links to libraries of the server that the files name
#
# Fetches the source package, and the headers' packages without installing them, from where the machine's own package
# sources have the server: these are read, and nothing of them is changed. Runs as any user. A DIRECTORY that is
# complete stays as it is.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
source "$ROOT/scripts/console.sh"

readonly APT_DEADLINE_S=600

# Sets PACKAGE, SOURCE, VERSION and MAJOR to those of the package that the program belongs to.
package_load() {
  PACKAGE=$(dpkg-query --search "$1" 2>/dev/null) || die "$1 belongs to no Debian package, so there is no source package of it."
  PACKAGE=${PACKAGE%%:*}
  # shellcheck disable=SC2016 # dpkg-query replaces these
  read -r SOURCE VERSION < <(dpkg-query --show --showformat='${source:Package} ${source:Version}\n' "$PACKAGE")
  MAJOR=${PACKAGE##*-}
}

# The addresses from which the machine would install the package.
package_addresses() {
  apt-cache policy "$PACKAGE" | awk '$1 ~ /^-?[0-9]+$/ && $2 ~ /:\// { sub("/+$", "", $2); print $2 }' | sort --unique
}

# Package sources with these addresses, of the machine's and in their form, as sources of source packages too.
apt_sources_write() {
  local addresses file
  addresses=$(package_addresses)
  [[ -n $addresses ]] || die "None of the machine's package sources has $PACKAGE. Run apt-get update, then run this again."
  mkdir -p "$APT/parts" "$APT/lists/partial" "$APT/cache"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ ! -f $file ]] || awk -v addresses="$addresses" "$AWK_HAS_ADDRESS"'
      $1 == "deb" && has_address($0) { print; sub(/deb/, "deb-src"); print }' "$file" >>"$APT/sources.list"
  done
  touch "$APT/sources.list"
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ ! -f $file ]] || awk -v RS= -v ORS='\n\n' -v addresses="$addresses" "$AWK_HAS_ADDRESS"'
      has_address($0) { sub(/Types:[^\n]*/, "Types: deb deb-src"); print }' "$file" >"$APT/parts/${file##*/}"
  done
}

readonly AWK_HAS_ADDRESS='
  function has_address(text,    words, wanted, word, number, count) {
    split(addresses, wanted, "\n")
    count = split(text, words, /[ \t\n]+/)
    for (word = 1; word <= count; word++) {
      sub("/+$", "", words[word])
      for (number in wanted) if (words[word] == wanted[number]) return 1
    }
    return 0
  }'

# apt_get ARGUMENT…: with these package sources, and lists of its own.
apt_get() {
  timeout "$APT_DEADLINE_S" apt-get --quiet=2 --option "Dir::Etc::SourceList=$APT/sources.list" \
    --option "Dir::Etc::SourceParts=$APT/parts" --option "Dir::State::Lists=$APT/lists" --option "Dir::Cache=$APT/cache" \
    --option Acquire::Retries=2 --option Acquire::http::Timeout=30 --option "APT::Sandbox::User=$(user_name)" "$@" </dev/null
}

# The same version of all, else the newest of all.
packages_download() {
  apt_get update || warn "not all package sources could be read"
  (
    cd "$WORK"
    { apt_get source --download-only --only-source "$SOURCE=$VERSION" \
      && apt_get download "postgresql-server-dev-$MAJOR=$VERSION" libpq-dev; } \
      || { apt_get source --download-only --only-source "$SOURCE" \
        && apt_get download "postgresql-server-dev-$MAJOR" libpq-dev; }
  ) || die "The source package $SOURCE could not be fetched; see the messages above."
}

unpack() {
  local file
  mkdir "$WORK/source" "$WORK/headers"
  tar --extract --file="$(compgen -G "$WORK/*.orig.tar.*" | head -n 1)" --directory="$WORK/source" --strip-components=1 \
    --wildcards '*/src/test/regress' || die "The source package of $SOURCE has no src/test/regress that tar can read."
  for file in "$WORK"/*.deb; do dpkg-deb --extract "$file" "$WORK/headers"; done
}

compile() {
  local include=$WORK/headers/usr/include/postgresql
  cc -shared -fPIC -O2 -w -I"$include/$MAJOR/server" -I"$include" -o "$WORK/lib/regress.so" \
    "$WORK/source/src/test/regress/regress.c" || die "regress.c could not be compiled; see the compiler's message above."
}

# The files expect all libraries in one directory.
libraries_link() {
  local library directory
  directory=$(dirname "$(dirname "$1")")/lib
  for library in autoinc refint; do
    [[ -f $directory/$library.so ]] || die "$directory/$library.so is missing: the files need it (package postgresql-contrib)."
    ln -s "$directory/$library.so" "$WORK/lib/"
  done
}

main() {
  local program directory
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    '' | -*) die_usage "Name the server program and the directory." ;;
  esac
  [[ -n ${2:-} ]] || die_usage "Name the directory, too."
  program=$(readlink --canonicalize "$1") directory=$(readlink --canonicalize-missing "$2")
  [[ ! -d $directory/regress ]] || exit 0
  package_load "$program"
  say "Fetching the source package $SOURCE $VERSION"
  WORK=$directory.unfinished APT=$directory.unfinished/apt
  rm -rf "$WORK"
  mkdir -p "$WORK/lib"
  apt_sources_write
  packages_download
  unpack
  compile
  libraries_link "$program"
  rm -rf "$directory"
  mkdir "$directory"
  mv "$WORK/lib" "$directory/"
  mv "$WORK/source/src/test/regress" "$directory/"
  rm -rf "$WORK"
}

main "$@"
