#!/usr/bin/env bash
# Usage: ./check-replication.sh
#
# Does B follow A? Five sections (components, databases, comparison, latest, lag) and a verdict that
# says what to do next. When something looks off it looks again after 5 seconds: what is only a
# moment of load is not reported.
#
# Exit status: 0 all is well; 1 warning; 2 critical, wrong usage, or it could not look.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/console.sh"
source "$ROOT/scripts/settings.sh"
source "$ROOT/scripts/components.sh"
source "$ROOT/scripts/check/findings.sh"
source "$ROOT/scripts/check/errors.sh"
source "$ROOT/scripts/check/components.sh"
source "$ROOT/scripts/check/sample.sh"
source "$ROOT/scripts/check/databases.sh"

# What keeps it from looking is no mere warning.
die() {
  error "$@"
  exit 2
}

parse_arguments() {
  case ${1:-} in
    '') ;;
    -h | --help) print_help "$0" && exit ;;
    *) die_usage "There is no option or argument '$1'." ;;
  esac
}

main() {
  parse_arguments "$@"
  settings_load
  layer_load "$(layer_found)"
  type -P curl >/dev/null || die "curl is missing: apt-get install curl"
  components_print
  sample_until_certain
  databases_print
  comparison_print
  latest_print
  lag_print
  verdict_print
  exit "$EXIT_STATUS"
}

main "$@"
