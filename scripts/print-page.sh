#!/usr/bin/env bash
# Usage: scripts/print-page.sh
#
# Prints docs/page.png again: the page of a made-up system that is well, as a real Chromium shows it (tests/page).
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=scripts/console.sh
source "$ROOT/scripts/console.sh"
# shellcheck source=scripts/unoptimized.sh
source "$ROOT/scripts/unoptimized.sh"

main() {
  case ${1:-} in
    -h | --help) print_help "$0" && exit ;;
    ?*) die_usage "It takes no arguments." ;;
  esac
  type -P chromium >/dev/null || die "chromium is missing: sudo $ROOT/scripts/install-packages.sh chromium"
  local pictures
  pictures=$(mktemp --directory)
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -r '$pictures'" EXIT
  cd "$ROOT"
  PAGE_SCREENSHOTS=$pictures cargo test "${TEST_BUILD[@]}" -p tests --test page -- every_state
  cp "$pictures/readme-light.png" docs/page.png
  say "docs/page.png is of now."
}

main "$@"
