#!/usr/bin/env bash
# Usage: ./check-replication.sh
#
# Is B in sync with A? Prints five sections (components, databases, comparison, latest, lag) and a
# verdict with what to do next. A suspicious value is sampled again after 5 seconds, so that a short
# burst of load is not reported.
#
# Exit status: 0 OK; 1 warning; 2 critical, wrong usage, or the check itself could not run.
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

# A check that cannot run is critical, not a warning.
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
