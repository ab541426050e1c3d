#!/usr/bin/env bash
# Usage: sudo scripts/install-locales.sh LOCALE…        (de_DE ja_JP …)
#
# Creates missing locales of the C library, each as LOCALE.UTF-8, in a directory of its own, which running servers
# find too. The definitions are those of Debian's package `locales`.
set -euo pipefail
umask 022 # the servers' user must find them

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=scripts/console.sh
source "$ROOT/scripts/console.sh"

# Whether programs can use the locale.
locale_is_there() {
  local all
  all=$(locale --all-locales) && grep --quiet --line-regexp --ignore-case "$1.utf-\?8" <<<"$all"
}

locale_make() {
  [[ -f /usr/share/i18n/locales/$1 ]] || "$ROOT/scripts/install-packages.sh" locales
  localedef --no-archive --inputfile="$1" --charmap=UTF-8 "$1.UTF-8" || die "localedef could not create $1."
}

main() {
  local name
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    '' | -*) die_usage "Name the locales, without their encoding." ;;
  esac
  for name in "$@"; do
    ! locale_is_there "$name" || continue
    [[ $EUID -eq 0 ]] || die "Creating the locale $name needs root: sudo $0 $*"
    locale_make "$name"
  done
}

main "$@"
